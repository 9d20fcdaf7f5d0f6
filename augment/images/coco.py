"""COCO's annotation files (instances, captions) as a table: a row a picture with its boxes and captions.

Format: https://cocodataset.org/#format-data. Segmentations are left alone. A picture's label is the category of its
boxes where they are all of one. As COCO is unpacked, the files are in annotations/, and the pictures beside that folder
in train2017/; what instances and captions say of a picture is put together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from augment.images.entries import Entry
from augment.readers import Table

FOLDER = "annotations"
"""Where COCO's files are; pictures are beside it, not in it."""


def coco_root(file: Path) -> Path:
    """The folder that the paths of a COCO file are relative to, and stay inside of."""
    return file.parent.parent if file.parent.name.lower() == FOLDER else file.parent


def coco_table(file: Path, root: Path) -> Table | None:
    """The table that a COCO file makes, paths relative to `root`; None where it is something else."""
    try:
        told: Any = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(told, dict) or not all(isinstance(told.get(key), list) for key in ("images", "annotations")):
        return None
    kinds_told = told.get("categories")
    categories = {
        _id(each, "id"): str(each.get("name"))
        for each in (kinds_told if isinstance(kinds_told, list) else [])
        if isinstance(each, dict)
    }
    table = Table(columns=["image", "label", "caption", "boxes"])
    said: dict[Any, list[dict[str, Any]]] = {}
    for each in told["annotations"]:
        if isinstance(each, dict):
            said.setdefault(_id(each, "image_id"), []).append(each)
    for number, image in enumerate(told["images"], 1):
        place = f"{file.name}#{number}"
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            table.bad.append((place, "not a picture's record", str(image)))
            continue
        notes = said.get(_id(image, "id"), [])
        boxes = [
            {"bbox": each["bbox"], "category": categories.get(_id(each, "category_id"))}
            for each in notes
            if "bbox" in each and not each.get("iscrowd")
        ]
        kinds = {each["category"] for each in boxes}
        row = {
            "image": _beside(root, file, image["file_name"]),
            "label": kinds.pop() if len(kinds) == 1 else None,
            "caption": [each["caption"] for each in notes if isinstance(each.get("caption"), str)],
            "boxes": boxes,
        }
        table.rows.append((place, row))
    return table


def together(entries: Iterable[Entry]) -> list[Entry]:
    """The entries with what several files of COCO's say of one picture in one of them.

    Label and boxes are the first that has boxes or a label: those of keypoints are of people alone.
    """
    found: dict[Any, Entry] = {}
    for at, each in enumerate(entries):
        key = at if each.picture is None or each.fault is not None else each.picture
        known = found.setdefault(key, each)
        if known is not each:
            told = known if known.boxes or known.label else each
            captions = tuple(dict.fromkeys((*known.captions, *each.captions)))
            found[key] = dataclasses.replace(known, captions=captions, label=told.label, boxes=told.boxes)
    return list(found.values())


def _id(told: dict[str, Any], name: str) -> int | str | None:
    """A number or a name that something is known by; None for whatever else stands there."""
    found = told.get(name)
    return found if isinstance(found, int | str) else None


def _beside(root: Path, file: Path, name: str) -> str:
    """Where a picture is, relative to `root`: there, in images/, in its split's folder, or beside the file."""
    split = file.stem.rpartition("_")[2]
    for each in (name, f"images/{name}", f"{split}/{name}", f"images/{split}/{name}", f"{FOLDER}/{name}"):
        if (root / each).is_file():
            return each
    return name
