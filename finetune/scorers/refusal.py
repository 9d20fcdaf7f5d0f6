"""Answers that refuse, and answers that were cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from filters import Context
from filters import refusal as sift
from finetune.scorers.similarity import is_failed


@dataclass(frozen=True)
class Refusal:
    """Whether an answer refuses, and whether it was cut off (as the engine said, else by how it ends); null: failed."""

    name: ClassVar[str] = "refusal"
    scores: ClassVar[dict[str, Any]] = {"refused": pl.Boolean, "truncated": pl.Boolean}

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        looked = sift.Refusal().score(
            frame.select(
                pl.col("query").alias("prompt"),
                pl.col("answer").alias("response"),
                pl.lit("response").alias("changed_fields"),
                pl.lit(None, dtype=pl.String).alias("parent_prompt"),
                pl.lit(None, dtype=pl.String).alias("parent_response"),
            ),
            Context(seeds=pl.DataFrame(), exam=pl.DataFrame()),
        )
        there = ~is_failed(frame["answer"])
        ended = (pl.col("finish") == "length").fill_null(looked["refusal_unfinished"].is_not_null())
        return frame.with_columns(
            pl.when(there).then((looked["refusal_response"] == "refused").fill_null(False)).alias("refused"),
            pl.when(there).then(ended).alias("truncated"),
        )
