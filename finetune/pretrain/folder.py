"""The folder of a pre-training: one process to it, the checkpoint that an earlier one left, and what is finished."""

from __future__ import annotations

import shutil
from collections.abc import Set
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment import __version__
from augment.errors import RunError
from augment.lock import HOLDER, LOCK
from augment.manifest import MANIFEST, digest_of
from augment.records import fingerprint
from finetune.pretrain.lessons import made_with
from finetune.pretrain.recipe import PretrainRecipe

RECORD = "pretrain.json"
CHECKPOINT = "checkpoint.safetensors"
"""The model and the optimizer's memory while it learns; gone when it has learnt."""
CONTENT = ("id", "prompt", "response", "label")
"""The columns of rows that are looked at."""


def identity_of(recipe: PretrainRecipe, rows: pl.DataFrame, held: pl.DataFrame) -> str:
    """Identity of what is learned and measured: the recipe, both frames' content, and how lessons are made."""
    frames = [frame.select(CONTENT).rows() for frame in (rows, held)]
    return fingerprint("pretrain", __version__, recipe.model_dump(mode="json"), *frames, *made_with())


def finished(out: Path, identity: str) -> dict[str, Any] | None:
    """The record of a finished pre-training of that identity, all of whose files are what the manifest says."""
    try:
        manifest = orjson.loads((out / MANIFEST).read_bytes())
        record: dict[str, Any] = orjson.loads((out / RECORD).read_bytes())
        whole = manifest["identity"] == identity and all(
            digest_of(out / name) == told for name, told in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if whole else None


def clear(out: Path, keep: Set[str]) -> None:
    """Remove what another pre-training left; the files named in `keep` stay."""
    for each in sorted(out.iterdir(), key=lambda path: path.name != MANIFEST):  # without it nothing counts as finished
        if each.name not in (LOCK, HOLDER, *keep):
            shutil.rmtree(each) if each.is_dir() else each.unlink()


def refuse_foreign(out: Path) -> None:
    """Nothing is ever written over that no pre-training wrote, such as a dataset or somebody's own model."""
    ours = {LOCK, HOLDER, CHECKPOINT, f".{CHECKPOINT}.part"}
    names = {each.name for each in out.iterdir()}
    if names - ours and not names & {RECORD, f".{RECORD}.part", CHECKPOINT}:
        raise RunError(f"{out} is not empty and not a pre-training's folder; choose another one")
