"""Near duplicates: MinHash bands find candidates, the exact Jaccard of character n-grams decides.

Unchecked bands are a slope from .5 to .85, not a threshold: on a corpus of variants nine of ten rows they
remove are no duplicates. The check costs little, since a candidate's n-grams are hashed and sorted in bulk.
25 bands of 5 rows miss 1 pair in 100 at Jaccard .7 and 1 in 20,000 at .8.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.buckets import Buckets
from filters.code_points import CodePoints, CodeRows, spans

BANDS, ROWS = 25, 5

_GOLDEN = 0x9E3779B97F4A7C15
_CACHED = 1 << 15  # characters whose windows are hashed, n-grams that are sorted, at a time: they stay in cache
_TEXTS, _CHARACTERS = 1 << 14, 1 << 23  # looked up at a time, so that memory does not grow with what is given at once
_BATCH = 1 << 18  # n-grams put into bins at a time
_RUN = 256  # values that numpy sorts without branches, where it can
_PAIR_BITS = 44  # of an n-gram's hash when sets are compared: about one wrong n-gram in 10^8 pairs

_ROW = np.uint64(0xFFFFFFFF)

Groups = Literal["both", "within", "across"]
"""What a row is compared with: all rows, those of its own group (a seed and its variants), those of the others."""

_Number = TypeVar("_Number", np.int64, np.uint64)
_Ints = NDArray[np.int64]
_Hashes = NDArray[np.uint64]


def _splitmix64(count: int) -> list[int]:
    """The first `count` outputs of SplitMix64 (Steele et al. 2014) from state 0: the same everywhere."""
    mask, numbers = (1 << 64) - 1, []
    for step in range(1, count + 1):
        z = step * _GOLDEN & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        numbers.append(z ^ z >> 31)
    return numbers


_BINS = 64  # of each half of a hash
_TRIES = 16
_RANDOM = np.array(_splitmix64(ROWS + _TRIES * 2 * _BINS), dtype=np.uint64)
_FACTORS = _RANDOM[:ROWS] | np.uint64(1)
_PROBES = (_RANDOM[ROWS:] % np.uint64(2 * _BINS)).astype(np.int64).reshape(_TRIES, 2 * _BINS)


def mixed(hashes: _Hashes) -> _Hashes:
    """SplitMix64's finaliser: every input bit moves every output bit."""
    hashes = (hashes ^ hashes >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ hashes >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return hashes ^ hashes >> np.uint64(31)


def distinct(values: NDArray[_Number]) -> NDArray[_Number]:
    """The sorted distinct values; several times faster than `np.unique`, which hashes first."""
    return _unlike(np.sort(values))


def _unlike(ordered: NDArray[_Number]) -> NDArray[_Number]:
    first = np.ones(len(ordered), dtype=np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    found: NDArray[_Number] = ordered[first]
    return found


def ngrams(texts: pl.Series | CodePoints, n: int) -> tuple[_Hashes, _Ints]:
    """64-bit hashes of all n-character windows of all texts, and how many each text has.

    A text shorter than n is one window, padded; an empty or null one has none.
    """
    texts = (texts if isinstance(texts, CodePoints) else CodePoints.of(texts)).padded(n)
    code, lengths = texts.code, texts.lengths
    hashes = np.empty(max(len(code) - n + 1, 0), dtype=np.uint64)
    for begin in range(0, len(hashes), _CACHED):
        end = min(begin + _CACHED, len(hashes))
        hashes[begin:end] = mixed(_windows(code[begin : end + n - 1].astype(np.uint64), n))
    inside = np.ones(len(code), dtype=np.bool_)
    ends = texts.ends[lengths > 0]
    for back in range(1, n):
        inside[ends - back] = False
    return hashes[inside[: len(hashes)]], np.maximum(lengths - n + 1, 0)


def _windows(code: _Hashes, n: int) -> _Hashes:
    """The polynomial sum(code[i + j] * _GOLDEN ** (n - 1 - j)) of every window, doubled up: log n multiplications."""
    sums, width = code, 1
    for bit in bin(n)[3:]:
        sums = sums[: len(sums) - width] * np.uint64(pow(_GOLDEN, width, 1 << 64)) + sums[width:]
        width *= 2
        if bit == "1":
            sums = sums[:-1] * np.uint64(_GOLDEN) + code[width:]
            width += 1
    return sums


def band_keys(hashes: _Hashes, counts: _Ints) -> _Hashes:
    """(rows, 25) keys of texts by their n-grams: rows that share a key agree in the 5 smallest hashes of that band."""
    keys, ends = np.zeros((len(counts), BANDS), dtype=np.uint64), np.cumsum(counts)
    for part, rows in _parts(counts + 1, _BATCH):
        some = counts[part : part + rows]
        filled = some > 0
        small = smallest(hashes[ends[part] - some[0] : ends[part + rows - 1]], some[filled])
        key = np.tile(np.arange(BANDS, dtype=np.uint64), (len(small), 1))  # no two bands of a row share a bucket
        for row, factor in enumerate(_FACTORS):
            key += small[:, row : BANDS * ROWS : ROWS] * factor
        keys[part : part + rows][filled] = mixed(key)
    return keys


def smallest(hashes: _Hashes, counts: _Ints) -> NDArray[np.uint32]:
    """(rows, 128) the smallest hash in each of 128 bins: one permutation does the work of as many (Li et al. 2012).

    Each n-gram falls into two bins, one by either half of its hash. A bin that stays empty takes the value of another
    that is not, probed in an order of its own (Shrivastava 2017), so that two sets agree in a bin with the probability
    of their Jaccard, whatever their sizes.
    """
    width = 2 * _BINS
    small = np.full((len(counts), width), _ROW, dtype=np.uint32)
    base = np.repeat(np.arange(len(counts)) * width, counts)
    for side, half in enumerate((hashes >> np.uint64(32), hashes & _ROW)):
        value = half.astype(np.uint32)
        np.minimum.at(small.reshape(-1), base + ((value >> 26 << 1) + side), value)
    first = small.copy()
    row, place = np.divmod(np.flatnonzero(small.ravel() == _ROW), width)
    for probe in _PROBES:
        found = first[row, probe[place]]
        small[row, place] = found
        still = found == _ROW
        row, place = row[still], place[still]
    small[row, place] = first.min(axis=1)[row]
    return small


def _parts(sizes: _Ints, limit: int) -> Iterator[tuple[int, int]]:
    """(first, count) of consecutive runs whose sizes add up to about `limit`; a run has at least one."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        done = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, done + limit, side="right")), first + 1)
        yield first, last - first
        first = last


def jaccard(hashes: _Hashes, counts: _Ints, left: _Ints, right: _Ints) -> NDArray[np.float64]:
    """The Jaccard similarity of the n-gram sets of the texts `left` and `right`, pair by pair."""
    bits = np.uint64(_PAIR_BITS)
    tagged = np.repeat(np.arange(len(counts), dtype=np.uint64) << bits, counts)
    tagged |= hashes >> (np.uint64(64) - bits)
    tagged[: len(tagged) // _RUN * _RUN].reshape(-1, _RUN).sort(axis=1)
    tagged.sort(kind="stable")  # runs of runs in order: only those of one text are merged
    tagged = _unlike(tagged)
    sizes = np.bincount((tagged >> bits).astype(np.int64), minlength=len(counts))
    begins = np.cumsum(sizes) - sizes
    tagged &= np.uint64((1 << _PAIR_BITS) - 1)
    pairs = np.stack([left, right], axis=1)
    widths = sizes[pairs].sum(axis=1)
    shared = np.zeros(len(left), dtype=np.int64)
    for first, some in _parts(widths, _CACHED):
        sides = pairs[first : first + some].ravel()
        both = tagged[spans(begins[sides], sizes[sides])]
        both |= np.repeat(np.arange(some, dtype=np.uint64) << bits, widths[first : first + some])
        both.sort(kind="stable")  # sorted runs: merged in twos
        twice = np.flatnonzero(both[1:] == both[:-1])
        pair = np.searchsorted(np.cumsum(widths[first : first + some]), twice, side="right")
        shared[first : first + some] = np.bincount(pair, minlength=some)
    found: NDArray[np.float64] = shared / np.maximum(widths - shared, 1)
    return found


@dataclass
class NearIndex:
    """The rows seen so far; each new row goes only against earlier rows that were kept.

    What it finds does not depend on how rows are cut into batches. Besides the buckets it holds the texts of rows kept.
    """

    threshold: float = 0.7
    n: int = 5
    groups: Groups = "both"
    kept: CodeRows = field(default_factory=CodeRows)  # by position; those dropped are none
    _buckets: Buckets = field(default_factory=Buckets)
    _group: array[int] = field(default_factory=lambda: array("Q"))  # by position, unless groups is "both"

    def match(
        self, texts: pl.Series | CodePoints, keep_all: bool = False, group: _Hashes | None = None
    ) -> tuple[_Ints, NDArray[np.float64]]:
        """For each text the position of the most alike kept row (the earliest of equals), and its Jaccard.

        Position -1 and .0 where no kept row shares a band. Positions count all rows ever given. A row whose
        Jaccard reaches the threshold is not kept, unless `keep_all`. `group` numbers each text's group, where `groups`
        asks for it.
        """
        if not isinstance(texts, CodePoints):
            texts = CodePoints.of(texts)
        cuts = list(_parts(texts.lengths + _CHARACTERS // _TEXTS, _CHARACTERS))
        if len(cuts) > 1:
            groups = [None if group is None else group[first : first + some] for first, some in cuts]
            found = [self.match(texts.part(*cut), keep_all, each) for cut, each in zip(cuts, groups, strict=True)]
            return np.concatenate([each for each, _ in found]), np.concatenate([each for _, each in found])
        base, count = len(self.kept), len(texts)
        hashes, counts = ngrams(texts, self.n)
        keys = band_keys(hashes, counts)
        if group is not None and self.groups != "both":
            self._group.frombytes(group.tobytes())
            if self.groups == "within":  # a bucket is of one group
                keys = np.where(keys != 0, mixed(keys ^ mixed(group)[:, None]), keys)
        new, old = self._buckets.match(keys, base)
        standing = old >= base
        standing[~standing] = self.kept.present(old[~standing])
        if self.groups != "both":
            of = np.frombuffer(self._group, dtype=np.uint64)
            standing &= (of[new] == of[old]) == (self.groups == "within")
        new, old = new[standing], old[standing]
        involved, where = np.unique(np.concatenate([new, old]), return_inverse=True)
        ours = np.zeros(count, dtype=np.bool_)
        ours[involved[involved >= base] - base] = True
        earlier, lengths = ngrams(self.kept.take(involved[involved < base]), self.n)
        grams = np.concatenate([earlier, hashes[np.repeat(ours, counts)]])
        alike = jaccard(grams, np.concatenate([lengths, counts[ours]]), where[: len(new)], where[len(new) :])
        dropped: set[int] = set()
        if not keep_all:
            close = alike >= self.threshold
            for row, earlier in zip(new[close].tolist(), old[close].tolist(), strict=True):
                if earlier not in dropped:
                    dropped.add(row)
            standing = np.isin(old, list(dropped), invert=True)
            new, old, alike = new[standing], old[standing], alike[standing]
        best = np.lexsort((-old, alike, new))
        best = best[np.append(new[best][1:] != new[best][:-1], True)] if len(best) else best
        position, score = np.full(count, -1, dtype=np.int64), np.zeros(count)
        position[new[best] - base], score[new[best] - base] = old[best], alike[best]
        kept = np.ones(count, dtype=np.bool_)
        kept[np.fromiter(dropped, dtype=np.int64, count=len(dropped)) - base] = False
        self.kept.extend(texts, kept)
        return position, score
