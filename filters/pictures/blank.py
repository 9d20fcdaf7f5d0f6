"""Pictures with nothing on them: one colour, or next to it. A decoder that failed, a safety checker's black square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.pictures.features import features, unscored


@dataclass(frozen=True)
class Blank:
    """Drops pictures of hardly any contrast or of hardly more than one grey value.

    `spread` is the least standard deviation of the strongest channel (of 0 to 255), `entropy` the least of the grey
    values, in bits. A drawing of two colours has a fraction of a bit: a picture with at least half of its parent's
    entropy is as plain as it should be.
    """

    spread: Annotated[float, Field(ge=0)] = 3.0
    entropy: Annotated[float, Field(ge=0)] = 1.0
    name: ClassVar[str] = "blank"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"blank_spread": (">= spread",), "blank_entropy": (">= entropy",)}
    scores: ClassVar[dict[str, Any]] = {
        "blank_spread": pl.Float64,
        "blank_entropy": pl.Float64,
        "blank_parent_entropy": pl.Float64,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if "parent_image" not in frame.columns:
            return unscored(frame, self.scores)
        found, parents = features(frame["image"].to_list()), features(frame["parent_image"].to_list())
        return frame.with_columns(
            pl.Series("blank_spread", [each and each.spread for each in found], dtype=pl.Float64),
            pl.Series("blank_entropy", [each and each.entropy for each in found], dtype=pl.Float64),
            pl.Series("blank_parent_entropy", [each and each.entropy for each in parents], dtype=pl.Float64),
        )

    def verdict(self) -> pl.Expr:
        least = pl.min_horizontal(pl.lit(self.entropy), pl.col("blank_parent_entropy") / 2)
        plain = (pl.col("blank_spread") < self.spread) | (pl.col("blank_entropy") < least)
        return pl.when(plain).then(pl.lit("blank"))
