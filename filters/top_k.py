"""The best rows by what other filters have measured: one score, or a weighted mix of several.

A mix adds ranks, not values: each score becomes the share of rows that it beats (0 to 1, ties share the mean), so that
scores of different units go together, one outlier does not rule the mix, and the sum is the same on every machine,
which a z-score's is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from augment.errors import RecipeError
from augment.records import SCHEMA
from filters import Context
from filters.exact_dup import group_expr

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_TERM = re.compile(rf"\s*([+-]?)\s*(?:{_NUMBER}\s*\*\s*)?([A-Za-z_]\w*)(?:\s*\*\s*{_NUMBER})?\s*", re.ASCII)


@dataclass(frozen=True)
class TopK:
    """Keeps the best `k` rows by a score, or by a weighted mix of scores: all in all, of each seed, or of each label.

    `by` is "judge_score" (more is better), "-perplexity_value" (less is better), or a mix,
    "similarity_score*0.3+judge_score", whose terms count by rank. Of equals the smaller id is better; a row without a
    score comes after those that have one, and in a mix counts as the worst of that score.
    """

    by: str = ""
    k: Annotated[int, Field(ge=1)] = 5
    per: Literal["seed", "label", "all"] = "seed"
    name: ClassVar[str] = "top_k"
    cost: ClassVar[str] = "selection"
    only_when_set: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"top_k_rank": ("<= k",)}
    scores: ClassVar[dict[str, Any]] = {"top_k_score": pl.Float64, "top_k_rank": pl.Int64}

    def check(self) -> None:
        """Raises RecipeError where `by` names nothing or cannot be read."""
        if not self.by.strip():
            raise RecipeError("filter 'top_k' needs a score; add --set top_k.by=COLUMN, for example similarity_score")
        terms(self.by)

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        del context
        wanted = terms(self.by)
        if not wanted:
            return frame.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in self.scores.items())
        known = [name for name, dtype in frame.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]
        for _, column in wanted:
            if column not in known:
                listed = ", ".join(name for name in known if name not in SCHEMA and name[0] != "_") or "none"
                raise RecipeError(f"top_k.by: no score '{column}'; known: {listed}")
        values = [(weight, pl.col(column).cast(pl.Float64).fill_nan(None)) for weight, column in wanted]
        if len(values) == 1:
            mixed = values[0][0] * values[0][1]
        else:
            mixed = pl.sum_horizontal(abs(weight) * _share(value, weight < 0) for weight, value in values)
        group = {"seed": group_expr(frame), "label": pl.col("label"), "all": pl.lit(0)}
        scored = frame.with_columns(mixed.alias("top_k_score"))
        placed = scored.with_row_index("_place").select("_place", "id", "top_k_score", group[self.per].alias("_group"))
        ordered = placed.sort("top_k_score", "id", "_place", descending=[True, False, False], nulls_last=True)
        rank = ordered.with_columns(pl.int_range(1, pl.len() + 1).over("_group").cast(pl.Int64).alias("top_k_rank"))
        return scored.with_columns(rank.sort("_place")["top_k_rank"])

    def verdict(self) -> pl.Expr:
        return pl.when(pl.col("top_k_rank") > self.k).then(pl.lit("not among the best"))


def terms(by: str) -> list[tuple[float, str]]:
    """The weights and columns of "similarity_score*0.3+judge_score".

    Raises:
        RecipeError: it is not of that form.
    """
    found: list[tuple[float, str]] = []
    at = 0
    while at < len(by):
        match = _TERM.match(by, at)
        if not match or (at and not match[1]) or (match[2] and match[4]):
            raise RecipeError(f"top_k.by: cannot read '{by}'; write COLUMN, -COLUMN, or COLUMN*0.3+COLUMN")
        found.append(((-1 if match[1] == "-" else 1) * float(match[2] or match[4] or 1), match[3]))
        at = match.end()
    return found


def _share(value: pl.Expr, ascending: bool) -> pl.Expr:
    """The share of the rows with a value that each beats, from 0 to 1; 0 without a value."""
    rank = value.rank("average", descending=ascending) - 1
    return (rank / pl.max_horizontal(value.count() - 1, 1)).fill_null(0.0)
