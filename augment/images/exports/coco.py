"""COCO's instances (https://cocodataset.org/#format-data): boxes, and masks as run-length codes.

A code is the lengths of the runs of 0 and 1 in turn, down the columns, beginning with 0 ("uncompressed RLE"). A picture
has one mask of all its objects: an object among several has the part of it that is within its box.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from augment.errors import RunError
from augment.images.boxes import Box
from augment.images.exports.shown import Shown, Written
from augment.images.masks import BRIGHT
from augment.images.pictures import Unreadable, read_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNNAMED = "object"


def coco(rows: Sequence[Shown], out: Path, name: str) -> Written:
    """annotations.json, and the pictures in images/; a picture without an object has no annotation."""
    if not any(row.boxes or row.mask for row in rows):
        return Written("", 0, "a box or a mask")
    (out / "images").mkdir()
    found = [(row, list(_objects(row))) for row in rows]
    names = sorted({box.label for _, objects in found for box, _ in objects})
    numbers = {label: place for place, label in enumerate(names, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, (row, objects) in enumerate(found, 1):
        shutil.copyfile(row.picture, out / "images" / f"{row.id}.png")
        images.append({"id": image, "file_name": f"{row.id}.png", "width": row.width, "height": row.height})
        for box, code in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": numbers[box.label],
                    "bbox": [box.x, box.y, box.width, box.height],
                    "area": sum(code["counts"][1::2]) if code else round(box.width * box.height, 2),
                    "segmentation": code or [],
                    "iscrowd": 0,
                }
            )
    told = {
        "info": {"description": name},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": place, "name": label, "supercategory": ""} for label, place in numbers.items()],
    }
    (out / "annotations.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    bare = sum(not objects for _, objects in found)
    note = f"{bare:,} of them without an object" if bare else ""
    return Written("annotations.json", len(rows), note=note)


def _objects(row: Shown) -> Iterator[tuple[Box, dict[str, Any] | None]]:
    """A row's objects: where each is, and its mask's code if there is a mask."""
    mask = _mask(row)
    if mask is None:
        yield from ((box, None) for box in row.boxes)
    elif not row.boxes:
        if mask.any():
            yield _around(mask, row.label or UNNAMED), code_of(mask)
    elif len(row.boxes) == 1:
        yield row.boxes[0], code_of(mask)
    else:
        yield from ((box, code_of(_within(mask, box))) for box in row.boxes)


def _mask(row: Shown) -> NDArray[np.bool_] | None:
    """Where a row's objects are, (height, width); None where it does not say."""
    import numpy as np

    if row.mask is None:
        return None
    try:
        found: NDArray[np.bool_] = np.asarray(read_picture(row.mask).convert("L")) >= BRIGHT
    except Unreadable as error:
        raise RunError(f"{row.mask} is {error}; restore it, or make the run again") from None
    return found


def _around(mask: NDArray[np.bool_], label: str) -> Box:
    import numpy as np

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = float(columns[0]), float(rows[0])
    return Box(label, left, top, float(columns[-1]) + 1 - left, float(rows[-1]) + 1 - top)


def _within(mask: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    import numpy as np

    found = np.zeros_like(mask)
    top, bottom = max(0, int(box.y)), int(-(-(box.y + box.height) // 1))
    left, right = max(0, int(box.x)), int(-(-(box.x + box.width) // 1))
    found[top:bottom, left:right] = mask[top:bottom, left:right]
    return found


def code_of(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask, (height, width), as COCO's run lengths."""
    import numpy as np

    flat = np.concatenate(([False], mask.ravel(order="F")))
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate(([0], turns, [mask.size])))
    return {"size": list(mask.shape), "counts": counts.tolist()}
