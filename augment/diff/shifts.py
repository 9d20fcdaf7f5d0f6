"""How two files of rows differ in the whole: labels, lengths, scores, counts. Lazily, since a file may be large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from augment.errors import RunError
from augment.records import PICTURE, REVIEWED, SCHEMA, VERDICT, WRITTEN

_SPREAD = ("n", "mean", "median", "p10", "p90")


class Pair:
    """The same file of two runs; `side` 0 is the old one, 1 the new one.

    Raises:
        RunError: from every method, and at the start: a file is missing, cannot be read or lacks a column of ours.
    """

    def __init__(self, old: Path, new: Path) -> None:
        self.paths = (old, new)
        self._schemas = (self._schema(0), self._schema(1))

    def _schema(self, side: int) -> pl.Schema:
        path = self.paths[side]
        if not path.is_file():
            raise RunError(f"{path} is missing, and the manifest beside it says it is there; make the run again")
        with _reading(path):
            found = pl.scan_parquet(path, glob=False).collect_schema()
        lacking = [name for name, kind in SCHEMA.items() if found.get(name) != kind]
        if lacking:
            raise RunError(f"{path} lacks the column '{lacking[0]}' (or its type); it was not written by augment")
        return found

    @property
    def pictured(self) -> bool:
        """Whether both files hold pictures."""
        return all("pixels" in schema for schema in self._schemas)

    def scan(self, side: int) -> pl.LazyFrame:
        """The file, with `row`, the place of each row in it."""
        return pl.scan_parquet(self.paths[side], glob=False, row_index_name="row")

    def collect(self, side: int, frame: pl.LazyFrame) -> pl.DataFrame:
        """The frame, made from this side's file."""
        with _reading(self.paths[side]):
            return frame.collect(engine="streaming")

    def read(self, side: int, columns: Iterable[pl.Expr], rows: pl.Series | None = None) -> pl.DataFrame:
        """`row` and these columns of every row, or of those at the places `rows`, in the file's order."""
        frame = self.scan(side)
        if rows is not None:
            wanted = pl.LazyFrame({"row": rows.cast(pl.get_index_type())})
            frame = frame.join(wanted, on="row", how="semi", maintain_order="left")
        return self.collect(side, frame.select("row", *columns)).sort("row")

    def score_columns(self, side: int) -> dict[str, pl.DataType]:
        """What a file has besides the columns of every dataset and the marks of reviewers, with its types."""
        known = {**SCHEMA, **PICTURE, **WRITTEN, **VERDICT, **REVIEWED}
        return {name: kind for name, kind in self._schemas[side].items() if name not in known}

    def common_types(self, names: Iterable[str]) -> dict[str, pl.DataType]:
        """For columns of both files, the type in which their values can be compared."""
        found = {}
        for name in names:
            old, new = (self._schemas[side][name] for side in (0, 1))
            mixed = pl.Float64() if old.is_numeric() and new.is_numeric() else pl.String()
            found[name] = old if old == new else mixed
        return found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what a damaged file raises into one line."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        why = " ".join(str(error).partition("\n")[0].split())
        raise RunError(f"{path} cannot be read ({why}); make the run again") from None


def counted(pair: Pair, columns: list[str], where: pl.Expr | None = None) -> list[dict[str, Any]]:
    """Rows before and after for each value of `columns`, the largest first."""
    sides = []
    for side, name in ((0, "before"), (1, "after")):
        frame = pair.scan(side) if where is None else pair.scan(side).filter(where)
        sides.append(pair.collect(side, frame.group_by(columns).agg(pl.len().cast(pl.Int64).alias(name))))
    both = sides[0].join(sides[1], on=columns, how="full", coalesce=True, nulls_equal=True)
    whole = both.with_columns(pl.col("before", "after").fill_null(0))
    largest = pl.max_horizontal("before", "after")
    return whole.sort(largest, *columns, descending=[True, *(False for _ in columns)]).to_dicts()


def labels(pair: Pair) -> dict[str, Any]:
    """Each label's rows and shares, and the total variation distance: half the sum of what the shares moved.

    A row without a label counts as one with the label None.
    """
    found = counted(pair, ["label"])
    for name in ("before", "after"):
        total = sum(each[name] for each in found)
        for each in found:
            each[f"share_{name}"] = each[name] / total if total else 0.0
    distance = sum(abs(each["share_after"] - each["share_before"]) for each in found) / 2
    return {"distance": distance, "labels": found}


def lengths(pair: Pair) -> dict[str, Any]:
    """The spread of the texts' lengths in characters, and by how much it moved: prompt and response, or caption."""
    names = ("caption",) if pair.pictured else ("prompt", "response")
    texts = {name: pl.col(name).str.len_chars() for name in names}
    old, new = (_spread(pair, side, texts) for side in (0, 1))
    return {name: {"before": old[name], "after": new[name], "by": _by(old[name], new[name])} for name in texts}


def scores(pair: Pair) -> dict[str, Any]:
    """The spread of every numeric score (n, mean, median, p10, p90), that of a boolean as n and share true.

    `only_old` and `only_new` name the score columns, of any type, that one run alone has.
    """
    sides = []
    for side in (0, 1):
        kinds = pair.score_columns(side)
        wanted = {name: pl.col(name) for name, kind in kinds.items() if kind.is_numeric() or kind == pl.Boolean}
        sides.append(_spread(pair, side, wanted))
    names = list(dict.fromkeys((*sides[0], *sides[1])))
    known = [pair.score_columns(side) for side in (0, 1)]
    return {
        "columns": {name: {"before": sides[0].get(name), "after": sides[1].get(name)} for name in names},
        "only_old": [name for name in known[0] if name not in known[1]],
        "only_new": [name for name in known[1] if name not in known[0]],
    }


def _spread(pair: Pair, side: int, values: dict[str, pl.Expr]) -> dict[str, dict[str, Any]]:
    """How each of these values is spread over a file's rows; null and NaN are no values.

    One after the other, and the numbers before their quantiles: a quantile of an expression would hold the texts.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        column = pair.collect(side, pair.scan(side).select(value.alias("value")))["value"]
        if column.dtype == pl.Boolean:
            found[name] = {"n": column.count(), "share_true": column.mean()}
            continue
        real = column.cast(pl.Float64).fill_nan(None).drop_nulls().sort()
        at = {key: real.quantile(share, "linear") for key, share in (("p10", 0.1), ("p90", 0.9))}
        found[name] = {"n": len(real), "mean": real.mean(), "median": real.median(), **at}
    return found


def _by(old: dict[str, Any], new: dict[str, Any]) -> dict[str, float | None]:
    return {key: None if old[key] is None or new[key] is None else new[key] - old[key] for key in _SPREAD}


def same_rows(pair: Pair, columns: list[str]) -> bool:
    """Whether both files have the same rows, as far as these columns go and in any order."""
    keys = [
        pair.collect(side, pair.scan(side).select(pl.struct(columns).hash().alias("key")))["key"].sort()
        for side in (0, 1)
    ]
    return keys[0].equals(keys[1])
