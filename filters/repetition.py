"""Degenerate loops: a model that says the same characters, phrase or line again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from filters import Context
from filters.fold import code_points
from filters.minhash import distinct, ngrams

_PERIODS = 12  # longest phrase looked for in a loop; longer ones show up as repeated n-grams
_ROWS = 1 << 12


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
    scores: ClassVar[dict[str, Any]] = {
        "repetition_loop": pl.Int64,
        "repetition_ngrams": pl.Float64,
        "repetition_lines": pl.Float64,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        text = frame["changed"].fill_null("")
        parts = [text[first : first + _ROWS] for first in range(0, max(len(text), 1), _ROWS)]
        return frame.with_columns(
            pl.Series("repetition_loop", np.concatenate([longest_loop(part) for part in parts])),
            pl.Series("repetition_ngrams", np.concatenate([repeated_ngrams(part) for part in parts])),
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


def longest_loop(texts: pl.Series) -> NDArray[np.int64]:
    """Characters in the longest stretch that repeats a phrase of up to 12 characters 4 times or more."""
    longest = np.zeros(len(texts), dtype=np.int64)
    code, _, lengths = code_points(texts.str.replace_all(r"[^\p{L}\p{N}]", ""))
    row = np.repeat(np.arange(len(lengths)), lengths)
    for period in range(1, _PERIODS + 1):
        if len(code) <= period:
            break
        same = np.zeros(len(code) - period + 2, dtype=np.int8)  # one more at each end, so that runs have edges
        same[1:-1] = (code[period:] == code[:-period]) & (row[period:] == row[:-period])
        edges = np.diff(same)
        begin, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        stretch = end - begin + period
        looped = stretch >= 4 * period
        np.maximum.at(longest, row[begin[looped]], stretch[looped])
    return longest


def repeated_ngrams(texts: pl.Series, n: int = 10) -> NDArray[np.float64]:
    """Share of the n-character windows of each text that an earlier window equals; 0 for a short text."""
    hashes, counts = ngrams(texts, n)
    row = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    kept = distinct(row << np.uint64(52) | hashes >> np.uint64(12))
    unique = np.bincount((kept >> np.uint64(52)).astype(np.int64), minlength=len(counts))
    share: NDArray[np.float64] = (counts - unique) / np.maximum(counts, 1)
    return share


def repeated_lines(texts: pl.Series) -> pl.Series:
    """Share of the lines that say, apart from their numbering, what an earlier line says; 0 below 4 lines."""
    lines = texts.str.replace_all(r"(?m)^[\s\p{N}\p{P}]+|[ \t]+$", "").str.split("\n")
    said = lines.list.eval(pl.element().filter(pl.element() != ""))
    count = said.list.len().cast(pl.Float64)
    share = 1 - said.list.n_unique() / count
    return pl.select(pl.when(count >= 4).then(share).otherwise(0.0)).to_series()
