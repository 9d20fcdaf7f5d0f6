"""What a row adds: how far it is from the nearest row that is there already.

The distance is 1 − cosine of the vectors of the changed texts, 0 for the same wording (or, with a model, meaning) and
about 1 for unrelated texts. It is stored for every row, so that `top_k.by=diversity_own` or `cluster` can use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.embeddings.earlier import earlier
from filters.minhash import Groups


@dataclass(frozen=True)
class Diversity:
    """Drops rows that add nothing: closer than `lowest` to their seed, or to an earlier kept row.

    `groups` says which rows count: "within" (the same seed and its variants; linear), "across" (those of other seeds)
    or "both"; each kind has its own score, null where it does not count. `embedder` is as in semantic_dup: "ngrams"
    measures wording, not meaning.
    """

    lowest: Annotated[float, Field(ge=0, lt=1)] = 0.05
    groups: Groups = "within"
    embedder: str = ""
    base_url: str = ""
    name: ClassVar[str] = "diversity"
    cost: ClassVar[str] = "corpus"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"diversity_own": (">= lowest",), "diversity_other": (">= lowest",)}
    scores: ClassVar[dict[str, Any]] = {
        "diversity_own": pl.Float64,
        "diversity_other": pl.Float64,
        "diversity_of": pl.String,
    }
    """Distances to the nearest row of the same seed and of other seeds, and the id of the nearer of the two."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        def near(cosine: float) -> bool:
            return 1 - cosine < self.lowest

        found = earlier(frame, context, self.name, near, self.groups, self.embedder, self.base_url)
        return frame.with_columns(
            pl.Series("diversity_own", 1 - found.own, dtype=pl.Float64).fill_nan(None),
            pl.Series("diversity_other", 1 - found.other, dtype=pl.Float64).fill_nan(None),
            pl.Series("diversity_of", found.nearest_of, dtype=pl.String),
        )

    def verdict(self) -> pl.Expr:
        near = pl.min_horizontal("diversity_own", "diversity_other")
        return pl.when(near < self.lowest).then(pl.lit("adds nothing to an earlier row"))
