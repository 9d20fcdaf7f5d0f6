"""The folder of a subject: one process to it, the weights put in place first, subject.json last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import orjson

from augment.errors import RunError
from augment.images.subjects import CARD, WEIGHTS
from augment.lock import HOLDER, LOCK, Lock
from augment.manifest import digest_of, settle

OURS = {LOCK, HOLDER, CARD, *WEIGHTS.values()}


@contextmanager
def folder_of(out: Path, identity: str, overwrite: bool) -> Iterator[dict[str, Any] | None]:
    """The folder held by this process; gives the card of the same subject, if it is there. Nothing done, nothing left.

    Raises:
        RunError: another process holds it, it holds something else, or it cannot be written to.
    """
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        done = _vacant(out, identity, overwrite)
        lock = Lock.take(out)
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror}; choose another --out") from None
    try:
        lock.sign()
        yield done
    finally:
        lock.release()
        if new and not _names(out) - {LOCK, HOLDER}:
            (out / LOCK).unlink(missing_ok=True)
            out.rmdir()


def _vacant(out: Path, identity: str, overwrite: bool) -> dict[str, Any] | None:
    """The card if this very subject is there; nothing is ever written over that was not a subject."""
    if foreign := sorted(_names(out) - OURS):
        raise RunError(f"{out} is not empty and not a subject's folder ({foreign[0]}); choose another --out")
    if not (out / CARD).is_file():
        return None
    try:
        card = orjson.loads((out / CARD).read_bytes())
        other = str(card["identity"])
        whole = card["files"] == {name: digest_of(out / name) for name in card["files"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        other, whole = "a broken one", False
    if other == identity and whole:
        return cast("dict[str, Any]", card)
    if other != identity and not overwrite:
        raise RunError(f"{out} holds another subject ({other[:8]}); choose another --out, or add --overwrite")
    return None


def _names(out: Path) -> set[str]:
    """What is in the folder, but for what a killed process was writing."""
    return {each.name for each in out.iterdir() if not each.name.endswith(".part")}


def publish(out: Path, method: str, weights: bytes, card: dict[str, Any]) -> dict[str, Any]:
    """Write the weights and then the card, each beside its place and renamed; the card as it is written.

    Raises:
        RunError: the folder cannot be written to, or the disk is full.
    """
    try:
        for name in (CARD, *WEIGHTS.values()):
            (out / name).unlink(missing_ok=True)
        _write(out / WEIGHTS[method], weights)
        whole = {**card, "files": {WEIGHTS[method]: digest_of(out / WEIGHTS[method])}}
        _write(out / CARD, orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror}; make room or choose another --out") from None
    return whole


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    settle(beside, path)
