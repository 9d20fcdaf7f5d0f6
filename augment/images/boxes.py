"""Boxes in pixels from the upper left, as JSON: [{"label": "cat", "box": [x, y, width, height]}], column `boxes`.

Moved by the same numbers as the pixels; a box that leaves the picture goes, one that is cut is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

LEAST_LEFT = 0.25
"""Share of a box's area that must still be in the picture."""
LEAST_SIDE = 2.0


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled rectangle: left, top, width and height in pixels."""

    label: str
    x: float
    y: float
    width: float
    height: float

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """Its four corners, clockwise from the upper left."""
        right, bottom = self.x + self.width, self.y + self.height
        return ((self.x, self.y), (right, self.y), (right, bottom), (self.x, bottom))


def read_boxes(text: str | None) -> tuple[Box, ...]:
    """The boxes of a column's cell."""
    return tuple(Box(each["label"], *map(float, each["box"])) for each in orjson.loads(text)) if text else ()


def write_boxes(boxes: Sequence[Box]) -> str | None:
    """The column's cell: None where there are no boxes."""
    if not boxes:
        return None
    listed = [
        {"label": each.label, "box": [round(each.x, 2), round(each.y, 2), round(each.width, 2), round(each.height, 2)]}
        for each in boxes
    ]
    return orjson.dumps(listed).decode()


def moved(
    boxes: Sequence[Box], move: Callable[[float, float], tuple[float, float]], width: int, height: int
) -> tuple[Box, ...]:
    """The upright boxes around the moved corners, cut at the borders of a picture of `width` × `height` pixels."""
    found = []
    for box in boxes:
        points = [move(x, y) for x, y in box.corners]
        left, right = min(x for x, _ in points), max(x for x, _ in points)
        top, bottom = min(y for _, y in points), max(y for _, y in points)
        area = (right - left) * (bottom - top)
        left, right = max(left, 0.0), min(right, float(width))
        top, bottom = max(top, 0.0), min(bottom, float(height))
        inside = max(right - left, 0.0) * max(bottom - top, 0.0)
        if area > 0 and inside >= LEAST_LEFT * area and min(right - left, bottom - top) >= LEAST_SIDE:
            found.append(Box(box.label, left, top, right - left, bottom - top))
    return tuple(found)
