"""Drawing for the sample pictures: smooth shapes on a large canvas, scaled down at the end, so that edges are soft."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SCALE = 6
"""The canvas is this much larger than the picture."""
Colour = tuple[int, int, int]
Point = tuple[float, float]


def mix(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def darker(colour: Colour, share: float = 0.25) -> Colour:
    return mix(colour, (20, 20, 40), share)


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    return mix(colour, (255, 255, 250), share)


def smooth(points: list[Point], closed: bool = True, steps: int = 14) -> list[Point]:
    """A Catmull-Rom curve through the points."""
    count = len(points)
    found = []
    for i in range(count if closed else count - 1):
        near = [points[(i + k) % count] if closed else points[min(max(i + k, 0), count - 1)] for k in (-1, 0, 1, 2)]
        for step in range(steps):
            t = step / steps
            found.append(
                tuple(
                    0.5
                    * (
                        2 * near[1][axis]
                        + (near[2][axis] - near[0][axis]) * t
                        + (2 * near[0][axis] - 5 * near[1][axis] + 4 * near[2][axis] - near[3][axis]) * t**2
                        + (3 * near[1][axis] - near[0][axis] - 3 * near[2][axis] + near[3][axis]) * t**3
                    )
                    for axis in (0, 1)
                )
            )
    return found if closed else [*found, points[-1]]  # type: ignore[list-item]


def oval(x: float, y: float, across: float, down: float, start: float = 0, end: float = 360) -> list[Point]:
    angles = np.radians(np.linspace(start, end, 64))
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


@dataclass
class Layer:
    """A transparent canvas for a picture of `width` × `height` pixels, drawn on in units of `size` pixels around `x`,
    `y`, turned by `angle` degrees and mirrored with `flip`."""

    width: int
    height: int
    x: float = 0.0
    y: float = 0.0
    size: float = 1.0
    angle: float = 0.0
    flip: bool = False
    image: Image.Image = field(init=False)

    def __post_init__(self) -> None:
        self.image = Image.new("RGBA", (self.width * SCALE, self.height * SCALE))

    def at(self, points: list[Point]) -> list[Point]:
        turn = math.radians(self.angle)
        cos, sin, side = math.cos(turn), math.sin(turn), -1 if self.flip else 1
        return [
            (
                SCALE * (self.x + self.size * (side * px * cos - py * sin)),
                SCALE * (self.y + self.size * (side * px * sin + py * cos)),
            )
            for px, py in points
        ]

    def fill(self, points: list[Point], colour: Colour, alpha: int = 255, inside: bool = False) -> None:
        """A filled shape; with `inside`, only where something is drawn already."""
        self._put(lambda draw: draw.polygon(self.at(points), fill=255), colour, alpha, inside)

    def stroke(self, points: list[Point], wide: float, colour: Colour, alpha: int = 255, inside: bool = False) -> None:
        """A line with round ends, `wide` units thick."""
        thick = max(1, round(wide * self.size * SCALE))
        placed = self.at(points)

        def line(draw: ImageDraw.ImageDraw) -> None:
            draw.line(placed, fill=255, width=thick, joint="curve")
            for px, py in (placed[0], placed[-1]):
                draw.ellipse((px - thick / 2, py - thick / 2, px + thick / 2, py + thick / 2), fill=255)

        self._put(line, colour, alpha, inside)

    def _put(self, paint, colour: Colour, alpha: int, inside: bool) -> None:
        shape = Image.new("L", self.image.size)
        paint(ImageDraw.Draw(shape))
        if alpha < 255:
            shape = shape.point(lambda value: value * alpha // 255)
        if inside:
            shape = ImageChops.multiply(shape, self.image.getchannel("A"))
        stain = Image.new("RGBA", self.image.size, (*colour, 0))
        stain.putalpha(shape)
        self.image.alpha_composite(stain)

    def shade(self, strength: float = 0.3) -> None:
        """Light from the upper left on everything that is drawn."""
        box = self.image.getbbox()
        if box is None:
            return
        pixels = np.asarray(self.image).astype(np.float32)
        left, top, right, bottom = box
        down, across = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]].astype(np.float32)
        slope = 0.45 * (across - left) / max(right - left, 1) + 0.55 * (down - top) / max(bottom - top, 1)
        pixels[..., :3] *= (1 + strength * (0.42 - slope))[..., None]
        self.image = Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8), "RGBA")

    def shadow(self, blur: float, alpha: int) -> Image.Image:
        """The shadow that the drawing throws on what is right below it."""
        box = self.image.getbbox()
        found = Image.new("RGBA", self.image.size, (20, 20, 30, 0))
        if box is not None:
            flat = Image.new("L", self.image.size)
            middle, wide = (box[0] + box[2]) / 2, (box[2] - box[0]) / 2
            oval_ = (middle - wide * 0.95, box[3] - wide * 0.2, middle + wide * 1.1, box[3] + wide * 0.14)
            ImageDraw.Draw(flat).ellipse(oval_, fill=alpha)
            found.putalpha(flat.filter(ImageFilter.GaussianBlur(blur * SCALE)))
        return found


def gradient(width: int, height: int, top: Colour, bottom: Colour, until: float = 1.0) -> Image.Image:
    """A canvas that goes from one colour to another, reached at `until` of its height."""
    share = np.clip(np.arange(height * SCALE, dtype=np.float32) / (height * SCALE * until), 0, 1)[:, None]
    column = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
    rows = np.repeat(np.round(column).astype(np.uint8)[:, None, :], width * SCALE, axis=1)
    return Image.fromarray(rows, "RGB").convert("RGBA")
