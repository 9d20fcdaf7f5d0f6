"""The folder of a training: one process to it, the checkpoints that an earlier one left, and what is finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState

from augment.errors import RunError
from augment.lock import HOLDER, LOCK, holding
from augment.manifest import MANIFEST
from finetune.prepare import Prepared
from finetune.recipe import world_size
from finetune.trainer import COMPLETE

CHECKPOINTS = "checkpoints"
TRAINING = "training.json"
SAVING = ".saving-"
"""What the name of the folder begins with in which a finished training is written before it is put in its place."""


@contextmanager
def folder_of(prepared: Prepared) -> Iterator[dict[str, Any] | None]:
    """The folder held by this process, with what an earlier process left; the record of a finished training.

    Of several processes that train together the first one holds it; the others look when it is ready.
    """
    out = prepared.out
    if int(os.environ.get("RANK", "0")):
        _meet()
        yield _record_in(out)
        return
    with holding(out, _refuse_foreign):
        _make_room(prepared)
        done = _finished(prepared)
        _meet()
        yield done


def _refuse_foreign(out: Path) -> None:
    """Nothing is ever written over that no training wrote, such as a dataset or somebody's files."""
    ours = {LOCK, HOLDER} | (set() if any((out / CHECKPOINTS).glob("*")) else {CHECKPOINTS})
    if _identity_in(out) is None and {each.name for each in out.iterdir()} - ours:
        raise RunError(f"{out} is not empty and not a training's folder; choose another --out")


def _make_room(prepared: Prepared) -> None:
    out = prepared.out
    other = _identity_in(out)
    if other is None or other == prepared.identity:
        return
    if not prepared.recipe.overwrite:
        raise RunError(f"{out} holds another training ({other[:8]}); choose another --out, or add --overwrite")
    for each in out.iterdir():
        if each.name not in (LOCK, HOLDER):
            shutil.rmtree(each) if each.is_dir() else each.unlink()


def _identity_in(out: Path) -> str | None:
    for place in (out / TRAINING, out / CHECKPOINTS / TRAINING):
        try:
            return str(json.loads(place.read_text("utf-8"))["identity"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _finished(prepared: Prepared) -> dict[str, Any] | None:
    """The record of a finished training; else its checkpoints are made ready: no half one, and whose they are."""
    out = prepared.out
    if (done := _record_in(out)) is not None:
        return done
    for each in out.glob(f"{SAVING}*"):  # of a process that was killed while it published
        shutil.rmtree(each)
    checkpoints = out / CHECKPOINTS
    checkpoints.mkdir(exist_ok=True)
    for each in checkpoints.glob("checkpoint-*"):
        if not (each / COMPLETE).is_file():
            shutil.rmtree(each)
    (checkpoints / TRAINING).write_text(json.dumps({"identity": prepared.identity}), "utf-8")
    return None


def _record_in(out: Path) -> dict[str, Any] | None:
    if not (out / MANIFEST).is_file():
        return None
    return cast("dict[str, Any]", json.loads((out / TRAINING).read_text("utf-8")))


def _meet() -> None:
    """Wait for the other processes of this training, if there are any."""
    if world_size() > 1:
        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in `folder`, if there is one."""
    whole = [each for each in folder.glob("checkpoint-*") if (each / COMPLETE).is_file()]
    return max(whole, key=lambda each: int(each.name.partition("-")[2]), default=None)
