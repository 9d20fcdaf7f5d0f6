"""A selection for tests: the first so many rows of each seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from filters import Context


@dataclass(frozen=True)
class First:
    """Keeps the first `k` rows of each seed."""

    k: int = 1
    name: ClassVar[str] = "first"
    cost: ClassVar[str] = "selection"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"first_place": ("< k",)}
    scores: ClassVar[dict[str, Any]] = {"first_place": pl.Int64}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        place = pl.int_range(pl.len(), dtype=pl.Int64).over(pl.col("parents").list.first())
        return frame.with_columns(place.alias("first_place"))

    def verdict(self) -> pl.Expr:
        return pl.when(pl.col("first_place") >= self.k).then(pl.lit("not among the first"))
