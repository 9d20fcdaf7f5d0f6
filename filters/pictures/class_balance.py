"""No class may drown the others: a cap on the rows of a class, by the smallest one.

The cap is known before the first row, so that the order of classes decides nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.pictures.features import unscored


@dataclass(frozen=True)
class ClassBalance:
    """Drops rows of a class that has, seeds included, `most` rows for each seed of the smallest class.

    With --n 5x the smallest class ends with 6 rows for each of its seeds: the default makes all others as large.
    """

    most: Annotated[float, Field(gt=0)] = 6.0
    name: ClassVar[str] = "class_balance"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"class_balance_row": ("<= most",)}
    scores: ClassVar[dict[str, Any]] = {"class_balance_row": pl.Int64, "class_balance_smallest": pl.Int64}
    """The row's number in its class, seeds counted first, and how many seeds the smallest class has."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if "parent_image" not in frame.columns:
            return unscored(frame, self.scores)
        if self.name not in context.memory:
            context.memory[self.name] = Counter(context.seeds["label"].drop_nulls())
            context.memory[f"{self.name}_smallest"] = min(context.memory[self.name].values(), default=0)
        counts: Counter[str] = context.memory[self.name]
        smallest: int = context.memory[f"{self.name}_smallest"]
        numbers: list[int | None] = []
        for label in frame["label"]:
            number = None if label is None or not smallest else counts[label] + 1
            numbers.append(number)
            if number is not None and number <= self.most * smallest:
                counts[label] = number
        return frame.with_columns(
            pl.Series("class_balance_row", numbers, dtype=pl.Int64),
            pl.when(pl.Series(numbers, dtype=pl.Int64).is_not_null())
            .then(pl.lit(smallest, dtype=pl.Int64))
            .alias("class_balance_smallest"),
        )

    def verdict(self) -> pl.Expr:
        over = pl.col("class_balance_row") > self.most * pl.col("class_balance_smallest")
        return pl.when(over).then(pl.lit("its class has enough rows"))
