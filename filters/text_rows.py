"""Texts by position in one growing buffer: what an index of millions of rows keeps of each.

A Python string costs some 60 bytes besides its characters, which for a short question is more than the question.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class TextRows:
    """Texts, or None, at positions 0, 1, …; an empty text reads as None.

    `encoding` is how they lie there: Chinese takes two bytes a character in UTF-16 and three in UTF-8, English two and
    one. 8 bytes a row come on top.
    """

    encoding: str = "utf-8"
    _bytes: bytearray = field(default_factory=bytearray)
    _ends: array[int] = field(default_factory=lambda: array("q", [0]))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, position: int) -> str | None:
        begin, end = self._ends[position], self._ends[position + 1]
        return self._bytes[begin:end].decode(self.encoding) if end > begin else None

    def extend(self, texts: Iterable[str | None]) -> None:
        """Append texts at the next positions."""
        written = [text.encode(self.encoding) if text else b"" for text in texts]
        ends = len(self._bytes) + np.cumsum(np.fromiter(map(len, written), dtype=np.int64, count=len(written)))
        self._bytes += b"".join(written)
        self._ends.frombytes(ends.tobytes())

    def present(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether there is a text at each position."""
        ends = np.frombuffer(self._ends, dtype=np.int64)
        found: NDArray[np.bool_] = ends[positions + 1] > ends[positions]
        return found
