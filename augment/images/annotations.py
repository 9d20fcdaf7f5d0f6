"""Boxes and masks as people write them, to ours: boxes in pixels with a label, masks of black and white.

Boxes are read from our own JSON (`augment.images.boxes`), from `objects` of the image folders of Hugging Face
({"bbox": [[x, y, w, h], …], "categories": […]}) and from COCO's annotations ([{"bbox": [x, y, w, h], "category": …}]):
all of them left, top, width, height in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from augment.images.boxes import Box, write_boxes
from augment.images.entries import TEXT_LIMIT, Fault

if TYPE_CHECKING:
    from PIL.Image import Image

SLACK = 1.0
"""Pixels that a box may reach over the border, where tools round; it is cut. More is a fault."""
UNNAMED = "object"
_LABELS = ("label", "labels", "category", "categories", "class", "classes", "name", "names")
_BOXES = ("bbox", "bboxes", "box", "boxes")
_COLOURED = 48
"""Difference of two channels from which on a mask is painted in colours and not in grey (JPEG alone makes some)."""
_DARK = 24
_CLASSES = 64
"""Up to this brightest value, a grey mask of more than two values holds the numbers of classes."""


def boxes_in(written: Any, width: int, height: int, label: str | None = None) -> str | None:
    """The cell for boxes that stand in a picture of `width` × `height` pixels; a box without a label gets the row's.

    Raises:
        Fault: they cannot be read, or lie outside the picture.
    """
    if written is None or written == "":
        return None
    if isinstance(written, str):
        if len(written) > TEXT_LIMIT:
            raise Fault(f"boxes over {TEXT_LIMIT:,} characters")
        try:
            written = orjson.loads(written)
        except orjson.JSONDecodeError:
            raise Fault("boxes cannot be read") from None
    found = []
    for sides, named in _listed(written):
        if not isinstance(sides, list | tuple) or len(sides) != 4:
            raise Fault("boxes cannot be read")
        if not all(isinstance(side, int | float) and math.isfinite(side) for side in sides):
            raise Fault("boxes cannot be read")
        x, y, wide, high = map(float, sides)
        found.append(_box(_name(named) or label or UNNAMED, x, y, wide, high, width, height))
    return write_boxes(found)


def _listed(written: Any) -> list[tuple[Any, Any]]:
    """Each box as it is written, with its label if there is one."""
    if isinstance(written, Mapping):
        boxes = next((written[key] for key in _BOXES if key in written), None)
        labels = next((written[key] for key in _LABELS if key in written), None)
        if not isinstance(boxes, list) or (labels is not None and not isinstance(labels, list)):
            raise Fault("boxes cannot be read")
        if labels is not None and len(labels) != len(boxes):
            raise Fault("boxes and their labels differ in number")
        return list(zip(boxes, labels or [None] * len(boxes), strict=True))
    if not isinstance(written, list):
        raise Fault("boxes cannot be read")
    if len(written) == 4 and all(isinstance(side, int | float) for side in written):
        return [(written, None)]
    if all(isinstance(each, list | tuple) for each in written):
        return [(each, None) for each in written]
    if not all(isinstance(each, Mapping) for each in written):
        raise Fault("boxes cannot be read")
    return [
        (
            next((each[key] for key in _BOXES if key in each), None),
            next((each[key] for key in _LABELS if key in each), None),
        )
        for each in written
    ]


def _name(named: Any) -> str | None:
    return " ".join(str(named).split()) or None if isinstance(named, str | int) else None


def _box(label: str, x: float, y: float, wide: float, high: float, width: int, height: int) -> Box:
    right, bottom = x + wide, y + high
    if wide <= 0 or high <= 0:
        raise Fault("box without an area")
    if x < -SLACK or y < -SLACK or right > width + SLACK or bottom > height + SLACK:
        raise Fault("box outside the picture")
    x, y, right, bottom = max(x, 0.0), max(y, 0.0), min(right, float(width)), min(bottom, float(height))
    if right <= x or bottom <= y:
        raise Fault("box outside the picture")
    return Box(label, x, y, right - x, bottom - y)


def mask_of(picture: Image) -> Image:
    """A mask in our form, RGB of black and white, white the object.

    A grey one (also of 0 and 1) is cut at half of its brightest value; of label maps, which are painted in colours or
    hold small numbers, everything is object that is not black.

    Raises:
        Fault: there is no object in it.
    """
    import numpy as np
    from PIL import Image as PILImage

    values = np.asarray(picture)
    brightest, darkest = values.max(axis=2), values.min(axis=2)
    coloured = int((brightest - darkest).max()) >= _COLOURED
    top = int(brightest.max())
    numbered = top <= _CLASSES and len(np.unique(brightest)) > 2
    object_ = brightest > (_DARK if coloured else 0 if numbered else top / 2)
    if not object_.any():
        raise Fault("mask is empty")
    return PILImage.fromarray(np.where(object_, np.uint8(255), np.uint8(0))).convert("RGB")
