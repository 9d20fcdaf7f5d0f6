"""Rows that cover the ground that the source leaves open: the exam's topics, then whatever is far from all there is.

k-center greedy, in two steps. The seeds are there already. First every topic of the exam to which a row is nearer than
all seeds gets the row nearest to it, the topic that is worst off first; then rows are added each of which is farthest
from all seeds and all that were chosen (Gonzalez, 1985; Sener and Savarese, 2018: see `filters.embeddings.coverings`).
Nothing is random; of equals the smaller id comes first. What is far from everything may be odd: choose so after other
filters.

A topic is the centre of a cluster of at least 5 exam rows. No exam row is looked at by itself, and neither its text nor
its id is in any score; but a choice that follows the exam's topics makes the exam a less severe test than one that does
not, which `exam=false` leaves out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from augment.errors import RecipeError
from filters import Context
from filters.embeddings import Vectors, embed
from filters.embeddings.clusters import kmeans
from filters.embeddings.coverings import CHOSEN, Covered, Text, farthest_first, nearest_to_each, text_of

FEWEST = 5
"""Exam rows that make a topic."""


@dataclass(frozen=True)
class Coverage:
    """Keeps the `keep` rows that cover most beside the source: the exam's topics (`exam`), and all rows.

    `text` is what is embedded, `embedder` as in semantic_dup: "ngrams" measures wording, not meaning.
    """

    keep: Annotated[int, Field(ge=1)] | None = None
    exam: bool = True
    text: Text = "prompt"
    embedder: str = ""
    base_url: str = ""
    name: ClassVar[str] = "coverage"
    cost: ClassVar[str] = "selection"
    only_when_set: ClassVar[bool] = True
    reads_exam: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[str, ...]]] = {}
    scores: ClassVar[dict[str, Any]] = {"coverage_place": pl.Int64, "coverage_distance": pl.Float64}
    """Where a row comes in the choice (1: first; null: not chosen), and of one that is not chosen the distance
    (1 − cosine) to the nearest that is or to a seed. A row without a vector has neither, and is kept."""

    def check(self) -> None:
        """Raises RecipeError where nothing says how many to keep."""
        if self.keep is None:
            raise RecipeError("filter 'coverage' needs a number of rows; add --set coverage.keep=1000")

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        rows = frame.with_row_index("_place").select("_place", "id", text_of(self.text).alias("text"))
        rows = rows.sort("id", "_place")  # the order of rows does not matter
        vectors = self._embed(rows["text"], context)
        read = np.flatnonzero(vectors.any(axis=1))
        keep = len(frame) if self.keep is None else self.keep
        chosen, covered = self._chosen(vectors[read], keep, context)
        place = np.zeros(len(rows), dtype=np.int64)
        place[read[chosen]] = np.arange(1, len(chosen) + 1)
        distance = np.full(len(rows), np.nan)
        distance[read] = np.where(covered.alike < CHOSEN, 1 - covered.alike.astype(np.float64), np.nan)
        found = rows.select("_place").with_columns(
            pl.when(pl.Series(place) > 0).then(pl.Series(place)).alias("coverage_place"),
            pl.Series("coverage_distance", distance).fill_nan(None),
        )
        return frame.with_columns(found.sort("_place").select(list(self.scores)).get_columns())

    def _chosen(self, vectors: Vectors, keep: int, context: Context) -> tuple[NDArray[np.int64], Covered]:
        seeds = self._embed(context.seeds.sort("id").select(text_of(self.text)).to_series(), context)
        there = np.unique(seeds[seeds.any(axis=1)], axis=0) if len(seeds) else vectors[:0]
        topics = self._topics(context) if self.exam else vectors[:0]
        first = nearest_to_each(vectors, topics, Covered.by(topics, there), keep)
        covered = Covered.by(vectors, np.concatenate([there, vectors[first]]))
        for row in first.tolist():
            covered.choose(row)
        return np.concatenate([first, farthest_first(vectors, covered, keep - len(first))]), covered

    def _topics(self, context: Context) -> Vectors:
        """The centres of the exam's topics."""
        exam = context.exam.sort("id")
        vectors = self._embed(exam.select(text_of(self.text)).to_series(), context)
        read = vectors.any(axis=1)
        ids = exam.filter(pl.Series(read, dtype=pl.Boolean))["id"].to_list()
        if len(ids) < FEWEST:
            return vectors[:0]
        number, centres = kmeans(vectors[read], max(1, round(math.sqrt(len(ids) / 2))), ids)
        return centres[np.bincount(number, minlength=len(centres)) >= FEWEST]

    def _embed(self, texts: pl.Series, context: Context) -> Vectors:
        return embed(texts, self.embedder, self.base_url, context, f"{self.name}.embedder")

    def verdict(self) -> pl.Expr:
        beside = pl.col("coverage_place").is_null() & pl.col("coverage_distance").is_not_null()
        return pl.when(beside).then(pl.lit("its ground is covered"))
