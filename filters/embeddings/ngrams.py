"""Vectors without a model: hashed counts of character 1- to 3-grams. They measure wording, not meaning.

Every n-gram of the folded text adds to or takes from one of 1,024 sums, by its hash (the hashing trick with signs,
Weinberger et al., 2009, Feature Hashing for Large Scale Multitask Learning; the count sketch of Charikar et al.,
2002): products keep their values, with an error of 1/√1024 for unlike texts and next to none for near copies. An n-gram
that is there c times weighs 1 + ln c.

No document frequencies and no SVD, on purpose. Both have to be fitted, and on the seeds, since nothing else is known
when the first row arrives: a text's vector, and with it every threshold, would then depend on the other rows of its
source. Frequencies from a hundred questions made labels harder to tell, not easier, because an n-gram that none of
them has weighs most (nearest neighbours on CHBench's questions agree in label in 73 % of cases without them, 60 to 64 %
with them); the SVD of a few hundred rows was no better than the counts that it is made of; and its directions differ
from one LAPACK to another. These are whole numbers, the same everywhere.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.embeddings import Vectors, whole
from filters.fold import fold
from filters.minhash import ngrams

WIDTH = 1024
LONGEST = 3
_BITS = 44  # of an n-gram's hash, beside the row's 20: two of a text's n-grams are taken for one once in 10^7 texts
_ROWS = 1 << 12  # at a time
_WEIGHTS = np.array([0, *(round(64 * (1 + math.log(count))) for count in range(1, 1024))], dtype=np.float64)


def hashed(texts: pl.Series) -> Vectors:
    """The vector of each text; zeros for an empty one or null."""
    parts = [_hashed(fold(texts[first : first + _ROWS])) for first in range(0, len(texts), _ROWS)]
    return np.concatenate(parts) if parts else np.zeros((0, WIDTH), dtype=np.int16)


def _hashed(keys: pl.Series) -> Vectors:
    sums: NDArray[np.float64] = np.zeros(len(keys) * WIDTH)
    for n in range(1, LONGEST + 1):
        hashes, counts = ngrams(keys.filter(keys.str.len_chars() >= n), n)
        rows = np.flatnonzero((keys.str.len_chars() >= n).fill_null(False).to_numpy())
        tagged = np.repeat(rows.astype(np.uint64), counts) << np.uint64(_BITS) | hashes >> np.uint64(64 - _BITS)
        tagged.sort()
        first = np.flatnonzero(np.append(True, tagged[1:] != tagged[:-1])[: len(tagged)])
        repeats = np.diff(np.append(first, len(tagged)))
        weight = _WEIGHTS[np.minimum(repeats, len(_WEIGHTS) - 1)]
        tagged = tagged[first]
        place = (tagged >> np.uint64(_BITS)) * np.uint64(WIDTH) + tagged % np.uint64(WIDTH)
        sign = np.where(tagged >> np.uint64(10) & np.uint64(1), 1.0, -1.0)
        sums += np.bincount(place.astype(np.int64), weight * sign, minlength=len(sums))
    return whole(sums.reshape(len(keys), WIDTH))
