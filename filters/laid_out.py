"""A column's texts as arrays of code points, in parts that stay in a processor's cache, kept for the next filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.fold import code_points

_ROWS = 1 << 10  # read at a time
_CHARACTERS = 60_000  # about so many in a part
_REMEMBERED = 1 << 22  # characters, 16 MB


@dataclass(frozen=True)
class Part:
    """The code points of `lengths` texts one after another, those of rows `first` and on; null counts as ""."""

    first: int
    code: NDArray[np.uint32]
    lengths: NDArray[np.int64]

    @property
    def rows(self) -> slice:
        """Where the texts are in their column."""
        return slice(self.first, self.first + len(self.lengths))


def laid_out(texts: pl.Series, memory: dict[str, Any] | None = None) -> Iterator[Part]:
    """All texts of a column, in order.

    `memory` is a context's, where the last texts of a name and their code points are kept for the next filter.
    """
    memory = {} if memory is None else memory
    key = f"code points of {texts.name}"
    known = memory.get(key)
    if known is not None and known[0].equals(texts):
        yield from known[1]
        return
    kept: list[Part] = []
    characters = 0
    for first in range(0, len(texts), _ROWS):
        code, starts, lengths = code_points(texts[first : first + _ROWS])
        characters += len(code)
        parts = [
            Part(first + begin, code[starts[begin] : starts[end - 1] + lengths[end - 1]], lengths[begin:end])
            for begin, end in _runs(lengths)
        ]
        yield from parts
        kept = [*kept, *parts] if characters <= _REMEMBERED else []
    if characters <= _REMEMBERED:
        memory[key] = texts, kept


def _runs(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of rows, from one to another, that have about `_CHARACTERS` together."""
    part = np.cumsum(lengths + 1) // _CHARACTERS
    yield from pairwise([0, *(np.flatnonzero(part[1:] != part[:-1]) + 1).tolist(), len(part)])
