"""Picture records for tests: a red square on grey, with its label, caption, box and mask; and the engine that draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from augment.engines.noise import Noise
from augment.images.boxes import Box, write_boxes
from augment.images.store import pictures
from augment.records import Reply, Request, Row, picture_row_id

SQUARE = (20, 10, 50, 40)
"""Left, top, right, bottom of the square, in a picture of 80 × 60."""


def picture(size: tuple[int, int] = (80, 60), place: tuple[int, int, int, int] = SQUARE) -> Image.Image:
    """A red square on a grey that brightens to the right."""
    columns = np.linspace(60, 200, size[0]).astype(np.uint8)
    found = Image.fromarray(np.repeat(np.tile(columns, (size[1], 1))[..., None], 3, axis=2))
    left, top, right, bottom = place
    ImageDraw.Draw(found).rectangle((left, top, right - 1, bottom - 1), "red")
    return found


def mask(size: tuple[int, int] = (80, 60), place: tuple[int, int, int, int] = SQUARE) -> Image.Image:
    """White where the square is."""
    found = Image.new("RGB", size)
    found.paste("white", place)
    return found


def record(
    label: str | None = "square",
    caption: str | None = "a red square on a grey wall",
    *,
    masked: bool = True,
    boxed: bool = True,
    size: tuple[int, int] = (80, 60),
    **more: Any,
) -> Row:
    """A seed whose picture, and mask, are in the picture store."""
    left, top, right, bottom = SQUARE
    boxes = write_boxes([Box(label or "thing", left, top, right - left, bottom - top)]) if boxed else None
    shown = pictures().add(picture(size))
    white = pictures().add(mask(size)) if masked else None
    made = Row(
        picture_row_id(shown, label, caption, white, boxes),
        "",
        label=label,
        caption=caption,
        image=shown,
        pixels=shown,
        width=size[0],
        height=size[1],
        mask=white,
        boxes=boxes,
    )
    return Row(**{**{name: getattr(made, name) for name in made.__slots__}, **more})


def draw(request: Request) -> Reply:
    """What the seeded engine draws, kept in the picture store as a run keeps it."""
    (reply,) = Noise().generate([request])
    assert reply.error is None, reply.error
    pictures().put(reply.key, reply.picture)
    return Reply(reply.key, reply.text)


def pixels(name: str) -> np.ndarray[Any, Any]:
    """A picture of the store as whole numbers that can be subtracted."""
    return pictures().array(name).astype(int)
