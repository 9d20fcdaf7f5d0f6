"""Texts as one array of code points: what is counted and compared by character need not become Python strings."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

_Ints = NDArray[np.int64]
_WIDTHS = (1, 2, 4)  # bytes that a text's largest code point can take


@dataclass(frozen=True)
class CodePoints:
    """Texts end to end: the code points of all (uint32), and the length of each."""

    code: NDArray[np.uint32]
    lengths: _Ints

    @classmethod
    def of(cls, texts: pl.Series) -> CodePoints:
        """Null counts as ""."""
        filled = texts.fill_null("")
        joined = "".join(filled.to_list()).encode("utf-32-le")
        return cls(np.frombuffer(joined, dtype="<u4"), filled.str.len_chars().to_numpy().astype(np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def ends(self) -> _Ints:
        return np.cumsum(self.lengths)

    @cached_property
    def starts(self) -> _Ints:
        return self.ends - self.lengths

    def strings(self) -> list[str]:
        joined = self.code.astype("<u4", copy=False).tobytes().decode("utf-32-le")
        return [joined[begin:end] for begin, end in pairwise([0, *self.ends.tolist()])]

    def part(self, first: int, count: int) -> CodePoints:
        """`count` texts from the `first` on."""
        if not count:
            return CodePoints(self.code[:0], self.lengths[:0])
        return CodePoints(
            self.code[self.starts[first] : self.ends[first + count - 1]], self.lengths[first : first + count]
        )

    def take(self, rows: _Ints) -> CodePoints:
        lengths = self.lengths[rows]
        return CodePoints(self.code[spans(self.starts[rows], lengths)], lengths)

    def replaced(self, rows: _Ints, texts: CodePoints) -> CodePoints:
        """With `texts` instead of those at `rows`, which ascend."""
        lengths, pieces, done = self.lengths.copy(), [], 0
        lengths[rows] = texts.lengths
        cuts = (self.starts[rows], self.ends[rows], texts.starts, texts.ends)
        for start, end, begin, stop in zip(*(cut.tolist() for cut in cuts), strict=True):
            pieces += [self.code[done:start], texts.code[begin:stop]]
            done = end
        return CodePoints(np.concatenate([*pieces, self.code[done:]]), lengths)

    def padded(self, least: int) -> CodePoints:
        """With NULs behind texts that are shorter than `least` and not empty."""
        short = np.flatnonzero((self.lengths > 0) & (self.lengths < least))
        if not len(short):
            return self
        code, few = np.zeros((len(short), least), dtype=np.uint32), self.take(short)
        code[np.arange(least) < few.lengths[:, None]] = few.code
        return self.replaced(short, CodePoints(code.ravel(), np.full(len(short), least, dtype=np.int64)))


def spans(begins: _Ints, lengths: _Ints) -> _Ints:
    """The places begin, …, begin + length - 1 of each span, one after another."""
    ends = np.cumsum(lengths)
    places: _Ints = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(begins - (ends - lengths), lengths)
    return places


@dataclass
class CodeRows:
    """Texts, or none, by position in growing buffers: what an index of millions of rows keeps of each.

    A text takes one, two or four bytes a character as its largest code point needs, and 12 bytes besides.
    """

    _units: dict[int, bytearray] = field(default_factory=lambda: {width: bytearray() for width in _WIDTHS})
    _lengths: array[int] = field(default_factory=lambda: array("i"))  # 0: none
    _places: array[int] = field(default_factory=lambda: array("q"))  # place * 4 + width's number, in that buffer

    def __len__(self) -> int:
        return len(self._lengths)

    def extend(self, texts: CodePoints, kept: NDArray[np.bool_]) -> None:
        """Append texts at the next positions, those that are `kept`; the others, and empty ones, are none."""
        some, largest = texts.lengths > 0, np.zeros(len(texts), dtype=np.uint32)
        if some.any():
            largest[some] = np.maximum.reduceat(texts.code, texts.starts[some])
        number = (largest >= 1 << 8).astype(np.int64) + (largest >= 1 << 16)
        places = np.zeros(len(texts), dtype=np.int64)
        for which, width in enumerate(_WIDTHS):
            chosen = kept & (number == which)
            rows = np.flatnonzero(chosen)
            if len(rows):
                lengths, held = texts.lengths[rows], self._units[width]
                places[rows] = len(held) // width + np.cumsum(lengths) - lengths
                held += texts.code[np.repeat(chosen, texts.lengths)].astype(f"<u{width}").tobytes()
        self._places.frombytes((places << 2 | number).tobytes())
        self._lengths.frombytes(np.where(kept, texts.lengths, 0).astype(np.int32).tobytes())

    def take(self, positions: _Ints) -> CodePoints:
        """The texts at the positions; "" where there is none."""
        lengths = np.frombuffer(self._lengths, dtype=np.int32)[positions].astype(np.int64)
        places = np.frombuffer(self._places, dtype=np.int64)[positions]
        code, starts = np.zeros(int(lengths.sum()), dtype=np.uint32), np.cumsum(lengths) - lengths
        for which, width in enumerate(_WIDTHS):
            rows = np.flatnonzero(places & 3 == which)
            if len(rows):
                held = np.frombuffer(self._units[width], dtype=f"<u{width}")
                code[spans(starts[rows], lengths[rows])] = held[spans(places[rows] >> 2, lengths[rows])]
        return CodePoints(code, lengths)

    def present(self, positions: _Ints) -> NDArray[np.bool_]:
        """Whether there is a text at each position."""
        found: NDArray[np.bool_] = np.frombuffer(self._lengths, dtype=np.int32)[positions] > 0
        return found
