"""A picture of a source and what is said of it, as it stands there: nothing is opened yet.

Every kind of source (a folder, a table, an archive, a dataset) becomes a `Listing` of these; `augment.images.reading`
opens them, so that a rule about pictures is written once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.errors import SourceError

COMMON_NAMES = {
    "image": (
        *("file_name", "image", "filename", "file", "image_path", "image_file", "img", "img_path", "picture"),
        *("filepath", "path", "jpg", "png", "图片", "图像", "文件"),
    ),
    "label": ("label", "class", "category", "class_name", "topic", "type", "标签", "类别"),
    "caption": (
        *("caption", "text", "captions", "description", "sentence", "sentences", "title", "alt_text", "alt", "prompt"),
        *("raw", "描述", "标题", "说明", "文本"),
    ),
    "mask": ("mask_file_name", "mask", "mask_path", "segmentation", "annotation", "掩码"),
    "boxes": ("boxes", "objects", "bboxes", "bbox", "框"),
}
"""What people call what belongs to a picture, in order of preference; compared without case."""
GENERIC = frozenset(("images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "data"))
"""Folders that hold pictures and name no class."""
TEXT_LIMIT = 100_000
"""Characters that a caption, a label or a list of boxes may hold."""


class Fault(Exception):
    """Why an entry cannot become a row; one of a few fixed phrases."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`place` is where it stands, for people; `picture` and `mask` are files or their bytes; `boxes` is whatever was
    written; `fault` is what is known to be wrong before anything is opened."""

    place: str
    picture: Path | bytes | None = None
    label: str | None = None
    captions: tuple[str, ...] = ()
    mask: Path | bytes | None = None
    boxes: Any = None
    fault: str | None = None


@dataclass(frozen=True)
class Listing:
    """The entries of a source in its own order, which of its columns they came from, and remarks for the user."""

    entries: Iterable[Entry]
    columns: Mapping[str, str]
    notes: tuple[str, ...] = ()


def columns_of(
    present: Sequence[str], told: Mapping[str, str], *, guess: Mapping[str, Sequence[str]] = COMMON_NAMES
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Our names to a table's columns, as told or by common names, and remarks on what was guessed and not used.

    Raises:
        SourceError: no column is like a picture.
    """
    found = {ours: theirs for ours, theirs in told.items() if theirs in present}
    guessed = []
    lower = {name.lower(): name for name in reversed(present)}
    for ours, names in guess.items():
        match = next((lower[name] for name in names if name in lower and lower[name] not in found.values()), None)
        if ours not in found and match is not None:
            found[ours] = match
            guessed.append(f"{ours}={match}")
    if "image" not in found:
        raise SourceError(
            f"no column looks like a picture among: {', '.join(present)}; name it with --map image=COLUMN "
            "(rows of text are for augment text)"
        )
    unused = [name for name in present if name not in found.values()]
    notes = [f"columns guessed: {', '.join(guessed)} (change with --map)"] if guessed else []
    notes += [f"columns not used: {', '.join(unused)}"] if unused else []
    return found, tuple(notes)


def check_ours(told: Mapping[str, str]) -> None:
    """Check the names that `--map` gives to columns.

    Raises:
        SourceError: one of them is none of ours.
    """
    unknown = next((ours for ours in told if ours not in COMMON_NAMES), None)
    if unknown is not None:
        raise SourceError(f"--map has no column '{unknown}'; known: {', '.join(COMMON_NAMES)}")


def check_theirs(told: Mapping[str, str], present: Sequence[str]) -> None:
    """Check what `--map` names against the columns that there are.

    Raises:
        SourceError: one of them does not exist.
    """
    missing = next((theirs for theirs in told.values() if theirs not in present), None)
    if missing is not None:
        raise SourceError(f"no column '{missing}' in the source; it has: {', '.join(present) or 'no columns'}")


def entry_of(
    place: str,
    record: Mapping[str, Any],
    columns: Mapping[str, str],
    find: Callable[[str], Path],
    names: Mapping[str, Sequence[str]] | None = None,
) -> Entry:
    """The entry in a record. `find` turns the name of a file into its place, `names` numbers into labels.

    What is wrong with it is said by its `fault`.
    """
    cells = {ours: record.get(theirs) for ours, theirs in columns.items()}
    readers: dict[str, Callable[[Any], Any]] = {
        "image": lambda cell: _file(cell, find),
        "label": lambda cell: _label(cell, (names or {}).get("label")),
        "caption": _captions,
        "mask": lambda cell: _file(cell, find),
        "boxes": lambda cell: cell or None,
    }
    found: dict[str, Any] = {}
    faults = []
    for ours, read in readers.items():
        try:
            found[ours] = read(cells.get(ours))
        except Fault as fault:
            faults.append(str(fault))
    picture, captions = found.get("image"), found.get("caption", ())
    first = faults[0] if faults else None
    return Entry(place, picture, found.get("label"), captions, found.get("mask"), found.get("boxes"), first)


def inside(folder: Path, name: str) -> Path:
    """The file called `name` in `folder`.

    Raises:
        Fault: it is elsewhere: an absolute path, one that climbs out, or a link that leads out.
    """
    root = os.path.realpath(folder)
    try:
        place = os.path.realpath(Path(root, name))
    except (OSError, ValueError):  # a null byte
        raise Fault("no path of a file") from None
    if place != root and not place.startswith(root.rstrip(os.sep) + os.sep):
        raise Fault("path leads out of the folder")
    return Path(place)


def _file(cell: Any, find: Callable[[str], Path]) -> Path | bytes | None:
    """A picture as a cell has it: a path, bytes, or what `datasets` writes, {"bytes": …, "path": …}."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") if cell.get("bytes") is not None else cell.get("path")
    if cell is None or cell == "" or _nan(cell):
        return None
    if isinstance(cell, bytes | Path):
        return cell
    if not isinstance(cell, str):
        raise Fault("no path of a file")
    if "://" in cell[:12]:
        raise Fault("an address, not a file; download it first")
    return find(cell.strip())


def _label(cell: Any, names: Sequence[str] | None) -> str | None:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if cell is None or _nan(cell):
        return None
    if names is not None and isinstance(cell, int) and not isinstance(cell, bool):
        return names[cell] if 0 <= cell < len(names) else None  # -1 is how `datasets` writes that there is none
    if not isinstance(cell, str | int | float):
        raise Fault("label is not text")
    text = " ".join(str(cell).split())
    if len(text) > TEXT_LIMIT:
        raise Fault(f"label over {TEXT_LIMIT:,} characters")
    return text or None


def _captions(cell: Any) -> tuple[str, ...]:
    """The captions in a cell: none, one, or a list of them."""
    if cell is None or _nan(cell):
        return ()
    listed = cell if isinstance(cell, list | tuple) else [cell]
    if not all(isinstance(each, str) for each in listed):
        raise Fault("caption is not text")
    if any(len(each) > TEXT_LIMIT for each in listed):
        raise Fault(f"caption over {TEXT_LIMIT:,} characters")
    return tuple(dict.fromkeys(each.strip() for each in listed if each.strip()))


def _nan(cell: Any) -> bool:
    return isinstance(cell, float) and math.isnan(cell)
