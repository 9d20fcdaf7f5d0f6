"""What other thresholds would keep of a dataset, and the rows at the edge; nothing is written.

Rows are read block by block: of all of them only which are kept is remembered, unless the chain chooses among them.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.errors import RecipeError
from augment.filtering.dataset import Dataset, setting_of, sifted
from augment.records import POSITION
from filters import Context, Filter, limits_of
from filters.chain import Chain

_SHOWN = ("id", "prompt", "response")


def compared(dataset: Dataset, setting: str, values: Sequence[str], examples: int = 2) -> dict[str, Any]:
    """For the setting as it is and each of the values: rows kept, dropped by the filter, let in and put out.

    {"setting", "rows", "now": {…}, "values": [{"value", "kept", "dropped_by", "let_in", "put_out", "edge": […]}]}. The
    edge are rows whose score is nearest to the value: `examples` that the filter drops and as many that are kept; a
    response is shown where it is not the seed's.

    Raises:
        RecipeError: there is no such setting, or a value makes no sense for it.
    """
    chain = dataset.chain(None, {})
    name, key = setting_of(chain, setting)
    if key not in {limit.split()[-1] for each in chain.filters if each.name == name for limit in _limits(each)}:
        raise RecipeError(
            f"{setting} is no threshold: it changes what {name} finds, not what is good enough; "
            f"sift with it instead: augment filter … --set {setting}=VALUE"
        )
    chains = [dataset.chain(None, {name: {key: _read(value)}}) for value in values]
    context = dataset.context()
    had, dropped = _before(dataset, chain, context, name)
    now = {"value": next(each["settings"][key] for each in chain.record if each["name"] == name)}
    now |= {"kept": int(had.sum()), "dropped": dropped, "let_in": 0, "put_out": 0}
    seen = [_compared(dataset, other, context, had, name, key, examples) for other in chains]
    texts = _texts(dataset, [row for _, edge in seen for row in edge], _owner(chain, name))
    found: dict[str, Any] = {"setting": setting, "rows": len(had), "now": now, "values": []}
    for value, other, (counts, edge) in zip(values, chains, seen, strict=True):
        shown = [_shown(row, other, name, key, texts) for row in edge]
        found["values"].append({"value": _read(value), **counts, "edge": shown})
    return found


def _limits(each: Any) -> list[str]:
    return [limit for limits in limits_of(each).values() for limit in limits]


def _read(value: str) -> Any:
    """A value as it is written after --set."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _decided(dataset: Dataset, chain: Chain, context: Context) -> Iterator[pl.DataFrame]:
    """All rows with the chain's verdict, block by block, each with its number (`_at`); what is chosen comes last."""
    fresh = dataclasses.replace(context, memory={})
    left, first = [], 0
    for block in sifted(dataset, chain, fresh):
        numbered = block.with_columns(pl.int_range(first, first + len(block), dtype=pl.Int64).alias("_at"))
        first += len(block)
        if chain.selections:
            left.append(numbered.filter(pl.col("dropped_by").is_null()))
            numbered = numbered.filter(pl.col("dropped_by").is_not_null())
        yield numbered
    if left:
        yield chain.select(pl.concat(left, how="diagonal").sort(*POSITION), fresh)


def _before(dataset: Dataset, chain: Chain, context: Context, name: str) -> tuple[NDArray[np.bool_], int]:
    """Which rows the chain keeps, by number, and how many the filter drops."""
    columns = (pl.col("dropped_by").is_null().alias("kept"), (pl.col("dropped_by") == name).alias("dropped"))
    told = pl.concat([each.select("_at", *columns) for each in _decided(dataset, chain, context)]).sort("_at")
    return told["kept"].to_numpy(), int(told["dropped"].sum())


def _compared(
    dataset: Dataset, chain: Chain, context: Context, had: NDArray[np.bool_], name: str, key: str, examples: int
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """What a chain keeps beside what was kept before, and the rows that a slightly different value would decide
    otherwise."""
    counts = dict.fromkeys(("kept", "dropped", "let_in", "put_out"), 0)
    sides: dict[str, list[pl.DataFrame]] = {"dropped": [], "kept": []}
    for frame in _decided(dataset, chain, context):
        kept, before = frame["dropped_by"].is_null().to_numpy(), had[frame["_at"].to_numpy()]
        counts["kept"] += int(kept.sum())
        counts["dropped"] += int((frame["dropped_by"] == name).sum())
        counts["let_in"] += int((kept & ~before).sum())
        counts["put_out"] += int((before & ~kept).sum())
        near = _nearest(frame, chain, name, key)
        for verdict, rows in (("dropped", pl.col("dropped_by") == name), ("kept", pl.col("dropped_by").is_null())):
            some = [*sides[verdict], near.filter(rows)]
            sides[verdict] = [pl.concat(some, how="diagonal").sort("_distance", "id", "_at").head(examples)]
    edge = [{**row, "verdict": verdict} for verdict, parts in sides.items() for row in parts[0].to_dicts()]
    return counts, edge


def _nearest(frame: pl.DataFrame, chain: Chain, name: str, key: str) -> pl.DataFrame:
    """The rows that the filter judged, with how far their scores are from the value."""
    each, columns = _judging(chain, name, key)
    value = getattr(each, key)
    numeric = [column for column in columns if each.scores[column] in (pl.Int64, pl.Float64)]
    measured = isinstance(value, int | float) and not isinstance(value, bool) and numeric
    distance = pl.min_horizontal(*((pl.col(one) - value).abs() for one in numeric)) if measured else pl.lit(0.0)
    wanted = dict.fromkeys((*_SHOWN, "parents", "dropped_by", "_at", *columns, *_owner(chain, name)))
    judged = pl.any_horizontal(pl.col(one).is_not_null() for one in columns)
    return frame.filter(judged).select(*wanted, distance.cast(pl.Float64).alias("_distance"))


def _judging(chain: Chain, name: str, key: str) -> tuple[Filter, list[str]]:
    """The filter, and its scores that the setting is a limit of."""
    each = next(each for each in chain.filters if each.name == name)
    return each, [column for column, limits in limits_of(each).items() if any(one.split()[-1] == key for one in limits)]


def _owner(chain: Chain, name: str) -> list[str]:
    """The column that says which row a filter found another like, if it has one."""
    each = next(each for each in chain.filters if each.name == name)
    return [column for column in each.scores if column.endswith("_of")][:1]


def _texts(dataset: Dataset, edge: Sequence[Mapping[str, Any]], owner: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The texts of the edge's parents and of the rows that it is like, by id."""
    ids = {*(id for row in edge for id in (row["parents"] or [])[:1]), *(row[one] for row in edge for one in owner)}
    wanted = pl.col("id").is_in(pl.Series(sorted(ids - {None}), dtype=pl.String).implode())
    frames = [dataset.seeds, *(dataset.blocks() if ids - {None} else ())]
    return {row["id"]: row for frame in frames for row in frame.filter(wanted).select(_SHOWN).iter_rows(named=True)}


def _shown(
    row: Mapping[str, Any], chain: Chain, name: str, key: str, texts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """A row of the edge as it is told."""
    _, columns = _judging(chain, name, key)
    told = {"id": row["id"], "verdict": row["verdict"]}
    told |= {column: row[column] for column in columns if row[column] is not None}
    same = bool(row["parents"]) and row["response"] == texts.get(row["parents"][0], {}).get("response")
    told |= {"prompt": row["prompt"], "response": None if same else row["response"]}
    for owner in _owner(chain, name):
        if row[owner] is not None:
            told["beside"] = texts.get(row[owner], {}).get("prompt")
    return told
