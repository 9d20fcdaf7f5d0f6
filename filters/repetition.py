"""Degenerate loops: a model that says the same characters, phrase or line again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from filters import Context
from filters.characters import wordy
from filters.laid_out import laid_out

_PERIODS = 12  # longest phrase looked for in a loop; longer ones show up as repeated n-grams
_SLOTS = 18  # bits of the table in which equal n-grams meet
_BASE = np.uint64(0x9E3779B97F4A7C15)
_ROW = np.uint64(0xBF58476D1CE4E5B9)


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
        text = frame["changed"]
        loops = np.zeros(len(text), dtype=np.int64)
        shares = np.zeros(len(text))
        for part in laid_out(text, context.memory):
            loops[part.rows] = longest_loop(part.code, part.lengths)
            shares[part.rows] = repeated_ngrams(part.code, part.lengths)
        return frame.with_columns(
            pl.Series("repetition_loop", loops),
            pl.Series("repetition_ngrams", shares),
            pl.Series("repetition_lines", repeated_lines(text.fill_null("")), dtype=pl.Float64),
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


def longest_loop(code: NDArray[np.uint32], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Letters and numbers in the longest stretch that repeats a phrase of up to 12 of them 4 times or more.

    `code` holds the texts one after another.
    """
    letters = np.flatnonzero(wordy(code))
    ends = np.searchsorted(letters, np.cumsum(lengths))
    begins = np.concatenate([[0], ends[:-1]])
    spoken = np.take(code, letters)
    longest = np.zeros(len(lengths), dtype=np.int64)
    found = _suspects(spoken)
    if found:
        rows = np.unique(np.searchsorted(ends, np.concatenate([*found.values()]), side="right"))
        texts = [spoken[begins[row] : ends[row]] for row in rows.tolist()]
        longest[rows] = _measured(np.concatenate(texts), np.array([*map(len, texts)]), found)
    return longest


def _suspects(code: NDArray[np.uint32]) -> dict[int, NDArray[np.int64]]:
    """By period, places of which one is in every stretch that a phrase of so many characters fills 4 times or more.

    In such a stretch 3 periods of neighbours are equal to what follows a period later. So it holds an equal window
    that begins at a multiple of 3 periods - the window's width + 1.
    """
    short = code.astype("<u2")  # unlike characters may become alike, which only costs a second look
    twos, fours = _overlapping(short, 2), _overlapping(short, 4)
    found = {}
    for period in range(1, _PERIODS + 1):
        width, windows = (4, fours) if period > 1 else (2, twos)
        step = 3 * period - width + 1
        places = np.flatnonzero(windows[:-period:step] == windows[period::step])
        if len(places):
            found[period] = places * step
    return found


def _overlapping(short: NDArray[np.uint16], width: int) -> NDArray[Any]:
    """Every 2 or 4 neighbours as one number."""
    size = max(len(short) - width + 1, 0)
    return np.ndarray(size, f"<u{2 * width}", short, strides=short.strides).copy()


def _measured(code: NDArray[np.uint32], lengths: NDArray[np.int64], periods: Iterable[int]) -> NDArray[np.int64]:
    """The longest such stretch of each text. A mark of its own after each text keeps it inside."""
    ends = np.cumsum(lengths)
    marked = np.insert(code, ends, 0x110000 + np.arange(len(ends), dtype=np.uint32))
    ends += np.arange(1, len(ends) + 1)
    longest = np.zeros(len(lengths), dtype=np.int64)
    for period in periods:
        unequal = np.flatnonzero(marked[:-period] != marked[period:])
        edges = np.concatenate([[-1], unequal, [max(len(marked) - period, 0)]])
        equal = np.diff(edges) - 1
        long = np.flatnonzero(equal >= 3 * period)
        np.maximum.at(longest, np.searchsorted(ends, edges[long] + 1, side="right"), equal[long] + period)
    return longest


def repeated_ngrams(code: NDArray[np.uint32], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the 10-character windows of each text that an earlier window equals; 0 for a short text.

    Windows meet in a table by their hash, where the last to come stays. What it drove out is a repeat when both are
    equal; the others meet again without it.
    """
    ends = np.cumsum(lengths)
    repeats = np.zeros(len(lengths), dtype=np.int64)
    hashes = _windows(code, lengths) if len(code) > 9 else np.zeros(0, dtype=np.uint64)
    at: NDArray[np.int64] | None = None
    table = np.empty(1 << _SLOTS, dtype=np.uint16 if len(hashes) <= 1 << 16 else np.int64)
    while len(hashes):
        slot = (hashes >> np.uint64(64 - _SLOTS)).view(np.int64)
        order = np.arange(len(hashes), dtype=table.dtype)
        table[slot] = order
        stays = np.take(table, slot)
        lost = np.flatnonzero(stays != order)
        equal = hashes[lost] == hashes[stays[lost]]
        places = lost if at is None else at[lost]
        repeats += np.diff(np.searchsorted(places[equal], ends), prepend=0)
        at, hashes = places[~equal], hashes[lost[~equal]]
    share: NDArray[np.float64] = repeats / np.maximum(lengths - 9, 1)
    return share


def _windows(code: NDArray[np.uint32], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash of every window of 10 characters and its row, from those of 2, 4 and 8; no two windows that reach into
    another row have the same."""
    wide = code.astype(np.uint64)
    two = wide[:-1] * _BASE
    two += wide[1:]
    four = two[:-2] * _power(2)
    four += two[2:]
    eight = four[:-4] * _power(4)
    eight += four[4:]
    ten: NDArray[np.uint64] = eight[:-2]
    ten *= _power(2)
    ten += two[8:]
    ten += np.repeat(np.arange(len(lengths), dtype=np.uint64) * _ROW, lengths)[: len(ten)]
    across = (np.cumsum(lengths)[:, None] - np.arange(1, 10)).ravel()
    across = across[(across >= 0) & (across < len(ten))]
    ten[across] = across.view(np.uint64) * _ROW
    return ten


def _power(exponent: int) -> np.uint64:
    return np.uint64(int(_BASE) ** exponent % (1 << 64))


def repeated_lines(texts: pl.Series) -> pl.Series:
    """Share of the lines that say, apart from their numbering, what an earlier line says; 0 below 4 lines."""
    if not (several := texts.str.count_matches("\n", literal=True) > 2).all():
        found = np.zeros(len(texts))
        where = several.arg_true()
        if len(where):
            found[where.to_numpy()] = repeated_lines(texts.gather(where)).to_numpy()
        return pl.Series(found)
    lines = texts.str.replace_all(r"(?m)^[\s\p{N}\p{P}]+|[ \t]+$", "").str.split("\n")
    said = lines.list.eval(pl.element().filter(pl.element() != ""))
    count = said.list.len().cast(pl.Float64)
    share = 1 - said.list.n_unique() / count
    return pl.select(pl.when(count >= 4).then(share).otherwise(0.0)).to_series()
