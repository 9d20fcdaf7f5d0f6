"""The pictures of a drawing, put on our canvas before a model sees them; and what a model drew, taken off it again.

Every engine that draws does this alike, so that boxes and masks can follow by the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from augment.images.canvas import Canvas, canvas_for
from augment.images.stamp import DRAWN, EDITED
from augment.images.store import pictures
from augment.records import Drawing

if TYPE_CHECKING:
    from PIL.Image import Image

FREE = frozenset({"text", "reference"})
"""Kinds that are drawn at the size asked for; the others keep the shape of their parent."""
WHITE = 128
"""From this value on a mask's pixel is drawn into."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a drawing is made from, each of `canvas.size`; the `image` of kind reference is as it is in the store."""

    kind: str
    canvas: Canvas
    image: Image | None = None
    mask: Image | None = None
    control: Image | None = None

    @property
    def source(self) -> str:
        """What the file will say of itself (see `augment.images.stamp`)."""
        return DRAWN if self.kind == "text" else EDITED

    def finish(self, picture: Image) -> Image:
        """What was drawn on the canvas, less the canvas; for kind inpaint the parent again outside the mask, exactly.

        Raises:
            ValueError: it has another size than the canvas.
        """
        if picture.size != self.canvas.size:
            raise ValueError(
                f"drawn {picture.width} × {picture.height}, not {self.canvas.width} × {self.canvas.height}"
            )
        if self.kind == "inpaint" and self.image is not None and self.mask is not None:
            from PIL import Image as PILImage

            inside = self.mask.convert("L").point(lambda value: 255 * (value >= WHITE))
            picture = PILImage.composite(picture, self.image, inside)
        return self.canvas.cut(picture)


def inputs_of(drawing: Drawing) -> Inputs:
    """The drawing's pictures from the store, on the canvas of its parent whose longer side is the drawing's.

    Raises:
        RunError: a picture is not in the store, or broken.
    """
    store = pictures()
    image, mask, control = (name and store.open(name) for name in (drawing.image, drawing.mask, drawing.control))
    shape = control if drawing.kind == "control" else image
    if drawing.kind in FREE or not shape:
        canvas = Canvas(drawing.width, drawing.height, (drawing.width, drawing.height), 0, 0)
        return Inputs(drawing.kind, canvas, image or None)
    canvas = canvas_for(*shape.size, longest=max(drawing.width, drawing.height))
    return Inputs(
        drawing.kind,
        canvas,
        canvas.place(image) if image else None,
        canvas.place_mask(mask) if mask else None,
        canvas.place(control) if control else None,
    )
