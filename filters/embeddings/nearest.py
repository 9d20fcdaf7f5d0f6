"""The nearest earlier row by cosine, exact, row after row: only kept rows are gone against.

Blocked matrix products over vectors of whole numbers: what is found does not depend on how rows are cut into batches.
It is quadratic: on one core 100,000 rows of n-gram vectors take some minutes. No approximate index is used, since what
it finds would depend on how it was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from filters.embeddings import Vectors, inverse
from filters.minhash import Groups

BLOCK = 256  # rows compared at a time
PART = 1 << 14  # with so many earlier ones

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Nearest:
    """The rows kept so far, each in a group. A row is not kept when its cosine with one that counts is `near`."""

    near: Callable[[float], bool]
    groups: Groups = "both"
    _held: Vectors = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int16))
    _scale: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    _numbers: list[int] = field(default_factory=list)  # of each held row, among all rows ever given
    _members: dict[str, list[int]] = field(default_factory=dict)  # of a group: places among the held rows
    _seen: int = 0

    def match(
        self, vectors: Vectors, groups: Sequence[str], keep_all: bool = False
    ) -> tuple[tuple[Ints, Floats], tuple[Ints, Floats]]:
        """For each row the nearest kept one of its own group, and of the other groups: number and cosine.

        Number -1 and NaN where there is none, where such rows do not count, and for a row without a vector. Rows are
        numbered as they are given; the earliest of equals is meant.
        """
        own, other = (
            (np.full(len(vectors), -1, dtype=np.int64), np.full(len(vectors), np.nan)) for _ in ("own", "other")
        )
        for first in range(0, len(vectors), BLOCK):
            block = self._block(vectors[first : first + BLOCK], groups[first : first + BLOCK], keep_all)
            for row, found in enumerate(block, first):
                (own[0][row], own[1][row]), (other[0][row], other[1][row]) = found
        return own, other

    def _block(self, vectors: Vectors, groups: Sequence[str], keep_all: bool) -> list[tuple[_Found, _Found]]:
        wide, scale = vectors.astype(np.float32), inverse(vectors)
        place, alike = self._of_others(wide, groups) if self.groups != "within" else (None, None)
        among = wide @ wide.T * scale if self.groups != "within" else None
        names = np.array(groups, dtype=object)
        fresh: list[int] = []  # rows of this block that were kept, and from here on their places
        begun = len(self._numbers)
        found = []
        for row, group in enumerate(groups):
            own, other = _NONE, _NONE
            if scale[row]:
                mates = self._members.setdefault(group, [])
                if mates and self.groups != "across":
                    near = self._held[mates].astype(np.float32) @ wide[row] * self._scale[mates]
                    own = self._told(vectors[row], mates[int(near.argmax())])
                if place is not None and alike is not None and among is not None:
                    best, where = float(alike[row]), int(place[row])
                    later = np.array(fresh, dtype=np.int64)
                    apart = np.flatnonzero(names[later] != group)
                    if len(apart):
                        at = int(among[row, later[apart]].argmax())
                        if among[row, later[apart[at]]] > best:
                            where = begun + int(apart[at])
                    other = self._told(vectors[row], where) if where >= 0 else _NONE
                if keep_all or not self.near(max(own[1], other[1])):
                    mates.append(len(self._numbers))
                    fresh.append(row)
                    self._hold(vectors[row], scale[row], self._seen + row)
            found.append(((own[0], _known(own)), (other[0], _known(other))))
        self._seen += len(vectors)
        return found

    def _of_others(self, wide: NDArray[np.float32], groups: Sequence[str]) -> tuple[Ints, NDArray[np.float32]]:
        """The place of the nearest held row of another group, and its product over its length; -1 and -inf without."""
        place = np.full(len(wide), -1, dtype=np.int64)
        alike = np.full(len(wide), -np.inf, dtype=np.float32)
        every = np.arange(len(wide))
        mates = [(row, at) for row, group in enumerate(groups) for at in self._members.get(group, ())]
        mate = np.array(mates, dtype=np.int64).reshape(-1, 2)
        for first in range(0, len(self._numbers), PART):
            part = slice(first, min(first + PART, len(self._numbers)))
            near = wide @ self._held[part].astype(np.float32).T
            near *= self._scale[part]
            inside = mate[(mate[:, 1] >= part.start) & (mate[:, 1] < part.stop)]
            near[inside[:, 0], inside[:, 1] - first] = -np.inf
            best = near.argmax(axis=1)
            better = near[every, best] > alike
            place[better], alike[better] = first + best[better], near[every, best][better]
        return place, alike

    def _told(self, vector: Vectors, place: int) -> _Found:
        """The number of the row at `place`, and its cosine with the vector."""
        ours, theirs = vector.astype(np.float64), self._held[place].astype(np.float64)
        return self._numbers[place], float(ours @ theirs) / float(np.sqrt((ours @ ours) * (theirs @ theirs)))

    def _hold(self, vector: Vectors, scale: np.float32, number: int) -> None:
        if len(self._numbers) == len(self._held):
            size = max(BLOCK, 2 * len(self._held))
            held, scales = self._held, self._scale
            self._held, self._scale = np.zeros((size, len(vector)), dtype=np.int16), np.zeros(size, dtype=np.float32)
            if len(held):
                self._held[: len(held)], self._scale[: len(scales)] = held, scales
        self._held[len(self._numbers)], self._scale[len(self._numbers)] = vector, scale
        self._numbers.append(number)


_Found = tuple[int, float]
_NONE: _Found = (-1, -np.inf)


def _known(found: _Found) -> float:
    return found[1] if found[0] >= 0 else np.nan
