"""What is measured of a picture by itself, once: several filters look at the same numbers."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image as PILImage

from augment.images.store import pictures
from filters.pictures.phash import phash

T = TypeVar("T")

CELLS = 8
"""A picture's colours are compared on a grid of 8 × 8 cells."""
LONGEST = 256
"""Pixels: the size at which sharpness is compared, or less where a picture is smaller."""
_REMEMBERED = 1 << 16  # pictures; about 1 kB each
_THREADS = min(8, os.cpu_count() or 1)  # Pillow lets go of the interpreter while it decodes and resizes


@dataclass(frozen=True, slots=True)
class Features:
    """`spread` is the largest standard deviation of a channel (0 to 127.5), `entropy` that of the grey values in bits,
    `hash` and `mirrored` are perceptual hashes, `cells` the mean colours of an 8 × 8 grid."""

    spread: float
    entropy: float
    hash: int
    mirrored: int
    cells: NDArray[np.uint8]


_known: OrderedDict[Hashable, Any] = OrderedDict()
_lock = threading.Lock()


def features(names: Sequence[str | None]) -> list[Features | None]:
    """The features of pictures of the store, several at a time; None for None.

    Raises:
        RunError: a picture is not in the store.
    """
    return _measured("features", names, _features)


def sharpness(names: Sequence[str | None], longest: Sequence[int]) -> list[float | None]:
    """The variance of the Laplacian of each picture, scaled down so that its longer side is at most `longest` pixels.

    It depends on the size: compare two pictures at the same.

    Raises:
        RunError: a picture is not in the store.
    """
    wanted = [None if name is None else (name, side) for name, side in zip(names, longest, strict=True)]
    return _measured("sharpness", wanted, lambda each: _sharpness(*each))


def unscored(frame: pl.DataFrame, scores: dict[str, Any]) -> pl.DataFrame:
    """The frame with score columns of nulls: nothing that the filter could look at."""
    return frame.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in scores.items())


def _measured(kind: str, wanted: Sequence[Any], measure: Callable[[Any], T]) -> list[T | None]:
    store = str(pictures().folder)
    found: dict[Any, T] = {}
    with _lock:
        for each in dict.fromkeys(wanted):
            if (store, kind, each) in _known:
                _known.move_to_end((store, kind, each))
                found[each] = _known[store, kind, each]
    missing = [each for each in dict.fromkeys(wanted) if each is not None and each not in found]
    if len(missing) > 1 and _THREADS > 1:
        with ThreadPoolExecutor(_THREADS) as pool:
            found.update(zip(missing, pool.map(measure, missing), strict=True))
    else:
        found.update((each, measure(each)) for each in missing)
    with _lock:
        for each in missing:
            _known[store, kind, each] = found[each]
        while len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return [found.get(each) for each in wanted]


def _features(name: str) -> Features:
    values = pictures().array(name)
    picture = PILImage.fromarray(values)
    counts = np.bincount(np.asarray(picture.convert("L")).ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    cells = np.asarray(picture.resize((CELLS, CELLS), PILImage.Resampling.BOX))
    spread = float(values.reshape(-1, 3).std(axis=0, dtype=np.float32).max())
    return Features(spread, abs(float(-(shares * np.log2(shares)).sum())), *phash(picture), cells)


def _sharpness(name: str, longest: int) -> float:
    picture = PILImage.fromarray(pictures().array(name)).convert("L")
    scale = longest / max(picture.size)
    if scale < 1:
        size = max(3, round(picture.width * scale)), max(3, round(picture.height * scale))
        picture = picture.resize(size, PILImage.Resampling.BOX)
    grey = np.asarray(picture, dtype=np.float32)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(laplacian.var())
