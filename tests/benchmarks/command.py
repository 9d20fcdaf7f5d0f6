"""The `augment text` command in a process of its own, as a user starts it and as `kill -9` ends it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import ROOT, workplace


def start(flags: dict[str, Any], home: Path, out: Path) -> subprocess.Popen[bytes]:
    """Begin `augment text` with these flags; what it says goes to a file beside `out`."""
    command = [sys.executable, "-m", "augment.cli", "text", "--out", str(out)]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    env = {**os.environ, "AUGMENT_HOME": str(home), "OPENAI_API_KEY": "none"}
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)


def run(flags: dict[str, Any], home: Path, out: Path, timeout: float = 300) -> None:
    """`augment text` to its end.

    Raises:
        RuntimeError: it failed.
    """
    process = start(flags, home, out)
    try:
        code = process.wait(timeout)
    finally:
        process.kill()
    if code:
        raise RuntimeError(f"augment text failed: {out.with_suffix('.log').read_text('utf-8')[-2000:]}")


def durable(home: Path) -> dict[str, str]:
    """How each reply in the store finished, by key; read from a copy, so that the store stays as the kill left it."""
    with workplace() as folder:
        for file in home.glob("replies.sqlite*"):
            shutil.copy(file, folder)
        if not (folder / "replies.sqlite").exists():
            return {}
        database = sqlite3.connect(folder / "replies.sqlite")
        try:
            return dict(database.execute("select key, finish from replies").fetchall())
        except sqlite3.OperationalError:  # killed before there was a table
            return {}
        finally:
            database.close()


def files(out: Path) -> tuple[bytes, bytes]:
    """The published rows and the rejected ones, as bytes."""
    return (out / "curated" / "train.parquet").read_bytes(), (out / "rejected.parquet").read_bytes()
