"""Similarity to the gold answer by character counts, as CHBench reports it (arXiv 2409.15766, version 1).

Blanks are dropped and letters lowered; over the counts a and b of each character
cosine = a·b / (‖a‖ ‖b‖) and jaccard = Σ min(a, b) / Σ max(a, b).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.fold import code_points

FAILED = ("None!", "None！")
"""What stands in the published answers where a model gave none."""
BINS = 10
_PAIRS = 32
"""Pairs at a time: their counts over the characters that they use fit into a core's cache."""
_BLOCK = 512
"""Pairs whose texts are numbers at once: a few MB, which a core keeps at hand too."""
_CODES = 0x110000


@dataclass(frozen=True)
class Similarity:
    """Character cosine and Jaccard to the gold answer; a failed answer scores 0, as published."""

    name: ClassVar[str] = "similarity"
    scores: ClassVar[dict[str, Any]] = {"failed": pl.Boolean, "cosine": pl.Float64, "jaccard": pl.Float64}

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        failed = is_failed(frame["answer"])
        answers = pl.select(pl.when(failed).then(pl.lit("")).otherwise(frame["answer"]).alias("answer")).to_series()
        cosine, jaccard = similarity(frame["gold"], answers)
        return frame.with_columns(failed.alias("failed")).with_columns(
            pl.when(pl.col("gold").is_not_null()).then(pl.Series(scores)).alias(name)
            for name, scores in (("cosine", cosine), ("jaccard", jaccard))
        )


def is_failed(answers: pl.Series) -> pl.Series:
    """Whether there is no answer: null, blank, or the published mark for it."""
    stripped = answers.str.strip_chars()
    return stripped.is_null() | (stripped == "") | stripped.is_in(list(FAILED))


def similarity(ours: pl.Series, theirs: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and Jaccard of each pair of texts, two arrays of shape (pairs,); null counts as the empty text, 0.

    Equal texts in `ours`, such as a gold answer beside those of several models, are counted once.
    """
    cosine, jaccard = np.zeros(len(ours)), np.zeros(len(ours))
    numbers: dict[str, int] = {}
    which = np.array([numbers.setdefault(text or "", len(numbers)) for text in ours], dtype=np.int64)
    different = pl.Series(list(numbers), dtype=pl.String)
    order = np.argsort(which, kind="stable")
    for start in range(0, len(order), _BLOCK):
        here = order[start : start + _BLOCK]
        first, last = which[here[0]], which[here[-1]]
        cosine[here], jaccard[here] = _scores(different[int(first) : int(last) + 1], theirs[here], which[here] - first)
    return cosine, jaccard


def _scores(
    ours: pl.Series, theirs: pl.Series, which: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both similarities of each of `theirs` to the text of `ours` that `which`, ascending, says."""
    cosine, jaccard = np.zeros(len(theirs)), np.zeros(len(theirs))
    first, second = code_points(ours), code_points(theirs)
    seen = np.zeros(_CODES, dtype=bool)
    seen[first[0]] = seen[second[0]] = True
    used = np.flatnonzero(seen)
    letters, letter = np.unique(np.append(_small()[used], 0), return_inverse=True)  # 0 stands for every blank
    numbers = np.zeros(_CODES, dtype=np.int64)
    numbers[used] = letter[:-1]
    sides = [_Texts(numbers[codes], starts, lengths) for codes, starts, lengths in (first, second)]
    for start in range(0, len(theirs), _PAIRS):
        end = min(start + _PAIRS, len(theirs))
        low = int(which[start])
        cuts = (sides[0].cut(low, int(which[end - 1]) + 1), sides[1].cut(start, end))
        golds, other = _counts(cuts, len(letters))
        mine = golds[which[start:end] - low]
        dot = np.einsum("ij,ij->i", mine, other)
        norms = np.sqrt(np.einsum("ij,ij->i", mine, mine) * np.einsum("ij,ij->i", other, other))
        np.divide(dot, norms, out=cosine[start:end], where=norms > 0)
        both = np.minimum(mine, other).sum(axis=1)
        either = mine.sum(axis=1) + other.sum(axis=1) - both
        np.divide(both, either, out=jaccard[start:end], where=either > 0)
    return cosine, jaccard


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts as numbers of letters, one after the other, with the start and the length of each."""

    letters: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def cut(self, start: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The letters of texts `start` to `end`, and how many each of them has."""
        last = self.starts[end - 1] + self.lengths[end - 1]
        return self.letters[self.starts[start] : last], self.lengths[start:end]


def _counts(
    cuts: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...], known: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often each text of two cuts uses each letter that any of them uses: two arrays of shape (texts, letters)."""
    seen = np.zeros(known, dtype=bool)
    for letters, _ in cuts:
        seen[letters] = True
    seen[0] = False
    width = int(seen.sum()) + 1
    column = np.zeros(known, dtype=np.int64)
    column[seen] = np.arange(1, width)
    mine, other = (
        np.bincount(
            column[letters] + np.repeat(np.arange(len(lengths)) * width, lengths), minlength=len(lengths) * width
        )
        .reshape(len(lengths), width)[:, 1:]
        .astype(float)
        for letters, lengths in cuts
    )
    return mine, other


@cache
def _small() -> NDArray[np.uint32]:
    """Code point to that of its small letter; 0 for blanks, which do not count.

    Each character is lowered by itself, as the definition does; İ, which becomes two, stays and meets no other.
    """
    table = np.arange(_CODES, dtype=np.uint32)
    for code in range(0x20000):  # above are ideographs, marks and private use: no letters that have two cases
        if not 0x2E80 <= code < 0xA000 and not 0xAC00 <= code < 0xE000:
            char = chr(code)
            table[code] = 0 if char.isspace() else ord(char.lower()) if len(char.lower()) == 1 else code
    table[0x3000] = 0
    return table


def histogram(scores: NDArray[np.float64]) -> list[int]:
    """How many scores are in [0, .1), [.1, .2), … [.9, 1]: the last bin is closed, failed answers are in the first."""
    counts, _ = np.histogram(scores, bins=np.arange(BINS + 1) / BINS)
    return [int(count) for count in counts]
