"""The language of a rewrite is that of what it rewrites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from augment.language import language_expr
from filters import Context

_HAN = r"[㐀-䶿一-鿿\x{20000}-\x{323AF}]"


@dataclass(frozen=True)
class Language:
    """Drops rewrites in another language than their parent's, and Chinese ones mixed with another.

    Mixed is a rewrite whose share of Han among all letters falls below `min_chinese` times its parent's, so
    that a parent full of drug names and units may have a rewrite like it.
    """

    min_chinese: Annotated[float, Field(ge=0, le=1)] = 0.6
    name: ClassVar[str] = "language"
    scores: ClassVar[dict[str, Any]] = {
        "language_changed": pl.String,
        "language_parent": pl.String,
        "language_chinese": pl.Float64,
        "language_parent_chinese": pl.Float64,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        def chinese(text: str) -> pl.Expr:
            letters = pl.col(text).str.count_matches(r"\p{L}").cast(pl.Float64)
            return pl.when(letters > 0).then(pl.col(text).str.count_matches(_HAN) / letters)

        return frame.with_columns(
            language_expr(pl.col("changed")).alias("language_changed"),
            language_expr(pl.col("parent_changed")).alias("language_parent"),
            chinese("changed").alias("language_chinese"),
            chinese("parent_changed").alias("language_parent_chinese"),
        )

    def verdict(self) -> pl.Expr:
        other = pl.col("language_changed") != pl.col("language_parent")
        mixed = (pl.col("language_parent") == "zh") & (
            pl.col("language_chinese") < self.min_chinese * pl.col("language_parent_chinese")
        )
        return (
            pl.when((pl.col("language_parent") != "") & other)
            .then(pl.lit("not in the language of its parent"))
            .when(mixed)
            .then(pl.lit("mixes languages"))
        )
