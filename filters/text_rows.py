"""Texts by position in one growing buffer: what an index of millions of rows keeps of each.

A Python string costs some 60 bytes besides its characters, which for a short question is more than the question.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class TextRows:
    """Texts, or None, at positions 0, 1, …; an empty text reads as None. In UTF-8, with 8 bytes a row on top."""

    _bytes: bytearray = field(default_factory=bytearray)
    _ends: array[int] = field(default_factory=lambda: array("q", [0]))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, position: int) -> str | None:
        begin, end = self._ends[position], self._ends[position + 1]
        return self._bytes[begin:end].decode() if end > begin else None

    def extend(self, texts: Iterable[str | None]) -> None:
        """Append texts at the next positions."""
        written = [text.encode() if text else b"" for text in texts]
        ends = len(self._bytes) + np.cumsum(np.fromiter(map(len, written), dtype=np.int64, count=len(written)))
        self._bytes += b"".join(written)
        self._ends.frombytes(ends.tobytes())
