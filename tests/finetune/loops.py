"""A small loop: a recipe, a base with random weights, and what is looked at afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.finetune.bases import ROOT

RECIPE = """
verb = "loop"
rounds = {rounds}
validation = "20%"

[text]
source = "sample"
n = "1x"
limit = 20

[finetune]
base = "{base}"
rank = 2
max_steps = 2
batch = 4
length = 160

[[adapters]]
adapter = "nlora"

[[adapters]]
name = "ba-lora"
adapter = "pissa"
objective = "ba-lora"

[evaluate]
card = "sample"
max_tokens = 12
temperature = 1.0
limit = 12
"""
MADE = (
    "**/train.parquet",
    "**/*.safetensors",
    "**/scores.parquet",
    "**/*.jsonl",
    "loop.json",
    "README.md",
    "rounds.svg",
)
"""The files that are the same whenever a loop is the same; others say how long something took."""


def write_recipe(folder: Path, base: Path, rounds: int = 2, **more: str) -> Path:
    """The small recipe in a file, with further lines by table (`text="seed = 1"`) at the tables' ends."""
    text = RECIPE.format(rounds=rounds, base=base)
    for table, line in more.items():
        text = (
            text.replace(f"[{table}]\n", f"[{table}]\n{line}\n")
            if f"[{table}]\n" in text
            else f"{text}\n[{table}]\n{line}\n"
        )
    target = folder / "small.toml"
    target.write_text(text, "utf-8")
    return target


def command(*words: object) -> list[str]:
    """`augment loop` as a process of its own."""
    return [sys.executable, "-m", "augment", "loop", *map(str, words)]


def run(place: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run it in `place` to its end."""
    return subprocess.run(command(*words), cwd=place, capture_output=True, text=True, env=ours(place))


def ours(place: Path) -> dict[str, str]:
    """An environment with a reply store of its own and one thread."""
    kept = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "AUGMENT_HOME": str(place / "home")}


def record_of(folder: Path) -> dict[str, Any]:
    """What loop.json holds."""
    found: dict[str, Any] = json.loads((folder / "loop.json").read_text("utf-8"))
    return found


def made_in(folder: Path) -> dict[str, str]:
    """The hash of each file that a loop of the same content has the same."""
    found = sorted({path for pattern in MADE for path in folder.glob(pattern)})
    kept = [path for path in found if path.name != "README.md" or path.parent == folder]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
