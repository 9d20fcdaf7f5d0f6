"""A balanced choice: rows of every cluster, not of the largest ones alone.

Clusters are of the vectors of prompts (or responses, or both). Rows are chosen round by round, one of each cluster a
round, so that every cluster has the same quota as far as it has rows. Within a cluster the rows nearest to the centre
come first (typical ones), or each the farthest from those chosen before (different ones; Gonzalez, 1985, Clustering to
Minimize the Maximum Intercluster Distance). Nothing is random but the rows that k-means begins with, drawn by id and
`seed`.

Of rows that are largely copies of each other it chooses much better than chance; of the sample's and CHBench's variants
no better than as many random ones of each seed (tests/benchmarks/selection.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from augment.errors import RecipeError
from filters import Context
from filters.embeddings import Vectors, embed, paired
from filters.embeddings.clusters import kmeans, merged
from filters.embeddings.coverings import Covered, Text, farthest_first, text_of


@dataclass(frozen=True)
class Cluster:
    """Keeps as many rows of each cluster, `keep` in all or a `share` of them; drops outliers.

    `clusters` is how many (None: the root of half the rows), found by "kmeans" or "agglomerative" (at most 20,000
    rows); `first` says which of a cluster's rows come first, "centre" or "farthest". The rows beyond the quantile
    `outliers` of the distance to their centre (1: none) are dropped. `text` is what is embedded, `embedder` as in
    semantic_dup: "ngrams" measures wording, not meaning.
    """

    keep: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    clusters: Annotated[int, Field(ge=1)] | None = None
    method: Literal["kmeans", "agglomerative"] = "kmeans"
    first: Literal["centre", "farthest"] = "centre"
    outliers: Annotated[float, Field(gt=0, le=1)] = 0.99
    text: Text = "prompt"
    embedder: str = ""
    base_url: str = ""
    seed: int = 0
    name: ClassVar[str] = "cluster"
    cost: ClassVar[str] = "selection"
    only_when_set: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"cluster_place": ("<= keep",), "cluster_share": ("<= share",)}
    scores: ClassVar[dict[str, Any]] = {
        "cluster_number": pl.Int64,
        "cluster_distance": pl.Float64,
        "cluster_place": pl.Int64,
        "cluster_share": pl.Float64,
    }
    """The row's cluster, its distance to the centre (1 − cosine), where it comes in the choice (1: first; null: an
    outlier), and the share of all rows that is chosen with it."""

    def check(self) -> None:
        """Raises RecipeError where nothing says how many to keep."""
        if self.keep is None and self.share == 1:
            raise RecipeError(
                "filter 'cluster' needs a number of rows; add --set cluster.keep=1000 or cluster.share=0.5"
            )

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        rows = frame.with_row_index("_place").select("_place", "id", text_of(self.text).alias("text"))
        vectors = embed(rows["text"], self.embedder, self.base_url, context, f"{self.name}.embedder")
        rows = rows.with_columns(pl.Series("_read", vectors.any(axis=1)))
        some = rows.filter("_read").sort("id", "_place")  # the order of rows does not matter
        table = vectors[some["_place"].to_numpy()]
        number, distance = self._clustered(table, some["id"].to_list())
        apart = distance > np.quantile(distance, self.outliers, method="higher") if len(some) else np.zeros(0, np.bool_)
        rank = np.zeros(len(some), dtype=np.int64)
        for each in range(int(number.max(initial=-1)) + 1):
            inside = np.flatnonzero((number == each) & ~apart)
            rank[inside[self._ordered(table[inside], distance[inside])]] = np.arange(len(inside))
        sizes = np.bincount(number[~apart], minlength=int(number.max(initial=0)) + 1)
        # one of each cluster a round, the largest cluster first: what is cut off in the last round is of small ones
        chosen = np.lexsort((number, -sizes[number], rank, apart))
        place = np.zeros(len(some), dtype=np.int64)
        place[chosen] = np.arange(1, len(some) + 1)
        found = some.select("_place").with_columns(
            pl.Series("cluster_number", number),
            pl.Series("cluster_distance", distance),
            pl.Series("cluster_place", place),
            pl.Series("cluster_share", place / max(1, len(some))),
            pl.Series("_apart", apart),
        )
        inside_only = [pl.when(~pl.col("_apart")).then(name).alias(name) for name in ("cluster_place", "cluster_share")]
        every = rows.select("_place").join(found.with_columns(inside_only), on="_place", how="left").sort("_place")
        return frame.with_columns(every.select(list(self.scores)).get_columns())

    def _clustered(self, vectors: Vectors, ids: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not ids:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        count = min(len(ids), self.clusters or max(1, round(math.sqrt(len(ids) / 2))))
        if self.method == "kmeans":
            number, centres = kmeans(vectors, count, ids, self.seed)
        else:
            number, centres = merged(vectors, count)
        return number, 1 - np.nan_to_num(paired(vectors, centres[number]))

    def _ordered(self, vectors: Vectors, distance: NDArray[np.float64]) -> NDArray[np.int64]:
        """The rows of a cluster, best first."""
        nearest: NDArray[np.int64] = np.argsort(distance, kind="stable")
        if self.first == "centre" or len(nearest) < 2:
            return nearest
        start = Covered.by(vectors, vectors[nearest[:1]])
        start.choose(int(nearest[0]))
        return np.concatenate([nearest[:1], farthest_first(vectors, start, len(nearest) - 1)])

    def verdict(self) -> pl.Expr:
        outlier = pl.col("cluster_distance").is_not_null() & pl.col("cluster_place").is_null()
        beyond = pl.col("cluster_share") > self.share
        if self.keep is not None:
            beyond |= pl.col("cluster_place") > self.keep
        return (
            pl.when(outlier)
            .then(pl.lit("far from every cluster"))
            .when(beyond)
            .then(pl.lit("beyond its cluster's quota"))
        )
