"""A chain of filters: what a row must pass, in order of cost, and what dropped those that did not."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
import polars as pl

from augment.errors import RecipeError
from augment.records import VERDICT
from filters import COSTS, DEFAULTS, TABLE, Context, Filter, cost_of, limits_of, modalities_of
from filters.made_with import made_with

PICTURED = {f"parent_{name}": name for name in ("image", "mask", "label", "caption")}
"""What is looked up of a picture's parent, and in which of its columns."""
WORKING = ("parent_prompt", "parent_response", "changed_fields", "changed", "parent_changed", *PICTURED)


@dataclass(frozen=True)
class Chain:
    """Filters in the order they are applied, which is that of `COSTS`."""

    filters: tuple[Filter, ...]

    @property
    def scores(self) -> dict[str, Any]:
        """Every score column of the chain and its type."""
        return {name: dtype for each in self.filters for name, dtype in each.scores.items()}

    @property
    def selections(self) -> tuple[Filter, ...]:
        """Those that choose among all rows that the others leave."""
        return tuple(each for each in self.filters if cost_of(each) == "selection")

    @property
    def record(self) -> list[dict[str, Any]]:
        """The filters' names and all their settings, for a manifest: `chain_of_record` reads it."""
        return [{"name": each.name, "settings": dataclasses.asdict(cast("Any", each))} for each in self.filters]

    def made_with(self, context: Context) -> list[dict[str, Any]]:
        """The `record` with what each filter's scores are made with beside that context (`filters.made_with`)."""
        with_ = [made_with(each, context) for each in self.filters]
        return [{**told, "made_with": each} for told, each in zip(self.record, with_, strict=True)]

    def sift(self, frame: pl.DataFrame, context: Context, scored: Container[str] = frozenset()) -> pl.DataFrame:
        """The same rows in the same order with all score columns, `dropped_by` and `reason`; `select` is still to come.

        Row filters score every row, the others those that are left; the scores of a row that a filter does not see
        are null. `dropped_by` names the first filter that drops the row, and is null for one that is kept. The
        parents' texts are looked up among the seeds unless the frame brings them; their pictures are always.

        `scored` names row and model filters whose scores the frame has already, where they are not null: what has
        them is not scored again.
        """
        held = frozenset(
            each.name for each in self.filters if each.name in scored and cost_of(each) in ("row", "model")
        )
        stale = [name for each in self.filters if each.name not in held for name in each.scores]
        alive = with_parents(frame.drop(stale, strict=False), context).with_row_index("_row")
        rowwise = [each for each in self.filters if cost_of(each) == "row"]
        for each in rowwise:
            alive = _scored(each, alive, context, held)
        firsts = [pl.when(each.verdict().is_not_null()).then(pl.lit(each.name)) for each in rowwise]
        named = pl.coalesce(*firsts) if firsts else pl.lit(None, dtype=pl.String)
        why = pl.coalesce(*(each.verdict().cast(pl.String) for each in rowwise)) if rowwise else named
        judged = alive.with_columns(named.alias("dropped_by"), why.alias("reason"))
        dropped = [judged.filter(pl.col("dropped_by").is_not_null())]
        alive = judged.filter(pl.col("dropped_by").is_null()).drop("dropped_by", "reason")
        for each in self.filters:
            if cost_of(each) not in ("row", "selection"):
                alive, out = _parted(each, _scored(each, alive, context, held))
                dropped.append(out)
        return self._whole(frame, alive, dropped)

    def select(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """The same rows, all that were kept so far, with the verdict of the selections too.

        It takes all of them at once, with the scores that `sift` gave them.
        """
        alive = with_parents(frame.drop(VERDICT, strict=False), context).with_row_index("_row")
        dropped: list[pl.DataFrame] = []
        for each in self.selections:
            alive, out = _parted(each, _scored(each, alive, context, frozenset()))
            dropped.append(out)
        return self._whole(frame, alive, dropped)

    def _whole(self, frame: pl.DataFrame, kept: pl.DataFrame, dropped: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """All rows again, in the order of `frame`, with every score column."""
        marked = kept.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in VERDICT.items())
        whole = pl.concat([marked, *dropped], how="diagonal").sort("_row")
        absent = [
            pl.lit(None, dtype=dtype).alias(name) for name, dtype in self.scores.items() if name not in whole.columns
        ]
        columns = [name for name in frame.columns if name not in self.scores and name not in VERDICT]
        wanted = [name for name in (*columns, *self.scores, *VERDICT) if name not in WORKING]
        return whole.with_columns(absent).select(wanted)

    def reasons(self, frame: pl.DataFrame) -> pl.Series:
        """Of each row every reason that its scores give: a list of "filter: reason", in the order of the chain.

        A filter that did not see the row has none. `frame` has the score columns; missing ones count as null.
        """
        absent = [
            pl.lit(None, dtype=dtype).alias(name) for name, dtype in self.scores.items() if name not in frame.columns
        ]
        told = [
            pl.when((why := each.verdict().cast(pl.String)).is_not_null()).then(pl.lit(f"{each.name}: ") + why)
            for each in self.filters
        ]
        every = pl.concat_list(told) if told else pl.lit([], dtype=pl.List(pl.String))
        return frame.with_columns(absent).select(every.list.drop_nulls().alias("reasons")).to_series()

    def bounds(self) -> dict[str, str]:
        """What each score is held against, in words: {"near_dup_jaccard": "< threshold 0.7"}; switches: NAME=VALUE."""
        told = {}
        for each in self.filters:
            for column, limits in limits_of(each).items():
                words = []
                for limit in limits:
                    setting = limit.split()[-1]
                    value = getattr(each, setting)
                    if value is None or value == "":
                        continue
                    shown = f"{value:g}" if isinstance(value, float) else str(value)
                    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else shown
                    words.append(f"{limit} {shown}" if limit != setting else f"{setting}={shown}")
                if words:
                    told[column] = ", ".join(words)
        return told


def _scored(each: Filter, alive: pl.DataFrame, context: Context, held: Container[str]) -> pl.DataFrame:
    """The rows with the filter's scores: those they have, where they have some and may keep them."""
    has = [name for name in each.scores if name in alive.columns]
    if each.name not in held or len(has) < len(each.scores):
        return each.score(alive.drop(has), context)
    known = pl.any_horizontal(pl.col(name).is_not_null() for name in has)
    fresh = alive.filter(~known)
    if fresh.is_empty():
        return alive
    made = each.score(fresh.drop(has), context)
    return pl.concat([alive.filter(known), made], how="diagonal").sort("_row")


def _parted(each: Filter, scored: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that a filter keeps, and those that it drops with their verdict."""
    judged = scored.with_columns(each.verdict().cast(pl.String).alias("reason"))
    out = judged.filter(pl.col("reason").is_not_null()).with_columns(pl.lit(each.name).alias("dropped_by"))
    return judged.filter(pl.col("reason").is_null()).drop("reason"), out


def with_parents(frame: pl.DataFrame, context: Context) -> pl.DataFrame:
    """`frame` with the working columns that filters read (see `filters.Filter`)."""
    joined = frame
    if "parent_prompt" not in frame.columns:
        texts = {"parent_prompt": "prompt", "parent_response": "response"}
        joined = _looked_up(joined, context.seeds, texts)
    if context.makes_new:
        new = pl.col("generator").is_in(sorted(context.makes_new)).fill_null(False)
        joined = joined.with_columns(
            pl.when(~new).then(name).alias(name) for name in ("parent_prompt", "parent_response")
        )
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

    told = joined.with_columns(
        pl.concat_str(
            *(pl.when(differs).then(pl.lit(name)) for name, differs in changed.items()),
            separator="+",
            ignore_nulls=True,
        ).alias("changed_fields"),
        of_changed("").alias("changed"),
        pl.when(~orphan).then(of_changed("parent_")).alias("parent_changed"),
    )
    if told.schema.get("messages") != pl.String or not told["messages"].count():
        return told
    between = told["messages"].map_elements(_between, return_dtype=pl.String)
    return told.with_columns(pl.concat_str("changed", between.alias("_between"), separator="\n", ignore_nulls=True))


def _between(messages: str) -> str | None:
    """What is said in a conversation between its first turn and its last, which are the prompt and the response."""
    try:
        turns = [each["content"] for each in orjson.loads(messages)]
        return "\n".join(turns[1:-1]) or None
    except (orjson.JSONDecodeError, KeyError, TypeError):  # a file's own column of that name
        return None


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
    """The chain called for: filter names (or "default", "none"), and settings by filter name; cheap filters first.

    `modality` is "text", "image" or "paired", what the rows are.

    Raises:
        RecipeError: an unknown filter, one of another modality, or a setting that it does not have or needs.
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
    return _chain([TABLE.build(name, settings.get(name, {})) for name in wanted])


def chain_of_record(record: Sequence[Mapping[str, Any]], changed: Mapping[str, Mapping[str, Any]]) -> Chain:
    """The chain that `Chain.record` tells of, with some settings changed.

    Raises:
        RecipeError: as `chain_of`.
    """
    known = {each["name"]: each["settings"] for each in record}
    for name in changed:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise RecipeError(f"filter '{name}' has settings but is not in the chain ({listed}); add it to --filters")
    return _chain([TABLE.build(name, {**told, **changed.get(name, {})}) for name, told in known.items()])


def _chain(filters: Sequence[Filter]) -> Chain:
    for each in filters:
        if (check := getattr(each, "check", None)) is not None:
            check()
    return Chain(tuple(sorted(filters, key=_place)))


def _place(each: Filter) -> tuple[int, bool]:
    """By cost; row filters that read the exam come first: a row that holds some of it is withheld by their name."""
    return COSTS.index(cost_of(each)), cost_of(each) == "row" and not getattr(each, "reads_exam", False)
