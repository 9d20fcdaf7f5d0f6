"""Masks: where a model draws. Pictures of the size of what they belong to, RGB, white where it draws, black elsewhere.

From a dataset's own masks and boxes, and from two predictions of noise (DiffEdit, Couairon et al. 2023, section 3.2).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from augment.images.boxes import Box, read_boxes, write_boxes
from augment.images.store import pictures
from augment.records import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

BRIGHT = 128
"""The grey value from which a mask's pixel counts as white."""
SPANNED = 0.5
"""The share of a box's sides over which a mask reaches that is of this box's object."""
OUTLIERS = 3.0
"""Differences beyond this multiple of their mean are cut, as in DiffEdit."""
DIFFERENT = 0.5
"""The share of that from which a place counts as different, as in DiffEdit."""
SPECK = 0.002
"""Share of a picture's area under which an island of a difference mask is taken for noise."""


def object_mask(record: Row, grow: int = 0) -> Image | None:
    """White where the record's object is: its own mask, else its boxes as rectangles, `grow` pixels wider.

    None where it has neither, or nothing is in them.

    Raises:
        RunError: its mask is not in the picture store.
    """
    from PIL import Image as PILImage

    if record.width is None or record.height is None:
        return None
    size = record.width, record.height
    if record.mask is not None:
        found = pictures().open(record.mask)
        found = found if found.size == size else found.resize(size, PILImage.Resampling.NEAREST)
        found = binary(found)
    else:
        found = box_mask(record)
    return grown(found, grow) if found.getbbox() else None


def background_mask(record: Row, grow: int = 0) -> Image | None:
    """White where the record's objects are not, nor `grow` pixels around them; None where that is nowhere, or unknown.

    A mask may be of one object where boxes are of several: the rectangles of those it leaves out are objects too.

    Raises:
        RunError: as `object_mask`.
    """
    found = object_mask(record)
    if found is None:
        return None
    left_out = [each for each in read_boxes(record.boxes) if not _spans(found, each)]
    if left_out:
        from PIL import ImageChops

        found = ImageChops.lighter(found, box_mask(dataclasses.replace(record, boxes=write_boxes(left_out))))
    found = inverse(grown(found, grow))
    return found if found.getbbox() else None


def _spans(mask: Image, box: Box) -> bool:
    """Whether what is white in a box reaches over more than half of it both ways."""
    left, top = math.floor(box.x), math.floor(box.y)
    edges = mask.crop((left, top, math.ceil(box.x + box.width), math.ceil(box.y + box.height))).getbbox()
    if edges is None:
        return False
    return edges[2] - edges[0] > SPANNED * box.width and edges[3] - edges[1] > SPANNED * box.height


def box_mask(record: Row) -> Image:
    """White where the record's boxes are."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    black = PILImage.new("RGB", (record.width or 1, record.height or 1))
    pen = ImageDraw.Draw(black)
    for box in read_boxes(record.boxes):
        left, top = round(box.x), round(box.y)
        right, bottom = round(box.x + box.width) - 1, round(box.y + box.height) - 1
        if right >= left and bottom >= top:
            pen.rectangle((left, top, right, bottom), fill="white")
    return black


def binary(mask: Image) -> Image:
    """The mask with black and white alone."""
    return mask.convert("L").point(lambda value: 255 * (value >= BRIGHT)).convert("RGB")


def inverse(mask: Image) -> Image:
    """Black for white, white for black."""
    from PIL import ImageChops

    return ImageChops.invert(mask)


def grown(mask: Image, pixels: int) -> Image:
    """The mask with its white `pixels` wider on every side; below 0 narrower."""
    from PIL import ImageFilter

    if pixels == 0:
        return mask
    step: Any = ImageFilter.MaxFilter if pixels > 0 else ImageFilter.MinFilter
    found = mask.convert("L")
    for _ in range(abs(pixels)):
        found = found.filter(step(3))
    return found.convert("RGB")


def feathered(mask: Image, pixels: float) -> Image:
    """The mask with a soft border: outside it black still, from there over about `pixels` up to white."""
    from PIL import ImageChops, ImageFilter

    if pixels <= 0:
        return mask
    inner = grown(mask, -round(pixels))
    soft = inner.filter(ImageFilter.GaussianBlur(pixels / 2))
    return ImageChops.multiply(soft, binary(mask))


def difference_mask(differences: NDArray[Any], width: int, height: int, threshold: float = DIFFERENT) -> Image | None:
    """White where two predictions of noise differ: what a changed prompt changes. None where they nowhere do.

    `differences`: (…, rows, columns), such as (noises, channels, 64, 64); their absolute values are averaged. `width`
    and `height` in pixels are the picture's.
    """
    import numpy as np
    from PIL import Image as PILImage
    from PIL import ImageFilter

    found = np.abs(np.asarray(differences, np.float64))
    found = found.reshape(-1, *found.shape[-2:]).mean(axis=0)
    most = OUTLIERS * float(found.mean())
    if not np.isfinite(most) or most <= 0:
        return None
    heat = PILImage.fromarray(np.round(np.clip(found / most, 0, 1) * 255).astype(np.uint8))
    heat = heat.filter(ImageFilter.BoxBlur(1)).resize((width, height), PILImage.Resampling.BILINEAR)
    different = np.asarray(heat) > threshold * 255
    kept = without_islands(different, SPECK * different.size)
    kept = ~without_islands(~kept, SPECK * different.size)
    if not kept.any():
        return None
    return PILImage.fromarray(np.repeat(kept[..., None], 3, axis=2).astype(np.uint8) * 255)


def without_islands(white: NDArray[Any], least: float) -> NDArray[Any]:
    """The truth table (rows, columns) without those connected parts that have fewer than `least` places."""
    import numpy as np

    numbers = np.arange(white.size).reshape(white.shape)
    across, down = white[:, :-1] & white[:, 1:], white[:-1] & white[1:]
    one = np.concatenate((numbers[:, :-1][across], numbers[:-1][down]))
    other = np.concatenate((numbers[:, 1:][across], numbers[1:][down]))
    root = numbers.ravel().copy()
    while one.size:  # hang the higher of two neighbours' roots under the lower, shorten the ways, look who is left
        np.minimum.at(root, np.maximum(root[one], root[other]), np.minimum(root[one], root[other]))
        while not np.array_equal(root, nearer := root[root]):
            root = nearer
        apart = root[one] != root[other]
        one, other = one[apart], other[apart]
    sizes = np.bincount(root[white.ravel()], minlength=white.size)
    return white & (sizes[root] >= least).reshape(white.shape)
