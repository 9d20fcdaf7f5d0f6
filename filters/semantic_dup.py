"""Rows whose vector is nearly that of a seed or an earlier row.

With the default embedder, n-grams, this is wording too, weighed otherwise than near_dup does: it is of use with a model
of sentences, which finds what is said twice in other words. Mind that a paraphrase is meant to say what its seed says:
with such a model `groups=across` compares rows with other seeds' rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.embeddings.earlier import earlier
from filters.exact_dup import unless_flipped
from filters.minhash import Groups


@dataclass(frozen=True)
class SemanticDup:
    """Drops rows whose changed text is, by an embedder's cosine, that of a seed or an earlier kept row.

    `embedder` is "ngrams" (offline; wording, not meaning), "openai:MODEL" (a server at `base_url`), else a folder or
    owner/name of a sentence encoder. `groups` says among which rows: "both" (all), "within" (a seed and its variants),
    "across" (those of other seeds). Exact, and so quadratic: see `filters.embeddings.nearest`.
    """

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.95
    groups: Groups = "both"
    embedder: str = ""
    base_url: str = ""
    name: ClassVar[str] = "semantic_dup"
    cost: ClassVar[str] = "corpus"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"semantic_dup_cosine": ("< threshold",)}
    scores: ClassVar[dict[str, Any]] = {"semantic_dup_cosine": pl.Float64, "semantic_dup_of": pl.String}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        def near(cosine: float) -> bool:
            return cosine >= self.threshold

        found = earlier(frame, context, self.name, near, self.groups, self.embedder, self.base_url)
        scored = frame.with_columns(
            pl.Series("semantic_dup_cosine", found.nearest, dtype=pl.Float64).fill_nan(None),
            pl.Series("semantic_dup_of", found.nearest_of, dtype=pl.String),
        )
        return scored.with_columns(unless_flipped(scored, context, *self.scores))

    def verdict(self) -> pl.Expr:
        return pl.when(pl.col("semantic_dup_cosine") >= self.threshold).then(pl.lit("says what an earlier row says"))
