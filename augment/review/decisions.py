"""Decisions on disk: a line of JSON each, appended and forced to the disk before it is acknowledged.

A file of lines, because people decide about once a second, and because it can be read, searched, merged with `cat` and
kept in version control as it is. Two processes append under a lock; a line that a crash cut off is read past, and the
next one starts on a line of its own.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from augment.errors import RunError

DECISIONS = "review.jsonl"
"""In a run folder: what people decided about its rows. It grows, so no manifest names it."""
REVIEWED_FILE = "reviewed.jsonl"
"""In a run folder: the decisions that its rows follow, made about earlier versions. The manifest names it."""

Judgement = Literal["accept", "reject", "edit", "undo"]


@dataclass(frozen=True)
class Decision:
    """What a reviewer decided about a row; "undo" takes the reviewer's earlier decision back.

    `run` is the fingerprint of the run that the row was seen in and `seen` the row as it was seen there: its columns of
    `SCHEMA` and `VERDICT` that are not null. `prompt` and `response` are an edit's texts. `time` is ISO, in UTC.
    """

    row: str
    verdict: Judgement
    reviewer: str
    time: str
    run: str
    seen: dict[str, Any]
    prompt: str | None = None
    response: str | None = None
    note: str | None = None

    def line(self) -> bytes:
        """The decision as it stands in the file."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)


_LINE = TypeAdapter(Decision)


def now(after: str = "") -> str:
    """The time, ISO in UTC; always later than `after`, though a clock may be set back."""
    moment = datetime.now(UTC)
    if after:
        moment = max(moment, datetime.fromisoformat(after) + timedelta(microseconds=1))
    return moment.isoformat(timespec="microseconds")


def append(folder: Path, decision: Decision) -> None:
    """Put a decision on the disk; when this returns, no crash loses it.

    Raises:
        RunError: the run folder cannot be written to, or the disk is full.
    """
    path = folder / DECISIONS
    try:
        new = not path.exists()
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            _write(file, decision.line())
        finally:
            os.close(file)
        if new:
            _settle(folder)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; the decision was not stored; make room") from None


def _write(file: int, line: bytes) -> None:
    end = os.lseek(file, 0, os.SEEK_END)
    if end and os.pread(file, 1, end - 1) != b"\n":  # a crash cut the last line off
        line = b"\n" + line
    try:
        while line:
            line = line[os.write(file, line) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, end)  # half a line would stand as torn
        raise


def _settle(folder: Path) -> None:
    """The new file's name is on the disk too."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: Path, run: str | None = None) -> tuple[list[Decision], int]:
    """The file's decisions in order (those about `run`, where it is given), and how many lines hold none.

    A file that is not there holds nothing. Lines about another run are what was reviewed before the folder was written
    over; they are passed by and not counted.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    found, broken = [], 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            decision = _LINE.validate_json(line)
            datetime.fromisoformat(decision.time)
        except (ValidationError, ValueError):
            broken += 1
            continue
        if run is None or decision.run == run:
            found.append(decision)
    return found, broken


def in_order(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions by time, each once though it stands in several files."""
    once = {decision.line(): decision for decision in decisions}
    return sorted(once.values(), key=lambda decision: decision.time)
