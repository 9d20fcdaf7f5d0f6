"""Small pictures for the page: a row's picture with its mask drawn around and its boxes, as WebP in base64.

Those of kept rows are in the run's folder, those of dropped ones in the picture store as long as that is here.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from augment.images.boxes import read_boxes
from augment.images.pictures import Unreadable, decode
from augment.images.store import pictures
from augment.report.gather import Run

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 96
"""Pixels of the longer side."""
QUALITY = 72
EDGE, BOX = (255, 0, 160), (255, 214, 0)
"""Colours of a mask's border and of boxes: seen on most pictures, and told apart by any eye."""
SHADE = 0.8
"""How bright a picture still is outside of its mask."""
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass
class Shots:
    """The small pictures of a run's rows, each made once."""

    run: Run
    _made: dict[str, str | None] = field(default_factory=dict)

    def of(self, row: Mapping[str, Any]) -> str | None:
        """The small picture of a row (columns id, image, mask, boxes, dropped_by); None where there is none here."""
        key = f"{row.get('dropped_by') is None} {row['id']} {row['image']}"
        if key not in self._made:
            self._made[key] = self._shot(row)
        return self._made[key]

    def _shot(self, row: Mapping[str, Any]) -> str | None:
        picture = self._opened(row["image"], row, "train")
        if picture is None:
            return None
        mask = self._opened(row["mask"], row, "train/masks")
        try:
            raw = shot(picture, mask, row["boxes"])
        except (ValueError, KeyError, TypeError):  # boxes that are none
            raw = shot(picture, mask, None)
        return base64.b64encode(raw).decode()

    def _opened(self, name: str | None, row: Mapping[str, Any], folder: str) -> Image | None:
        """A picture by the name that a row has for it: a kept row its own file, a dropped one a name in the store."""
        if name is None:
            return None
        if name == f"{folder}/{row['id']}.png" and "/" not in row["id"]:
            path = self.run.folder / "curated" / name
        elif _NAME.fullmatch(name):
            path = pictures().path(name)
        else:
            return None
        try:
            return decode(path.read_bytes())
        except (OSError, Unreadable):
            return None


def shot(picture: Image, mask: Image | None, boxes: str | None) -> bytes:
    """A picture, at most 96 pixels a side, darker outside of its mask, its boxes drawn: a WebP."""
    from PIL import Image as PILImage
    from PIL import ImageChops, ImageDraw, ImageFilter

    scale = min(1.0, SIDE / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture.resize(size, PILImage.Resampling.LANCZOS) if scale < 1 else picture.copy()
    if mask is not None:
        inside = mask.convert("L").resize(size, PILImage.Resampling.BOX).point(lambda value: 255 * (value >= 128))
        small = PILImage.composite(small, small.point(lambda value: round(value * SHADE)), inside)
        padded = PILImage.new("L", (size[0] + 2, size[1] + 2))
        padded.paste(inside, (1, 1))
        border = ImageChops.subtract(padded, padded.filter(ImageFilter.MinFilter(3))).crop(
            (1, 1, size[0] + 1, size[1] + 1)
        )
        small.paste(EDGE, mask=border)
    pen = ImageDraw.Draw(small)
    for box in read_boxes(boxes):
        left, top = round(box.x * scale), round(box.y * scale)
        right, bottom = round((box.x + box.width) * scale) - 1, round((box.y + box.height) * scale) - 1
        if right > left and bottom > top:
            pen.rectangle((left, top, right, bottom), outline=BOX)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def within(rows: Iterable[Mapping[str, Any]], shots: Shots, most: int, room: int) -> dict[int, str]:
    """The small pictures of the first `most` rows that have one, in about `room` bytes, by the rows' `_row`."""
    found: dict[int, str] = {}
    taken = 0
    for row in rows:
        if len(found) >= most or taken >= room:
            break
        made = shots.of(row)
        if made is not None:
            found[row["_row"]] = made
            taken += len(made)
    return found
