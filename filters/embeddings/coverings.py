"""k-center greedy: choosing rows one after the other, each the farthest from those that were chosen.

Gonzalez (1985, Clustering to Minimize the Maximum Intercluster Distance) shows that the largest distance of a row to
the nearest chosen one is at most twice the least that so many rows can have; Sener and Savarese (2018, Active Learning
for Convolutional Neural Networks: A Core-Set Approach) choose training sets so. Each choice goes through all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.embeddings import Vectors, inverse

Text = Literal["prompt", "response", "both"]
"""What is embedded of a row; "prompt" falls back on the response where there is no prompt, and the other way round."""
CHOSEN = np.float32(2)
_BLOCK = 1 << 12

Ints = NDArray[np.int64]
Narrow = NDArray[np.float32]


def text_of(text: Text) -> pl.Expr:
    """The text of a row that is embedded."""
    if text == "both":
        return pl.concat_str("prompt", "response", separator="\n", ignore_nulls=True)
    other = "response" if text == "prompt" else "prompt"
    return pl.coalesce(text, other)


@dataclass
class Covered:
    """Of each row the largest cosine with what is chosen: -1 where nothing is, `CHOSEN` for a row that is itself."""

    alike: Narrow

    @classmethod
    def by(cls, vectors: Vectors, chosen: Vectors) -> Covered:
        """The rows beside those that are chosen already."""
        alike = np.full(len(vectors), -1, dtype=np.float32)
        left, right = inverse(vectors), inverse(chosen)
        for first in range(0, len(vectors) if len(chosen) else 0, _BLOCK):
            rows = slice(first, first + _BLOCK)
            near = vectors[rows].astype(np.float32) @ chosen.astype(np.float32).T * right
            alike[rows] = near.max(axis=1) * left[rows]
        return cls(alike)

    def choose(self, row: int) -> None:
        """Marks a row as chosen."""
        self.alike[row] = CHOSEN


def farthest_first(vectors: Vectors, covered: Covered, count: int) -> Ints:
    """The next `count` rows, or all: each the least alike to all that are chosen, the first of equals.

    `covered` is brought up to date.
    """
    wide, scale = vectors.astype(np.float32), inverse(vectors)
    found = []
    for _ in range(min(count, int((covered.alike < CHOSEN).sum()))):
        row = int(covered.alike.argmin())
        found.append(row)
        np.maximum(covered.alike, (wide @ wide[row]) * scale[row] * scale, out=covered.alike)
        covered.choose(row)
    return np.array(found, dtype=np.int64)


def nearest_to_each(vectors: Vectors, targets: Vectors, covered: Covered, count: int) -> Ints:
    """Up to `count` rows that cover the targets: again and again the target that is worst off gets the row nearest to
    it, until no target has a row nearer than what covers it. `covered` has what covers the targets before."""
    wide, aims = vectors.astype(np.float32), targets.astype(np.float32)
    scale, aim = inverse(vectors), inverse(targets)
    best, nearer = np.zeros(len(targets), dtype=np.int64), np.zeros(len(targets), dtype=np.float32)
    for first in range(0, len(targets) if len(vectors) else 0, _BLOCK):
        rows = slice(first, first + _BLOCK)
        near = aims[rows] @ wide.T * scale
        best[rows], nearer[rows] = near.argmax(axis=1), near.max(axis=1) * aim[rows]
    alike = np.where(nearer > covered.alike, covered.alike, CHOSEN)
    found: list[int] = []
    while len(found) < count and len(targets) and alike.min() < CHOSEN:
        row = int(best[alike.argmin()])
        found.append(row)
        np.maximum(alike, (aims @ wide[row]) * scale[row] * aim, out=alike)
        alike[alike >= nearer] = CHOSEN  # these have the nearest that there is, or one as near
    return np.array(found, dtype=np.int64)
