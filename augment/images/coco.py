"""COCO's annotation files (instances, captions) as a table: a row a picture with its boxes and captions.

Format: https://cocodataset.org/#format-data. Segmentations are left alone. A picture's label is the category of its
boxes where they are all of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from augment.readers import Table


def coco_table(file: Path, root: Path) -> Table | None:
    """The table that a COCO file makes, paths relative to `root`; None where it is something else."""
    try:
        told: Any = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(told, dict) or not all(isinstance(told.get(key), list) for key in ("images", "annotations")):
        return None
    categories = {
        each.get("id"): str(each.get("name")) for each in told.get("categories", []) if isinstance(each, dict)
    }
    table = Table(columns=["image", "label", "caption", "boxes"])
    said: dict[Any, list[dict[str, Any]]] = {}
    for each in told["annotations"]:
        if isinstance(each, dict):
            said.setdefault(each.get("image_id"), []).append(each)
    for number, image in enumerate(told["images"], 1):
        place = f"{file.name}#{number}"
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            table.bad.append((place, "not a picture's record", str(image)))
            continue
        notes = said.get(image.get("id"), [])
        boxes = [
            {"bbox": each["bbox"], "category": categories.get(each.get("category_id"))}
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


def _beside(root: Path, file: Path, name: str) -> str:
    """Where a picture is, relative to `root`: beside the file, in images/, or in its split's folder."""
    split = file.stem.rpartition("_")[2]
    for each in (name, f"images/{name}", f"{split}/{name}", f"images/{split}/{name}"):
        if (root / each).is_file():
            return each
    return name
