"""`augment export` of a run of pictures: a folder of its own, filled when all its files are there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from augment.errors import RunError
from augment.images.exports.coco import coco
from augment.images.exports.folders import diffusers, imagefolder
from augment.images.exports.llava import llava
from augment.images.exports.shown import Shown, Written, shown
from augment.images.exports.webdataset import webdataset

OURS = ".augment-export"
"""Lists the files that an export wrote, so that the next one knows what it may replace; readers pass hidden ones by."""

BESIDE = f"{OURS}.part"
"""Where files are in the folder until all are there."""


@dataclass(frozen=True)
class Exported:
    """What was written: the file or folder to hand to a trainer, the rows in it, and those left out and why.

    `warning` says which terms of the run restrict training.
    """

    path: Path
    rows: int
    left_out: int
    why: str = ""
    note: str = ""
    warning: str = ""


Writer = Callable[[Sequence[Shown], Path, str], Written]
"""Writes rows, of data that is called something, into an empty folder."""

FORMATS: dict[str, Writer] = {
    "coco": coco,
    "diffusers": diffusers,
    "imagefolder": imagefolder,
    "llava": llava,
    "webdataset": webdataset,
}


def export_pictures(run: Path, format: str, out: Path, name: str) -> Exported:
    """Write the run's rows to the folder `out`; `name` is what the data is called.

    Raises:
        RunError: the rows cannot be read, none of them fits, or `out` holds something that no export wrote.
    """
    rows = shown(run)
    new = not out.exists()
    _refuse_foreign(out)
    beside = out / BESIDE
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        written = FORMATS[format](rows, beside, "".join(c if c.isalnum() else "_" for c in name))
        if not written.rows:
            raise RunError(f"no row of {run} has {written.lacks}, and {format} needs one")
        files = sorted(each.relative_to(beside).as_posix() for each in beside.rglob("*") if each.is_file())
        for each in out.iterdir():
            if each.is_dir() and each != beside:
                shutil.rmtree(each)
            elif each != beside:
                each.unlink()
        (out / OURS).write_bytes(orjson.dumps(files))
        for each in beside.iterdir():
            each.rename(out / each.name)
    except OSError as error:
        what = error.filename or out
        raise RunError(f"cannot export {run} to {out}: {what}: {error.strerror}; choose another --out") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
    return Exported(
        out / written.handed, written.rows, len(rows) - written.rows, f"without {written.lacks}", written.note
    )


def _refuse_foreign(out: Path) -> None:
    """An export is replaced; anything else stays."""
    if not out.exists():
        return
    if not out.is_dir() or out.is_symlink():
        raise RunError(f"--out {out} is no folder; give one")
    files = (each for each in out.rglob("*") if not each.is_dir() or each.is_symlink())
    there = {name for each in files if not (name := each.relative_to(out).as_posix()).startswith(f"{BESIDE}/")}
    try:
        known = {OURS, *map(str, orjson.loads((out / OURS).read_bytes()))}
    except (OSError, orjson.JSONDecodeError, TypeError):
        known = set()
    foreign = sorted(there - known)
    if foreign:
        raise RunError(f"{out} holds files that no export wrote ({foreign[0]}); choose another --out")
