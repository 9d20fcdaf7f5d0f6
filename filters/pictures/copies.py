"""Small pictures, and copies of them changed by classical operations: what a teacher learns from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from augment.images.store import pictures

Values = NDArray[np.float32]
TURN, SCALE, SHIFT = 15.0, 0.2, 0.12
"""At most, each way: degrees, share (of the logarithm), share of the side."""
LIGHT, TINT, NOISE = 0.25, 0.1, 0.05
"""At most, each way, of values from -1 to 1: brightness and contrast, each channel's gain; the noise's deviation."""


def small(names: Sequence[str], side: int) -> Values:
    """Pictures of the store squeezed to `side` × `side` pixels: (n, side, side, 3), from -1 to 1."""
    found = np.empty((len(names), side, side, 3), dtype=np.float32)
    for at, name in enumerate(names):
        picture = PILImage.fromarray(pictures().array(name))
        found[at] = np.asarray(picture.resize((side, side), PILImage.Resampling.BOX), dtype=np.float32) / 127.5 - 1
    return found


def changed(values: Values, rng: np.random.Generator, flip: bool) -> Values:
    """Each picture turned, scaled and shifted, darker or brighter, tinted and noisy; with `flip` half are mirrored."""
    count, side = values.shape[:2]
    angle, scale = np.deg2rad(rng.uniform(-TURN, TURN, count)), np.exp(rng.uniform(-SCALE, SCALE, count))
    shift = rng.uniform(-SHIFT, SHIFT, (2, count, 1, 1)) * side
    mirror = np.where(rng.random(count) < 0.5, -1, 1)[:, None, None] if flip else 1
    cos, sin = (np.cos(angle) * scale)[:, None, None], (np.sin(angle) * scale)[:, None, None]
    middle = (side - 1) / 2
    down, across = np.mgrid[:side, :side] - middle
    moved = _sampled(
        values, (cos * across - sin * down) * mirror + shift[0] + middle, sin * across + cos * down + shift[1] + middle
    )
    gain = (1 + rng.uniform(-LIGHT, LIGHT, (count, 1, 1, 1))) * (1 + rng.uniform(-TINT, TINT, (count, 1, 1, 3)))
    light = rng.uniform(-LIGHT, LIGHT, (count, 1, 1, 1))
    return (moved * gain + light + rng.normal(0, NOISE, moved.shape)).astype(np.float32)


def _sampled(values: Values, x: NDArray[np.float64], y: NDArray[np.float64]) -> Values:
    """The pictures' values at places (n, side, side) in pixels, bilinear; outside, their borders go on."""
    side = values.shape[1]
    x, y = np.clip(x, 0, side - 1), np.clip(y, 0, side - 1)
    left, top = np.minimum(x.astype(np.int64), side - 2), np.minimum(y.astype(np.int64), side - 2)
    right, low = (x - left)[..., None].astype(np.float32), (y - top)[..., None].astype(np.float32)
    at = np.arange(len(values))[:, None, None]
    upper = values[at, top, left] * (1 - right) + values[at, top, left + 1] * right
    lower = values[at, top + 1, left] * (1 - right) + values[at, top + 1, left + 1] * right
    found: Values = upper * (1 - low) + lower * low
    return found
