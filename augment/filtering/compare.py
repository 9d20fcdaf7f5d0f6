"""What other thresholds would keep of a dataset, and the rows at the edge; nothing is written."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from typing import Any

import polars as pl

from augment.errors import RecipeError
from augment.filtering.dataset import Dataset, setting_of, sifted
from filters import Context, limits_of
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
    before = _decided(dataset, chain, context)
    now = {"value": next(each["settings"][key] for each in chain.record if each["name"] == name)}
    found: dict[str, Any] = {"setting": setting, "rows": len(before), "now": {**now, **_counted(before, before, name)}}
    found["values"] = []
    for value, other in zip(values, chains, strict=True):
        after = _decided(dataset, other, context)
        edge = _edge(after, other, name, key, examples, pl.concat([dataset.seeds.select(_SHOWN), after.select(_SHOWN)]))
        found["values"].append({"value": _read(value), **_counted(after, before, name), "edge": edge})
    return found


def _limits(each: Any) -> list[str]:
    return [limit for limits in limits_of(each).values() for limit in limits]


def _read(value: str) -> Any:
    """A value as it is written after --set."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _decided(dataset: Dataset, chain: Chain, context: Context) -> pl.DataFrame:
    """All rows with the chain's verdict, in order."""
    fresh = dataclasses.replace(context, memory={})
    frame = pl.concat(list(sifted(dataset, chain, fresh)), how="diagonal")
    if chain.selections:
        kept = pl.col("dropped_by").is_null()
        frame = pl.concat([chain.select(frame.filter(kept), fresh), frame.filter(~kept)], how="diagonal")
    return frame.sort("_position", "_candidate")


def _counted(after: pl.DataFrame, before: pl.DataFrame, name: str) -> dict[str, int]:
    kept, had = after["dropped_by"].is_null(), before["dropped_by"].is_null()
    return {
        "kept": int(kept.sum()),
        "dropped": int((after["dropped_by"] == name).sum()),
        "let_in": int((kept & ~had).sum()),
        "put_out": int((had & ~kept).sum()),
    }


def _edge(
    frame: pl.DataFrame, chain: Chain, name: str, key: str, examples: int, texts: pl.DataFrame
) -> list[dict[str, Any]]:
    """The rows that a slightly different value would decide otherwise."""
    each = next(each for each in chain.filters if each.name == name)
    value = getattr(each, key)
    columns = [column for column, limits in limits_of(each).items() if any(one.split()[-1] == key for one in limits)]
    numeric = [column for column in columns if each.scores[column] in (pl.Int64, pl.Float64)]
    measured = isinstance(value, int | float) and not isinstance(value, bool) and numeric
    distance = pl.min_horizontal(*((pl.col(one) - value).abs() for one in numeric)) if measured else pl.lit(0.0)
    owner = next((column for column in each.scores if column.endswith("_of")), None)
    known = dict(zip(texts["id"], texts["prompt"], strict=True)) if owner else {}
    answers = dict(zip(texts["id"], texts["response"], strict=True))
    shown = []
    for verdict, rows in (("dropped", pl.col("dropped_by") == name), ("kept", pl.col("dropped_by").is_null())):
        judged = pl.any_horizontal(pl.col(one).is_not_null() for one in columns)
        near = frame.filter(rows, judged).with_columns(distance.alias("_distance"))
        for row in near.sort("_distance", "id").head(examples).iter_rows(named=True):
            told = {"id": row["id"], "verdict": verdict, **{one: row[one] for one in columns if row[one] is not None}}
            same = bool(row["parents"]) and row["response"] == answers.get(row["parents"][0])
            told |= {"prompt": row["prompt"], "response": None if same else row["response"]}
            if owner and row[owner] is not None:
                told["beside"] = known.get(row[owner])
            shown.append(told)
    return shown
