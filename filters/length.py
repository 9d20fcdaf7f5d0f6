"""Lengths in characters, and how a rewritten field compares with its parent's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from filters import Context

_SMOOTHING = 20
"""Added to both lengths of a ratio: 8 characters may well become 40, 800 should not become 4,000."""


@dataclass(frozen=True)
class Length:
    """Drops texts too short or too long, alone or next to the parent's.

    Only texts that changed are measured: what a row keeps of its parent is the user's own. A ratio is
    (characters + 20) / (the parent's + 20). A question may grow, since a persona tells its age first; a fresh
    answer has a length of its own and only must not be out of all proportion.
    """

    min_prompt: int = 4
    max_prompt: int = 2000
    min_response: int = 6
    max_response: int = 8000
    min_ratio: float = 0.4
    max_ratio_prompt: float = 4.5
    min_ratio_response: float = 0.15
    max_ratio_response: float = 3.0
    ample: int = 400
    """Characters that a fresh answer may have however short its parent's is."""
    name: ClassVar[str] = "length"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "length_prompt": (">= min_prompt", "<= max_prompt"),
        "length_response": (">= min_response", "<= max_response"),
        "length_ratio_prompt": (">= min_ratio", "<= max_ratio_prompt"),
        "length_ratio_response": (">= min_ratio_response", "<= max_ratio_response", "ample"),
    }
    scores: ClassVar[dict[str, Any]] = {
        "length_prompt": pl.Int64,
        "length_response": pl.Int64,
        "length_ratio_prompt": pl.Float64,
        "length_ratio_response": pl.Float64,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        def length(text: str) -> pl.Expr:
            return pl.col(text).str.strip_chars().str.len_chars().cast(pl.Int64)

        def changed(text: str) -> pl.Expr:
            return pl.col("changed_fields").str.contains(text, literal=True)

        def ratio(text: str) -> pl.Expr:
            to_parent = (length(text) + _SMOOTHING) / (length(f"parent_{text}") + _SMOOTHING)
            return pl.when(changed(text)).then(to_parent).cast(pl.Float64)

        return frame.with_columns(
            *(pl.when(changed(text)).then(length(text)).alias(f"length_{text}") for text in ("prompt", "response")),
            ratio("prompt").alias("length_ratio_prompt"),
            ratio("response").alias("length_ratio_response"),
        )

    def verdict(self) -> pl.Expr:
        drops = {
            "prompt too short": pl.col("length_prompt") < self.min_prompt,
            "prompt too long": pl.col("length_prompt") > self.max_prompt,
            "response too short": pl.col("length_response") < self.min_response,
            "response too long": pl.col("length_response") > self.max_response,
            "much shorter than its parent": (pl.col("length_ratio_prompt") < self.min_ratio)
            | (pl.col("length_ratio_response") < self.min_ratio_response),
            "much longer than its parent": (pl.col("length_ratio_prompt") > self.max_ratio_prompt)
            | ((pl.col("length_ratio_response") > self.max_ratio_response) & (pl.col("length_response") > self.ample)),
        }
        return pl.coalesce(pl.when(drop).then(pl.lit(reason)) for reason, drop in drops.items())
