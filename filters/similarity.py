"""A rewrite should be neither the parent again nor about something else.

Similarity is Dice over counts of character bigrams of the folded texts: wording, not meaning. Fluent
paraphrases of a short Chinese question often share no bigram with it, but at least a sixth of its
characters; unrelated questions share a tenth, so that the floor finds only the worst of them. English
letters say nothing about relatedness and never fall below the floor.

With an embedder it is the cosine of vectors instead: of a model of sentences, meaning. Models differ in what cosine is
near and what is far, so the band is the user's to set; the bounds of the n-grams drop next to nothing then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from filters import Context
from filters.embeddings import NGRAMS, Vectors, embed, paired
from filters.fold import code_points, fold

_PAIRS = (("text", "parent"), ("prompt", "parent_prompt"), ("response", "known"))
_ROWS = 1 << 10  # compared at a time
_REPEAT_BITS = 10


@dataclass(frozen=True)
class Similarity:
    """Drops rewrites that are almost the parent's text, or share next to nothing with it.

    The floors are shares of the shorter text: of its characters for a prompt, of its bigrams for a response,
    which may draw on the parent's response and question (unrelated answers share .05 of their bigrams).

    `embedder` is "ngrams" (what is said above: wording, not meaning), "openai:MODEL" (a server at `base_url`), else a
    folder or owner/name of a sentence encoder, of whose cosines all three bounds speak then.
    """

    highest: Annotated[float, Field(ge=-1, le=1)] = 0.97
    lowest: Annotated[float, Field(ge=-1, le=1)] = 0.08
    lowest_response: Annotated[float, Field(ge=-1, le=1)] = 0.04
    embedder: str = ""
    base_url: str = ""
    name: ClassVar[str] = "similarity"
    cost: ClassVar[str] = "row"  # "model" of one with an embedder that is a model
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "similarity_score": ("<= highest",),
        "similarity_prompt": (">= lowest",),
        "similarity_response": (">= lowest_response",),
    }
    scores: ClassVar[dict[str, Any]] = {
        "similarity_score": pl.Float64,
        "similarity_prompt": pl.Float64,
        "similarity_response": pl.Float64,
    }
    """How like the parent the changed text is, how like its prompt the prompt, and its texts the response."""

    def __post_init__(self) -> None:
        if self.embedder not in NGRAMS:
            object.__setattr__(self, "cost", "model")

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        answered = pl.col("changed_fields").str.contains("response") & pl.col("parent_response").is_not_null()
        rewritten = pl.col("parent_changed").is_not_null() & (pl.col("changed_fields") != "")
        known = pl.concat_str("parent_response", "parent_prompt", separator="\n")
        compared = frame.select(
            pl.when(rewritten).then("changed").alias("text"),
            pl.when(rewritten).then("parent_changed").alias("parent"),
            pl.when(rewritten & pl.col("changed_fields").str.contains("prompt")).then("prompt").alias("prompt"),
            pl.col("parent_prompt"),
            pl.when(answered).then("response").alias("response"),
            pl.when(answered).then(known).alias("known"),
        )
        found = self._shared(compared) if self.embedder in NGRAMS else self._cosines(compared, context)
        return frame.with_columns(
            compared.select(
                pl.when(pl.col(left).is_not_null() & pl.col(right).is_not_null())
                .then(pl.Series(alike, dtype=pl.Float64).fill_nan(None))
                .alias(name)
                for name, (left, right), alike in zip(self.scores, _PAIRS, found, strict=True)
            ).get_columns()
        )

    def _shared(self, compared: pl.DataFrame) -> list[NDArray[np.float64]]:
        texts = pl.concat([each.alias("text") for each in compared]).drop_nulls().unique(maintain_order=True)
        folded = compared.select(pl.all().replace_strict(texts, fold(texts), default=None, return_dtype=pl.String))
        return [
            _of_both(folded["text"], folded["parent"], 2, False),
            _of_both(folded["prompt"], folded["parent_prompt"], 1, True),
            _of_both(folded["response"], folded["known"], 2, True),
        ]

    def _cosines(self, compared: pl.DataFrame, context: Context) -> list[NDArray[np.float64]]:
        both = compared.filter(pl.any_horizontal(pl.col("text", "response").is_not_null()))
        texts = pl.concat([both[side] for pair in _PAIRS for side in pair]).drop_nulls().unique()
        vectors = embed(texts, self.embedder, self.base_url, context, f"{self.name}.embedder")
        place = {text: row for row, text in enumerate(texts.to_list())}
        none = np.zeros((1, vectors.shape[1]), dtype=np.int16)
        table = np.concatenate([vectors, none])

        def of(column: str) -> Vectors:
            return table[[place.get(text, -1) for text in compared[column].to_list()]]

        return [paired(of(left), of(right)) for left, right in _PAIRS]

    def verdict(self) -> pl.Expr:
        unrelated = (pl.col("similarity_prompt") < self.lowest) | (pl.col("similarity_response") < self.lowest_response)
        return (
            pl.when(pl.col("similarity_score") > self.highest)
            .then(pl.lit("too like its parent"))
            .when(unrelated)
            .then(pl.lit("unrelated to its parent"))
        )


def _of_both(left: pl.Series, right: pl.Series, n: int, of_shorter: bool) -> NDArray[np.float64]:
    """`similarity` of the rows that have both texts, 0 of the others."""
    found = np.zeros(len(left))
    rows = (left.is_not_null() & right.is_not_null()).arg_true().to_numpy()
    found[rows] = similarity(left[rows], right[rows], n, of_shorter)
    return found


def similarity(left: pl.Series, right: pl.Series, n: int = 2, of_shorter: bool = False) -> NDArray[np.float64]:
    """Shared n-grams (n is 1 or 2), row by row, over the mean number of both sides, or over the smaller."""
    found = np.zeros(len(left))
    for first in range(0, len(left), _ROWS):
        rows = slice(first, first + _ROWS)
        ours, theirs = _ngrams(left[rows], n), _ngrams(right[rows], n)
        both = np.concatenate([ours, theirs])
        both.sort(kind="stable")  # two sorted runs: one merge
        shared, mine, other = (_per_row(keys, len(left[rows])) for keys in (_repeated(both), ours, theirs))
        total = 2 * np.minimum(mine, other) if of_shorter else mine + other
        found[rows] = 2 * shared / np.maximum(total, 1)
    return found


def _ngrams(texts: pl.Series, n: int) -> NDArray[np.uint64]:
    """Sorted distinct keys, one an n-gram: row (12 bits), two code points (21 each), which repeat (10).

    Each text ends with a 0, so that a single character has a bigram too. Repeats from the 1,024th on do
    not count.
    """
    code, _, lengths = code_points(texts.fill_null("") + "\0")
    row = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
    wide = code.astype(np.uint64)
    keys = row[:-1] << np.uint64(42) | wide[:-1] << np.uint64(21)
    if n == 2:
        keys |= wide[1:]
    keys = np.sort(keys[row[:-1] == row[1:]])
    index = np.arange(len(keys))
    again = np.zeros(len(keys), dtype=np.bool_)
    again[1:] = keys[1:] == keys[:-1]
    repeat = index - np.maximum.accumulate(np.where(again, 0, index))
    numbered = keys << np.uint64(_REPEAT_BITS) | repeat.astype(np.uint64)
    kept: NDArray[np.uint64] = numbered[repeat < 1 << _REPEAT_BITS]
    return kept


def _repeated(ordered: NDArray[np.uint64]) -> NDArray[np.uint64]:
    second: NDArray[np.uint64] = ordered[1:][ordered[1:] == ordered[:-1]]
    return second


def _per_row(keys: NDArray[np.uint64], rows: int) -> NDArray[np.int64]:
    return np.bincount((keys >> np.uint64(42 + _REPEAT_BITS)).astype(np.int64), minlength=rows)
