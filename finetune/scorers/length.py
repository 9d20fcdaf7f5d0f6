"""How long the answers are: similarity and judges both like long ones, so it stands beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from finetune.scorers.similarity import is_failed


@dataclass(frozen=True)
class Length:
    """Characters of the answer; null where there is none."""

    name: ClassVar[str] = "length"
    scores: ClassVar[dict[str, Any]] = {"length": pl.Int64}

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        there = ~is_failed(frame["answer"])
        return frame.with_columns(pl.when(there).then(pl.col("answer").str.len_chars().cast(pl.Int64)).alias("length"))
