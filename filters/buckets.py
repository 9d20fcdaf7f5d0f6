"""Rows by band key: which earlier rows share a bucket with a new one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.code_points import spans

BUCKET = 32
"""A bucket is stood for by the first rows that fell into it, so that boilerplate costs no quadratic time."""

_ROW = np.uint64(0xFFFFFFFF)
_KEY = ~_ROW
_SPARSE = 8  # bits an entry at least: one key in eight is looked up in vain
_PIECE = 1 << 20  # entries marked at a time
_MOST = 1 << 29  # bytes of marks: one bit for each key

_Ints = NDArray[np.int64]
_Hashes = NDArray[np.uint64]


@dataclass
class Buckets:
    """8 bytes an entry (half a key, half the row's position) in sorted segments, merged when about as long as the next.

    Half a key is enough: what it mistakes for a bucket-mate, an exact check turns down. One or two bytes an entry more
    mark the leading bits of the keys that are held, so that most others need no search.
    """

    _segments: list[_Hashes] = field(default_factory=list)
    _marks: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(1 << 13, dtype=np.uint8))  # 8 bits each
    _held: int = 0

    def match(self, keys: _Hashes, base: int) -> tuple[_Ints, _Ints]:
        """Pairs (new row, earlier row) that share a bucket, in order; the new rows enter their buckets.

        `keys` (rows, bands), no two of a row equal; a row of zeros has none. The first row is number `base`.
        """
        some = keys[:, 0] != 0
        entries = keys[some].ravel() & _KEY | np.repeat((base + np.flatnonzero(some)).astype(np.uint64), keys.shape[1])
        entries = pl.Series(entries).sort().to_numpy()  # three times faster than numpy's
        key, rows = entries & _KEY, (entries & _ROW).astype(np.int64)
        pairs, seen = [], np.zeros(len(key), dtype=np.int64)
        known = np.flatnonzero(self._marked(key))
        for held in self._segments:
            low = np.searchsorted(held, key[known], side="left")
            hit = held[np.minimum(low, len(held) - 1)] & _KEY == key[known]
            low, at = low[hit], known[hit]
            width = np.searchsorted(held, key[at] | _ROW, side="right") - low
            pairs.append(_paired(rows[at], held, low, width))
            seen[at] += width
        begins = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
        begin = np.repeat(begins, np.diff(np.append(begins, len(key))))
        rank = np.arange(len(key)) - begin
        pairs.append(_paired(rows, entries, begin, np.clip(BUCKET - seen, 0, rank)))
        self._enter(entries[seen + rank < BUCKET])
        both = pl.Series(np.concatenate(pairs)).unique().sort().to_numpy()
        return both >> 32, both & 0xFFFFFFFF

    def _enter(self, entries: _Hashes) -> None:
        if not len(entries):
            return
        self._segments.append(entries)
        self._held += len(entries)
        if self._held * _SPARSE >= 8 * len(self._marks) < 8 * _MOST:
            size = min(1 << (self._held * _SPARSE).bit_length() - 3, _MOST)
            self._marks = np.zeros(size, dtype=np.uint8)
            for held in self._segments:
                self._mark(held)
        else:
            self._mark(entries)
        while len(self._segments) > 1 and len(self._segments[-2]) <= 2 * len(self._segments[-1]):
            longer = np.concatenate(self._segments[-2:])
            del self._segments[-2:]
            longer.sort(kind="stable")  # two sorted runs: one merge
            self._segments.append(longer)

    def _mark(self, entries: _Hashes) -> None:
        for first in range(0, len(entries), _PIECE):
            byte, bit = self._places(entries[first : first + _PIECE])
            begins = np.flatnonzero(np.append(True, byte[1:] != byte[:-1]))  # the entries are in order
            self._marks[byte[begins]] |= np.bitwise_or.reduceat(bit, begins)

    def _marked(self, entries: _Hashes) -> NDArray[np.bool_]:
        byte, bit = self._places(entries)
        found: NDArray[np.bool_] = self._marks[byte] & bit != 0
        return found

    def _places(self, entries: _Hashes) -> tuple[_Ints, NDArray[np.uint8]]:
        leading = (entries >> np.uint64(62 - len(self._marks).bit_length())).astype(np.int64)
        return leading >> 3, np.left_shift(np.uint8(1), (leading & 7).astype(np.uint8))


def _paired(rows: _Ints, held: _Hashes, begin: _Ints, width: _Ints) -> _Ints:
    """Each row with the rows of `width` entries from `begin` on, as row << 32 | other; never with itself."""
    pairs: _Ints = np.repeat(rows, width) << 32 | (held[spans(begin, width)] & _ROW).astype(np.int64)
    return pairs
