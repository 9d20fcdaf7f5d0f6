"""A perceptual hash of 64 bits: pictures that look alike have hashes that differ in few bits.

The well-known DCT hash: grey, 32 × 32 (Lanczos), DCT-II both ways, the 8 × 8 lowest frequencies, a bit for each that is
above their median; the highest bit is the constant term, then row by row. It is blind to colours and to mirrors:
compare colours besides, and the mirrored hash, which costs nothing since mirroring only turns the sign of odd columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL.Image import Image

SIDE, KEPT = 32, 8
BITS = KEPT * KEPT
_DIGITS = 6  # a symmetric picture's odd frequencies are zero, not the noise of their sums

_WAVES: NDArray[np.float64] = 2 * np.cos(
    np.pi * np.arange(KEPT)[:, None] * (2 * np.arange(SIDE) + 1)[None, :] / (2 * SIDE)
)
_PLACES = np.uint64(1) << np.arange(BITS - 1, -1, -1, dtype=np.uint64)


def phash(picture: Image) -> tuple[int, int]:
    """The hash of a picture, and that of its mirror image (left and right swapped)."""
    grey = picture.convert("L").resize((SIDE, SIDE), PILImage.Resampling.LANCZOS)
    low = np.round(_WAVES @ np.asarray(grey, dtype=np.float64) @ _WAVES.T, _DIGITS)
    mirrored = low.copy()
    mirrored[:, 1::2] *= -1
    return _bits(low), _bits(mirrored)


def apart(hash: int, known: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """In how many of the 64 bits each of `known` differs from `hash`."""
    found: NDArray[np.uint8] = np.bitwise_count(known ^ np.uint64(hash))
    return found


def _bits(low: NDArray[np.float64]) -> int:
    above = (low > np.median(low)).ravel()
    return int(_PLACES[above].sum())
