"""Which part of a folder is trained on: train/ is read; test/ and val/ beside it are left alone, and it is said.

    pets/train/cat/1.jpg  pets/test/…                                also images/train, images/val
    coco/train2017/…  coco/val2017/…  coco/annotations/…             parts by year
    train-00000.tar  val-00000.tar, also .parquet, .jsonl            parts by the names of files

A folder train/ beside others that hold pictures too, and no test/ among them, is a class: bus/, car/, train/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from augment.images.entries import GENERIC
from augment.images.pictures import SUFFIXES
from augment.readers import FORMATS

TRAIN = ("train", "training")
OTHERS = ("test", "testing", "val", "valid", "validation", "dev", "eval")
MASKS = ("masks", "mask")
_YEAR = re.compile(r"[-_]?(?:19|20)\d\d$")


@dataclass(frozen=True)
class Parts:
    """`folder` is what is read, `without` what in it is left alone, by relative path; `notes` say so.

    `named`: folders called train, test, … name a part, and no class.
    """

    folder: Path
    without: frozenset[Path] = frozenset()
    notes: tuple[str, ...] = ()
    named: bool = True

    def left_alone(self, path: Path) -> bool:
        """Whether a path, relative to `folder`, is in a part that is left alone."""
        return not self.without.isdisjoint(path.parents)


def part_of(name: str) -> Literal["train", "other"] | None:
    """The part that a folder's name names, a year aside: "train2017", "val", "Test"."""
    plain = _YEAR.sub("", name.lower())
    return "train" if plain in TRAIN else "other" if plain in OTHERS else None


def parts_of(folder: Path) -> Parts:
    """The parts of a folder, or of its folder images/."""
    inner = _folders(folder)
    for base in (folder, *(each for each in inner if each.name.lower() in GENERIC)):
        parts = {each: part_of(each.name) for each in _folders(base)}
        train = [each for each, part in parts.items() if part == "train"]
        others = [each for each, part in parts.items() if part == "other"]
        # whatever else is there: tables and masks are about the parts, pictures are of none
        beside = [each for each, part in parts.items() if part is None and not _tells(each)]
        beside = [each for each in beside if any(path.suffix.lower() in SUFFIXES for path in files_in(each))]
        if train and beside and not others:
            return Parts(folder, named=False)
        if train:
            return _parted(folder, base, train, [*others, *beside], tells=any(map(_tells, parts)))
    return Parts(folder)


def _parted(folder: Path, base: Path, train: Sequence[Path], others: Sequence[Path], tells: bool) -> Parts:
    names = ", ".join(f"{each.relative_to(folder)}/" for each in others)
    notes = (f"{names} left alone (give one with --exam)",) if others else ()
    loose = any(each.suffix.lower() in {*SUFFIXES, *FORMATS} for each in base.iterdir() if each.is_file())
    if base != folder or len(train) > 1 or tells or loose:  # something outside of train/ is about what is in it
        return Parts(folder, frozenset(each.relative_to(folder) for each in others), notes)
    return Parts(train[0], notes=(f"read from {train[0].name}/", *notes))


def without_other_parts(files: Sequence[Path]) -> tuple[list[Path], tuple[str, ...]]:
    """The files but those that are called test or val, where others are called train; and a remark on them."""
    parts = [_part_of_file(each) for each in files]
    others = [each for each, part in zip(files, parts, strict=True) if part == "other"]
    if "train" not in parts or not others:
        return list(files), ()
    shown = ", ".join(map(str, others[:3])) + (f", and {len(others) - 3:,} more" if len(others) > 3 else "")
    return [each for each in files if each not in others], (f"{shown} left alone (give one with --exam)",)


def _part_of_file(file: Path) -> str | None:
    """By the first or the last word of its name: train-00000-of-00002, instances_val2017."""
    words = re.split(r"[-_.]", file.name.partition(".")[0])
    return part_of(words[0]) or part_of(words[-1])


def files_in(folder: Path) -> Iterator[Path]:
    """Every file under `folder` by relative path; hidden ones, and folders behind links, are left alone."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith((".", "__MACOSX")))
        yield from (Path(place, each).relative_to(folder) for each in files if not each.startswith("."))


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "__MACOSX")))


def _tells(folder: Path) -> bool:
    """Whether what is in a folder is about pictures elsewhere: masks, or tables and no picture."""
    if folder.name.lower() in MASKS:
        return True
    suffixes = {each.suffix.lower() for each in folder.iterdir() if each.is_file()}
    return bool(suffixes & set(FORMATS)) and suffixes.isdisjoint(SUFFIXES)
