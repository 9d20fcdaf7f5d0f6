"""What `classical` does to a picture, its boxes and its mask: operations, each a list of its name and plain numbers.

    flip                                              left for right
    affine   degrees, scale, shear, right, down       about the centre, clockwise; shear is x by y
    crop     left, top, width, height                 what is left fills the picture
    colour   brightness, contrast, saturation, hue    factors, and degrees around the colour circle
    grey
    blur     radius
    noise    deviation, seed                          in grey values
    jpeg     quality
    cutout   left, top, width, height                 a rectangle of the picture's mean colour

Lengths are shares of the picture's width and height (`blur`: of the shorter side), so that the same numbers mean the
same at any size. Operations that move pixels and follow each other are one movement, and resample once; boxes and masks
go by the same matrix. Where a picture is moved away from its border, it is mirrored there; a mask is black there.
"""

from __future__ import annotations

import io
import itertools
import math
import random
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from augment.images.boxes import Box, moved

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

Op = Sequence[Any]
Matrix = tuple[float, float, float, float, float, float]
"""x' = a·x + b·y + c and y' = d·x + e·y + f, in pixels from the upper left corner; a pixel's centre is at its half."""

MOVING = ("flip", "affine", "crop")
TINTING = ("colour", "grey", "blur", "noise", "jpeg", "cutout")
LUMA = (0.299, 0.587, 0.114)
_SUPPORT = 2  # pixels that bilinear and bicubic sampling read beyond a place


def changed(picture: Image, ops: Sequence[Op]) -> Image:
    """The RGB picture after `ops`, of the same size."""
    for moving, group in itertools.groupby(ops, lambda op: op[0] in MOVING):
        if moving:
            picture = _warped(picture, matrix_of(group, picture.width, picture.height))
            continue
        for name, *numbers in group:
            picture = _TINTS[name](picture, *numbers)
    return picture


def moved_mask(mask: Image, ops: Iterable[Op]) -> Image:
    """The mask where `ops` have moved the picture: nearest pixels, black where there was none."""
    from PIL import Image as PILImage

    back = inverted(matrix_of(ops, mask.width, mask.height))
    return mask.transform(mask.size, PILImage.Transform.AFFINE, back, PILImage.Resampling.NEAREST)


def moved_boxes(boxes: Sequence[Box], ops: Iterable[Op], width: int, height: int) -> tuple[Box, ...]:
    """The boxes where `ops` have moved the picture of `width` × `height` pixels; those that left it are gone."""
    a, b, c, d, e, f = matrix_of(ops, width, height)
    return moved(boxes, lambda x, y: (a * x + b * y + c, d * x + e * y + f), width, height)


def matrix_of(ops: Iterable[Op], width: int, height: int) -> Matrix:
    """Where `ops` move a point of a picture of `width` × `height` pixels, all of them together."""
    moves = (_MOVES[name](width, height, *numbers) for name, *numbers in ops if name in MOVING)
    return reduce(_then, moves, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))


def inverted(matrix: Matrix) -> Matrix:
    """The movement back."""
    a, b, c, d, e, f = matrix
    area = a * e - b * d
    a, b, d, e = e / area, -b / area, -d / area, a / area
    return a, b, -(a * c + b * f), d, e, -(d * c + e * f)


def _then(first: Matrix, second: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    g, h, i, j, k, m = second
    return g * a + h * d, g * b + h * e, g * c + h * f + i, j * a + k * d, j * b + k * e, j * c + k * f + m


def _flip(width: int, _height: int) -> Matrix:
    return -1.0, 0.0, float(width), 0.0, 1.0, 0.0


def _affine(width: int, height: int, degrees: float, scale: float, shear: float, right: float, down: float) -> Matrix:
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    a, b, d, e = cos, cos * shear - sin, sin, sin * shear + cos
    x, y = width / 2, height / 2
    return a, b, x + right * width - a * x - b * y, d, e, y + down * height - d * x - e * y


def _crop(width: int, height: int, left: float, top: float, wide: float, high: float) -> Matrix:
    return 1 / wide, 0.0, -left * width / wide, 0.0, 1 / high, -top * height / high


_MOVES: dict[str, Any] = {"flip": _flip, "affine": _affine, "crop": _crop}


def _warped(picture: Image, matrix: Matrix) -> Image:
    import numpy as np
    from PIL import Image as PILImage

    size = width, height = picture.size
    back = inverted(matrix)
    a, b, c, d, e, f = back
    if b == d == 0 and a < 0:  # a mirrored one is mirrored first, exactly
        picture = picture.transpose(PILImage.Transpose.FLIP_LEFT_RIGHT)
        a, c = -a, width - c
        back = a, b, c, d, e, f
    if back == (1, 0, 0, 0, 1, 0):
        return picture
    corners = [(a * x + b * y + c, d * x + e * y + f) for x in (0, width) for y in (0, height)]
    left, top = (math.ceil(max(0.0, _SUPPORT - min(at))) for at in zip(*corners, strict=True))
    right, below = (
        math.ceil(max(0.0, max(at) + _SUPPORT - side))
        for at, side in zip(zip(*corners, strict=True), size, strict=True)
    )
    if left or top or right or below:
        wider = np.pad(np.asarray(picture), ((top, below), (left, right), (0, 0)), mode="symmetric")
        picture = PILImage.fromarray(wider)
        c, f = c + left, f + top
    if b == d == 0:
        part = (c, f, c + a * width, f + e * height)
        return picture.resize(size, PILImage.Resampling.BICUBIC, box=part)
    # bilinear: bicubic takes three times as long, and shows where one looks for it
    return picture.transform(size, PILImage.Transform.AFFINE, (a, b, c, d, e, f), PILImage.Resampling.BILINEAR)


def _colour(picture: Image, brightness: float, contrast: float, saturation: float, hue: float) -> Image:
    """All four are linear in red, green and blue, so that together they are one matrix.

    Contrast is stretched about the mean grey; hue is turned in YIQ's plane, which keeps the grey value.
    """
    import numpy as np

    grey = np.array([LUMA] * 3)
    yiq = np.array([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
    cos, sin = math.cos(math.radians(hue)), math.sin(math.radians(hue))
    turned = np.linalg.inv(yiq) @ np.array([(1, 0, 0), (0, cos, -sin), (0, sin, cos)]) @ yiq
    tint = saturation * turned + (1 - saturation) * grey
    mean = sum(weight * value for weight, value in zip(LUMA, _mean(picture), strict=True))
    told = np.column_stack((brightness * contrast * tint, np.full(3, brightness * (1 - contrast) * mean)))
    return picture.convert("RGB", tuple(told.ravel().tolist()))


def _grey(picture: Image) -> Image:
    return picture.convert("L").convert("RGB")


def _blur(picture: Image, radius: float) -> Image:
    from PIL import ImageFilter

    return picture.filter(ImageFilter.GaussianBlur(radius * min(picture.size)))


def _noise(picture: Image, deviation: float, seed: int) -> Image:
    """Lighter and darker, so that a grey picture stays grey. The bytes of Python's own generator stay the same between
    versions, unlike numpy's normal numbers."""
    import numpy as np
    from PIL import Image as PILImage

    pixels = np.asarray(picture)
    height, width, _ = pixels.shape
    drawn = np.frombuffer(random.Random(seed).randbytes(height * width), np.uint8).reshape(height, width, 1)
    added = np.round(deviation * _bell()).astype(np.int16)[drawn]
    return PILImage.fromarray(np.clip(pixels + added, 0, 255).astype(np.uint8))


@lru_cache(maxsize=1)
def _bell() -> NDArray[Any]:
    """256 values, equally likely, that together are a normal distribution's."""
    import numpy as np

    return np.array([NormalDist().inv_cdf((place + 0.5) / 256) for place in range(256)])


def _jpeg(picture: Image, quality: int) -> Image:
    from PIL import Image as PILImage

    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    with PILImage.open(file, formats=["JPEG"]) as found:
        return found.convert("RGB")


def _cutout(picture: Image, left: float, top: float, wide: float, high: float) -> Image:
    cut = picture.copy()
    cut.paste(_mean(picture), hole_of(left, top, wide, high, *picture.size))
    return cut


def hole_of(left: float, top: float, wide: float, high: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a `cutout` in a picture of `width` × `height` pixels."""
    x, y = round(left * width), round(top * height)
    return x, y, x + max(1, round(wide * width)), y + max(1, round(high * height))


_TINTS: dict[str, Any] = {
    "colour": _colour,
    "grey": _grey,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "cutout": _cutout,
}


def _mean(picture: Image) -> tuple[int, int, int]:
    from PIL import Image as PILImage

    red, green, blue = picture.resize((1, 1), PILImage.Resampling.BOX).getpixel((0, 0))  # type: ignore[misc]
    return int(red), int(green), int(blue)
