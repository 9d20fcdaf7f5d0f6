"""Degenerate loops: a model that says the same characters, phrase or line again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from filters import Context
from filters.characters import wordy
from filters.fold import code_points

_PERIODS = 12  # longest phrase looked for in a loop; longer ones show up as repeated n-grams
_ROWS = 1 << 12  # laid out as code points at a time
_CHARACTERS = 1 << 14  # looked at a time: what stays in cache
_SLOTS = 16  # bits of the table in which equal n-grams meet
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Repetition:
    """Drops texts that loop: a repeated phrase, many repeated n-grams, or the same line again and again.

    A loop is the longest stretch of letters that a phrase of up to 12 characters fills by itself at least
    4 times over. Real answers in CHBench and the sample stay below half of every threshold.
    """

    max_loop: int = 16
    max_ngrams: Annotated[float, Field(ge=0, le=1)] = 0.3
    max_lines: Annotated[float, Field(ge=0, le=1)] = 0.4
    name: ClassVar[str] = "repetition"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "repetition_loop": ("<= max_loop",),
        "repetition_ngrams": ("<= max_ngrams",),
        "repetition_lines": ("<= max_lines",),
    }
    scores: ClassVar[dict[str, Any]] = {
        "repetition_loop": pl.Int64,
        "repetition_ngrams": pl.Float64,
        "repetition_lines": pl.Float64,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        text = frame["changed"].fill_null("")
        loops = np.zeros(len(text), dtype=np.int64)
        shares = np.zeros(len(text))
        for first in range(0, len(text), _ROWS):
            code, starts, lengths = code_points(text[first : first + _ROWS])
            for begin, end in _parts(lengths):
                some = code[starts[begin] : starts[end - 1] + lengths[end - 1]]
                loops[first + begin : first + end] = longest_loop(some, lengths[begin:end])
                shares[first + begin : first + end] = repeated_ngrams(some, lengths[begin:end])
        return frame.with_columns(
            pl.Series("repetition_loop", loops),
            pl.Series("repetition_ngrams", shares),
            pl.Series("repetition_lines", repeated_lines(text), dtype=pl.Float64),
        )

    def verdict(self) -> pl.Expr:
        return (
            pl.when(pl.col("repetition_loop") > self.max_loop)
            .then(pl.lit("repeats a phrase over and over"))
            .when(pl.col("repetition_ngrams") > self.max_ngrams)
            .then(pl.lit("repeats itself"))
            .when(pl.col("repetition_lines") > self.max_lines)
            .then(pl.lit("repeats its lines"))
        )


def _parts(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of rows, from one to another, that have about `_CHARACTERS` together."""
    part = np.cumsum(lengths + 1) // _CHARACTERS
    yield from pairwise([0, *(np.flatnonzero(part[1:] != part[:-1]) + 1).tolist(), len(part)])


def longest_loop(code: NDArray[np.uint32], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Letters and numbers in the longest stretch that repeats a phrase of up to 12 of them 4 times or more.

    `code` holds the texts one after another. A mark of its own after each text keeps a loop inside it.
    """
    keep = wordy(code)
    upto = np.concatenate([[0], np.cumsum(keep)])
    ends = upto[np.cumsum(lengths)]
    marked = _marked(code[keep], np.diff(ends, prepend=0))
    starts = np.concatenate([[0], ends + np.arange(1, len(lengths) + 1)])
    longest = np.zeros(len(lengths), dtype=np.int64)
    for period in range(1, _PERIODS + 1):
        for begin, stretch in _loops(marked, period):
            at = int(np.searchsorted(starts, begin, side="right")) - 1
            longest[at] = max(longest[at], stretch)
    return longest


def _loops(code: NDArray[np.uint32], period: int) -> Iterator[tuple[int, int]]:
    """(begin, characters) of each stretch that a phrase of `period` characters fills 4 times or more.

    Such a stretch holds 3 neighbouring multiples of the period at which what follows a period later is equal; only
    from those is it measured.
    """
    spaced = code[::period]
    same = spaced[1:] == spaced[:-1]
    hits = np.flatnonzero(same[2:] & same[1:-1] & same[:-2]) * period
    done = 0
    for hit in hits.tolist():
        if hit < done:
            continue
        begin = _end_of_run(code[hit::-1], code[hit + period :: -1])
        end = _end_of_run(code[hit:], code[hit + period :])
        done = hit + end
        if begin + end - 1 >= 3 * period:
            yield hit - begin + 1, begin + end - 1 + period


def _end_of_run(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> int:
    """How many of the first elements of both are equal."""
    size, looked = min(len(left), len(right)), 0
    step = 64
    while looked < size:
        upto = min(looked + step, size)
        unequal = np.flatnonzero(left[looked:upto] != right[looked:upto])
        if len(unequal):
            return looked + int(unequal[0])
        looked, step = upto, step * 4
    return size


def repeated_ngrams(code: NDArray[np.uint32], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the 10-character windows of each text that an earlier window equals; 0 for a short text.

    Windows meet in a table by their hash; only those whose slot another took are sorted and compared.
    """
    counts = np.maximum(lengths - 9, 0)
    if not counts.any():
        return np.zeros(len(lengths))
    numbers = np.arange(len(lengths), dtype=np.uint64)
    ends = np.cumsum(lengths)
    marked = _marked(code, lengths)
    hashes = _windows(marked)
    hashes += np.repeat(numbers * np.uint64(0xBF58476D1CE4E5B9), lengths + 1)[: len(hashes)]
    hashes ^= hashes >> np.uint64(29)
    hashes *= _BASE
    slot = (hashes >> np.uint64(64 - _SLOTS)).astype(np.int32)
    table = np.empty(1 << _SLOTS, dtype=np.int32)
    order = np.arange(len(slot), dtype=np.int32)
    table[slot] = order
    lost = table[slot] != order
    shared = np.zeros(1 << _SLOTS, dtype=np.bool_)
    shared[slot[lost]] = True
    again = np.flatnonzero(shared[slot])
    row = np.searchsorted(ends + np.arange(len(lengths)), again).astype(np.uint64)
    keys = row << np.uint64(48) | hashes[again] >> np.uint64(16)
    keys.sort()
    repeats = np.bincount((keys[1:][keys[1:] == keys[:-1]] >> np.uint64(48)).astype(np.int64), minlength=len(lengths))
    share: NDArray[np.float64] = repeats / np.maximum(counts, 1)
    return share


def _marked(code: NDArray[np.uint32], lengths: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The texts one after another, each with a mark of its own behind it that is no character."""
    marks = np.cumsum(lengths + 1) - 1
    marked = np.empty(len(code) + len(lengths), dtype=np.uint32)
    text = np.ones(len(marked), dtype=np.bool_)
    text[marks] = False
    marked[text] = code
    marked[marks] = 0x110000 + np.arange(len(lengths), dtype=np.uint32)
    return marked


def _windows(code: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """A hash of every window of 10 characters, from those of 2, 4 and 8."""
    wide = code.astype(np.uint64)
    base, one = 0x9E3779B97F4A7C15, (1 << 64) - 1
    two = wide[:-1] * _BASE + wide[1:]
    four = two[:-2] * np.uint64(base**2 & one) + two[2:]
    eight = four[:-4] * np.uint64(base**4 & one) + four[4:]
    ten: NDArray[np.uint64] = eight[:-2] * np.uint64(base**2 & one) + two[8:]
    return ten


def repeated_lines(texts: pl.Series) -> pl.Series:
    """Share of the lines that say, apart from their numbering, what an earlier line says; 0 below 4 lines."""
    lines = texts.str.replace_all(r"(?m)^[\s\p{N}\p{P}]+|[ \t]+$", "").str.split("\n")
    said = lines.list.eval(pl.element().filter(pl.element() != ""))
    count = said.list.len().cast(pl.Float64)
    share = 1 - said.list.n_unique() / count
    return pl.select(pl.when(count >= 4).then(share).otherwise(0.0)).to_series()
