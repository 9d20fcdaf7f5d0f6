"""The seeds' own texts as a scale: what a model says of a variant means little beside what it says of real rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import polars as pl

from augment.records import fingerprint
from filters import Context

MEASURED = 400
"""Seeds at most that a model is asked about."""
LEAST = 20
"""Seeds without which there is no scale."""


def some_seeds(context: Context, fields: str) -> pl.DataFrame:
    """Seeds that have all of `fields` ("prompt", "response", "prompt+response"), a fair sample: whatever their order.

    With a column `changed`, those fields joined by a newline, as `filters.Filter` says of variants.
    """
    wanted = fields.split("+")
    known = context.seeds.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in wanted))
    places = pl.Series("place", [fingerprint(id) for id in known["id"].to_list()], dtype=pl.String)
    changed = pl.concat_str(wanted, separator="\n").alias("changed")
    fair = known.with_columns(places, changed).sort("place").head(MEASURED)
    return fair.select("id", "prompt", "response", "label", "changed")


def rank(value: float, scale: Sequence[float]) -> float | None:
    """The share of a sorted scale that is no larger than `value`; None where there is no scale."""
    return round(bisect_right(scale, value) / len(scale), 4) if scale else None
