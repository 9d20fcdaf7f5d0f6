"""A picture made of another should be neither that again nor about something else, as an embedding model sees it.

How alike two pictures of one class are depends on the model and on the data, so that the lower bound comes from the
user's own seeds: nineteen of twenty pairs of one class are more alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from filters import Context
from filters.pictures.features import unscored
from filters.pictures.models import Twin, remembered

QUANTILE = 0.05
SAMPLED = 500
"""Seeds at most that the bound is taken from."""


@dataclass(frozen=True)
class ImageBand:
    """Drops pictures that a CLIP named by `model` finds all but equal to their parent, or unrelated to it.

    `lowest` and `highest` are cosines. Without `lowest` it is what nineteen of twenty pairs of seeds of a class reach.
    """

    model: str = ""
    lowest: Annotated[float, Field(ge=-1, le=1)] | None = None
    highest: Annotated[float, Field(ge=-1, le=1)] = 0.99
    name: ClassVar[str] = "image_band"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    only_when_set: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "image_band_similarity": (
            ">= lowest",
            "<= highest",
        )
    }
    scores: ClassVar[dict[str, Any]] = {"image_band_similarity": pl.Float64, "image_band_lowest": pl.Float64}
    """The cosine to the parent, and that of the least alike seeds of one class."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if not self.model or "parent_image" not in frame.columns or frame.is_empty():
            return unscored(frame, self.scores)
        twin: Twin = remembered(context.memory, Twin, self.model, "image_band.model")
        if self.name not in context.memory:
            context.memory[self.name] = least_alike(twin, context.seeds)
        changed = pl.col("parent_image").is_not_null() & pl.col("pixels").ne_missing(pl.col("parent_image"))
        rows = frame.with_row_index("_at").filter(pl.col("image").is_not_null() & changed)
        cosines = (twin.images(rows["image"].to_list()) * twin.images(rows["parent_image"].to_list())).sum(axis=1)
        found = dict(zip(rows["_at"], cosines.round(4).tolist(), strict=True))
        similar = pl.Series("image_band_similarity", [found.get(at) for at in range(len(frame))], dtype=pl.Float64)
        lowest = pl.lit(context.memory[self.name], dtype=pl.Float64)
        return frame.with_columns(similar, pl.when(similar.is_not_null()).then(lowest).alias("image_band_lowest"))

    def verdict(self) -> pl.Expr:
        similar = pl.col("image_band_similarity")
        lowest = pl.col("image_band_lowest") if self.lowest is None else pl.lit(self.lowest)
        return (
            pl.when(similar > self.highest)
            .then(pl.lit("nearly its parent's picture"))
            .when(similar < lowest)
            .then(pl.lit("unrelated to its parent's picture"))
        )


def least_alike(twin: Twin, seeds: pl.DataFrame) -> float | None:
    """The cosine that nineteen of twenty pairs of seeds of one class reach; None without such pairs."""
    known = seeds.filter(pl.col("image").is_not_null()).sort("id").head(SAMPLED)
    if known.is_empty():
        return None
    vectors, labels = twin.images(known["image"].to_list()), known["label"].fill_null("").to_numpy()
    of_one = np.triu(labels[:, None] == labels[None, :], 1)
    return round(float(np.quantile((vectors @ vectors.T)[of_one], QUANTILE)), 4) if of_one.any() else None
