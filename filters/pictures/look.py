"""What a picture looks like in some hundred numbers: which way its edges run where, and its colours.

Histograms of oriented gradients (Dalal and Triggs 2005) over cells of 4 × 4 pixels at two scales, of the channel whose
gradient is strongest, each cell held against its neighbourhood; and the mean colours of a grid of 4 × 4. Numpy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
BINS, CELL = 9, 4
_COLOURS = 1.2  # weight beside the edges
_FAINT = 0.02  # edges far below this are as good as none, whatever is around them


def look(values: Values) -> Values:
    """Features of pictures (n, side, side, 3) from -1 to 1; `side` is a multiple of 8."""
    grid = values.shape[1] // 4
    parts = [oriented(values), 2 * oriented(_pooled(values, 2))]
    parts.append(_COLOURS * _pooled(values, grid).reshape(len(values), 4 * 4 * 3))
    return np.concatenate(parts, axis=1)


def oriented(values: Values) -> Values:
    """Histograms of the directions of the gradients, a cell of 4 × 4 pixels each, flat."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    across, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strongest = (across**2 + down**2).argmax(axis=3)[..., None]
    across = np.take_along_axis(across, strongest, axis=3)[..., 0]
    down = np.take_along_axis(down, strongest, axis=3)[..., 0]
    place = np.arctan2(down, across) % np.pi / np.pi * BINS
    low = np.floor(place)
    share, bin = place - low, low.astype(np.int64) % BINS
    strength = np.hypot(across, down)
    count, side = values.shape[0], values.shape[1] // CELL
    cell = np.arange(values.shape[1]) // CELL
    at = (np.arange(count)[:, None, None] * side + cell[None, :, None]) * side + cell[None, None, :]
    size = count * side * side * BINS
    found = np.bincount((at * BINS + bin).ravel(), (strength * (1 - share)).ravel(), size)
    found += np.bincount((at * BINS + (bin + 1) % BINS).ravel(), (strength * share).ravel(), size)
    cells = (found / CELL**2).astype(np.float32).reshape(count, side, side, BINS)
    around = np.pad(cells, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    nine = np.zeros_like(cells)
    for y, x in np.ndindex(3, 3):
        nine += around[:, y : y + side, x : x + side] / 9
    cells /= np.sqrt((nine**2).sum(axis=3, keepdims=True)) + _FAINT
    flat: Values = cells.reshape(count, side * side * BINS) / side
    return flat


def _pooled(values: Values, by: int) -> Values:
    count, side = values.shape[0], values.shape[1] // by
    found: Values = values.reshape(count, side, by, side, by, 3).mean(axis=(2, 4))
    return found
