"""A chain of filters: what a row must pass, in order of cost, and what dropped those that did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from augment.errors import RecipeError
from augment.records import VERDICT
from filters import DEFAULTS, TABLE, Context, Filter, modalities_of

PICTURED = {f"parent_{name}": name for name in ("image", "mask", "label", "caption")}
"""What is looked up of a picture's parent, and in which of its columns."""
WORKING = ("parent_prompt", "parent_response", "changed_fields", "changed", "parent_changed", *PICTURED)


@dataclass(frozen=True)
class Chain:
    """Filters in the order they are applied."""

    filters: tuple[Filter, ...]

    @property
    def scores(self) -> dict[str, Any]:
        """Every score column of the chain and its type."""
        return {name: dtype for each in self.filters for name, dtype in each.scores.items()}

    def sift(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """The same rows in the same order with all score columns, `dropped_by` and `reason`.

        A row is scored until a filter drops it; scores after that are null. `dropped_by` is null for a row
        that is kept. The parents' texts are looked up among the seeds unless the frame brings them; their pictures are
        always.
        """
        alive = with_parents(frame, context).with_row_index("_row")
        dropped: list[pl.DataFrame] = []
        for each in self.filters:
            scored = each.score(alive, context).with_columns(each.verdict().cast(pl.String).alias("reason"))
            out = scored.filter(pl.col("reason").is_not_null())
            dropped.append(out.with_columns(pl.lit(each.name).alias("dropped_by")))
            alive = scored.filter(pl.col("reason").is_null()).drop("reason")
        kept = alive.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in VERDICT.items())
        columns = [name for name in (*frame.columns, *self.scores, *VERDICT) if name not in WORKING]
        whole = pl.concat([kept, *dropped], how="diagonal").sort("_row")
        return whole.select(columns)


def with_parents(frame: pl.DataFrame, context: Context) -> pl.DataFrame:
    """`frame` with the working columns that filters read (see `filters.Filter`)."""
    joined = frame
    if "parent_prompt" not in frame.columns:
        texts = {"parent_prompt": "prompt", "parent_response": "response"}
        joined = _looked_up(joined, context.seeds, texts)
    if "pixels" in frame.columns:
        joined = _looked_up(joined.drop(PICTURED, strict=False), context.seeds, PICTURED)
    orphan = pl.col("parent_prompt").is_null()
    changed = {
        name: pl.col(name).is_not_null() & (orphan | pl.col(name).ne_missing(pl.col(f"parent_{name}")))
        for name in ("prompt", "response")
    }

    def of_changed(prefix: str) -> pl.Expr:
        return pl.concat_str(
            *(pl.when(differs).then(pl.col(f"{prefix}{name}")) for name, differs in changed.items()),
            separator="\n",
            ignore_nulls=True,
        )

    return joined.with_columns(
        pl.concat_str(
            *(pl.when(differs).then(pl.lit(name)) for name, differs in changed.items()),
            separator="+",
            ignore_nulls=True,
        ).alias("changed_fields"),
        of_changed("").alias("changed"),
        pl.when(~orphan).then(of_changed("parent_")).alias("parent_changed"),
    )


def _looked_up(frame: pl.DataFrame, seeds: pl.DataFrame, wanted: Mapping[str, str]) -> pl.DataFrame:
    """The frame with columns of each row's first parent, null where the seeds have no such row or column."""
    known = [
        (pl.col(column) if column in seeds.columns else pl.lit(None, dtype=pl.String)).alias(name)
        for name, column in wanted.items()
    ]
    parents = seeds.select(pl.col("id").alias("_parent"), *known)
    named = frame.with_columns(pl.col("parents").list.first().alias("_parent"))
    return named.join(parents, on="_parent", how="left", maintain_order="left").drop("_parent")


def chain_of(
    names: Sequence[str], settings: Mapping[str, Mapping[str, Any]] | None = None, modality: str = "text"
) -> Chain:
    """The chain called for: filter names (or "default", "none"), and thresholds by filter name.

    `modality` is "text", "image" or "paired", what the rows are.

    Raises:
        RecipeError: an unknown filter, one of another modality, or a threshold the filter does not have.
    """
    settings = settings or {}
    usual = [
        name for name in DEFAULTS[modality] if name in settings or not getattr(TABLE.load(name), "only_when_set", False)
    ]
    expanded = [each for name in names for each in (usual if name == "default" else (name,))]
    wanted = dict.fromkeys(name for name in expanded if name != "none")
    for name in wanted:
        if modality not in (of := modalities_of(TABLE.load(name))):
            known = ", ".join(sorted(each for each in TABLE.targets() if modality in modalities_of(TABLE.load(each))))
            raise RecipeError(f"filter '{name}' is for {' and '.join(of)}, not for {modality}; known: {known}")
    for name in settings:
        if name not in wanted:
            raise RecipeError(f"filter '{name}' has settings but is not in the chain; add it to --filters")
    return Chain(tuple(TABLE.build(name, settings.get(name, {})) for name in wanted))
