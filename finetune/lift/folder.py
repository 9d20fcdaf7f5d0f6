"""The folder of a lift: one process to it, the record, card, figure and scores, and the manifest written last."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import polars as pl

from augment import __version__, manifest
from augment.errors import RunError
from augment.lock import HOLDER, LOCK, holding
from augment.manifest import MANIFEST
from finetune.lift.card import lift_card
from finetune.lift.figure import draw

LIFT = "lift.json"
WORK = "work"
"""What is there only until the lift is finished: the arms' files and adapters."""


@contextmanager
def folder_of(out: Path, identity: str, overwrite: bool = False) -> Iterator[dict[str, Any] | None]:
    """The folder held by this process; gives the record of a finished lift of this identity, if it is there.

    Raises:
        RunError: another process holds it, it holds something else, or it cannot be written to.
    """
    with holding(out, _refuse_foreign):
        yield _finished(out, identity, overwrite)


def _refuse_foreign(out: Path) -> None:
    if not _ours(out) and any(out.iterdir()):
        raise RunError(f"{out} is not empty and not a lift's folder; choose another --out")


def _ours(out: Path) -> bool:
    names = {each.name for each in out.iterdir()}
    return (out / LIFT).is_file() or (LOCK in names and names <= {LOCK, HOLDER, WORK})


def _finished(out: Path, identity: str, overwrite: bool) -> dict[str, Any] | None:
    written = out / MANIFEST
    if not written.is_file():
        return None
    other = orjson.loads(written.read_bytes()).get("identity", "")
    if other == identity:
        return cast("dict[str, Any]", orjson.loads((out / LIFT).read_bytes()))
    if not overwrite:
        raise RunError(f"{out} holds another lift ({other[:8]}); choose another --out, or add --overwrite")
    for each in out.iterdir():
        if each.name not in (LOCK, HOLDER):
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    return None


def publish(out: Path, record: dict[str, Any], scores: pl.DataFrame) -> None:
    """Write every file beside its place, rename it, and write the manifest last."""
    buffer = io.BytesIO()
    scores.write_parquet(buffer, compression="zstd")
    files = {
        LIFT: orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        "lift.svg": draw(record).encode(),
        "README.md": lift_card(record).encode(),
        "rows.parquet": buffer.getvalue(),
    }
    manifest.publish(out, files, {"kind": "lift", "augment": __version__, "identity": record["identity"]})
    shutil.rmtree(out / WORK, ignore_errors=True)
