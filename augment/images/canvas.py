"""Our own canvas: what a diffusion model is given always has a size that it keeps, and what it gives back is mapped.

Pipelines round sizes down without a word (70 × 50 to 68 × 48), or draw at another size altogether. So a parent is
fitted into a canvas of a multiple of 16 each way, centred, its borders continued; boxes and masks go the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

GRAIN = 16
"""Pixels: the VAE's factor of 8 times the transformer's patch of 2."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """A canvas of `width` × `height` pixels for a parent that is scaled to `inner` and put at `left`, `top`."""

    width: int
    height: int
    inner: tuple[int, int]
    left: int
    top: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    def place(self, picture: Image) -> Image:
        """The parent on the canvas; around it, its outermost pixels go on."""
        import numpy as np
        from PIL import Image as PILImage

        scaled = picture if picture.size == self.inner else picture.resize(self.inner, PILImage.Resampling.LANCZOS)
        if self.inner == self.size:
            return scaled
        right, below = self.width - self.inner[0] - self.left, self.height - self.inner[1] - self.top
        borders = [(self.top, below), (self.left, right), *([(0, 0)] if scaled.mode == "RGB" else [])]
        return PILImage.fromarray(np.pad(np.asarray(scaled), borders, mode="edge"))

    def place_mask(self, mask: Image) -> Image:
        """A mask on the canvas: nearest pixels, black around it."""
        from PIL import Image as PILImage

        black = PILImage.new(mask.mode, self.size)
        black.paste(mask.resize(self.inner, PILImage.Resampling.NEAREST), (self.left, self.top))
        return black

    def cut(self, picture: Image) -> Image:
        """The parent's part of a picture on the canvas, at the size that it has there."""
        right, bottom = self.left + self.inner[0], self.top + self.inner[1]
        return picture if self.inner == self.size else picture.crop((self.left, self.top, right, bottom))


def canvas_for(width: int, height: int, longest: int) -> Canvas:
    """The canvas for a parent of `width` × `height` pixels whose longer side is to be `longest` (a multiple of 16)."""
    scale = longest / max(width, height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    whole = tuple(-(-side // GRAIN) * GRAIN for side in inner)
    return Canvas(whole[0], whole[1], inner, (whole[0] - inner[0]) // 2, (whole[1] - inner[1]) // 2)
