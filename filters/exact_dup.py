"""Rows that repeat a seed or an earlier row."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar

import polars as pl

from filters import Context
from filters.fold import fold


def seed_texts(seeds: pl.DataFrame, fields: str) -> pl.DataFrame:
    """`id` and `text` of the seeds that have all of `fields` ("prompt", "response", "prompt+response")."""
    names = [name for name in fields.split("+") if name]
    text = pl.concat_str(names, separator="\n") if names else pl.lit(None, dtype=pl.String)
    return seeds.select("id", text.alias("text")).filter(pl.col("text").is_not_null())


def _digest(text: str) -> bytes:
    """128 bits that stand for a text: an answer's thousand characters need not stay in memory."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True)
class ExactDup:
    """Drops rows whose changed text, apart from width, script, case and punctuation, was seen before."""

    name: ClassVar[str] = "exact_dup"
    scores: ClassVar[dict[str, Any]] = {"exact_dup_of": pl.String, "exact_dup_copy": pl.Boolean}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        first: dict[str, dict[bytes, str]] = context.memory.setdefault(self.name, {})
        found: list[str | None] = []
        keys = frame.select("id", "changed_fields", fold(frame["changed"]).alias("key"))
        for row, fields, key in keys.iter_rows():
            if fields not in first:
                seeds = seed_texts(context.seeds, fields)
                pairs = zip(fold(seeds["text"]).reverse(), seeds["id"].reverse(), strict=True)
                first[fields] = {_digest(text): id for text, id in pairs}
            owner = first[fields].setdefault(_digest(key), row) if key else row
            found.append(None if owner == row else owner)
        return frame.with_columns(
            pl.Series("exact_dup_of", found, dtype=pl.String),
            (pl.col("changed_fields") == "").alias("exact_dup_copy"),
        )

    def verdict(self) -> pl.Expr:
        return (
            pl.when("exact_dup_copy")
            .then(pl.lit("copy of its parent"))
            .when(pl.col("exact_dup_of").is_not_null())
            .then(pl.lit("same text as an earlier row"))
        )
