"""A run's rows as the page's browser takes them: whole families, columns, compressed, as many as there is room for.

A row is kept small: what repeats is named by its number, an answer that is the parent's is told as such, and a very
long cell is cut. Ids are hashes, so the families with the smallest ids are a fair sample of all.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from augment.errors import RunError
from augment.lineage import ROWS
from augment.records import CONTENT, PICTURE, SCHEMA, VERDICT, WRITTEN
from augment.report.gather import REJECTED, Run
from augment.report.shots import Shots, within
from filters.contamination import Contamination
from filters.leaks import leaks
from filters.pictures.exam_image import ExamImage

CELL = 4_000
"""Characters of a text that the page holds; the length of a longer one is told."""
MOST = 100_000
"""Rows of all runs together: beyond, a page opens slowly however small its rows are."""
BYTES = 12_000_000
"""Of the page, for the rows of all runs; the rest is for scripts and plots."""
PART = 4_000
"""Rows of a part: some MB, so that a page that unpacks them one by one never stands still."""
HELD = (Contamination.name, ExamImage.name)
"""The filters that drop what holds some of the exam."""
_LEAKS = ("pii_found", "secrets_found")
_QUOTING = ("contamination_text", "facts_", "unsafe_", "refusal_", "grounded_", "encoding_damage_")
"""Columns of filters that may quote what they found."""
SHOTS, SHOT_BYTES = 2_000, 6_000_000
"""Small pictures in the page, and what they may take of its bytes: of whole families, as far as they go."""
_TEXTS = ("prompt", "response")
_RARE = ("detail", "image", "caption", "drawn from", "negative")
_MADE = ("engine", "model", "revision", "template", "params")
_SCORES = 60


@dataclass(frozen=True)
class Packed:
    """A run's rows, ready to be embedded: `about` describes the columns, `parts` are gzip in base64."""

    about: dict[str, Any]
    parts: list[str]
    rows: int
    shown: int

    @property
    def bytes(self) -> int:
        """What the parts take in the page."""
        return sum(map(len, self.parts))


def pack(runs: Sequence[Run], most: int = MOST, room: int = BYTES) -> list[Packed]:
    """The rows of each run, together at most `most` rows and `room` bytes; what does not fit is left out by family.

    Raises:
        RunError: a run's rows cannot be read.
    """
    totals = {run.folder: _count(run) for run in runs}
    share = min(1.0, most / max(1, sum(totals.values())))
    shots = [Shots(run) for run in runs]
    while True:
        packed = [_pack(run, each, totals[run.folder], share, len(runs)) for run, each in zip(runs, shots, strict=True)]
        taken = sum(each.bytes for each in packed)
        if taken <= room or share < 1e-6:
            return packed
        share *= 0.97 * room / taken


def scan(run: Run, name: str) -> pl.LazyFrame:
    """A file of the run, as it lies there."""
    return pl.scan_parquet(run.folder / name, glob=False)


def collect(run: Run, frame: pl.LazyFrame) -> pl.DataFrame:
    """The frame, read.

    Raises:
        RunError: the file is broken or lacks a column.
    """
    try:
        return frame.collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        why = str(error).partition("\n")[0]
        raise RunError(f"cannot read the rows of {run.folder}: {why}; make the run again") from None


def families(run: Run, name: str) -> pl.LazyFrame:
    """A file with `family`, the id of the seed that a row comes from; a row that has none is its own."""
    rows = scan(run, name).with_row_index("_row")
    own = pl.coalesce(pl.col("parents").list.first(), pl.col("id"), pl.format("~{}", "_row"))
    return rows.with_columns(own.alias("family")).drop("_row")


def withheld(rejected: pl.LazyFrame) -> pl.LazyFrame:
    """Dropped rows without the content of those that hold some of the exam, a credential or somebody's data.

    A page is passed on; these are not, whichever filter came first.
    """
    columns = rejected.collect_schema()
    held = pl.col("dropped_by").is_in(HELD).fill_null(False)
    for name in _LEAKS:
        if columns.get(name) == pl.String:
            held |= pl.col(name).fill_null("") != ""
    if "detail" in columns:  # of an answer that is no row it has the answer, which no filter has read
        held |= pl.col("detail").map_batches(leaks, return_dtype=pl.Boolean, is_elementwise=True)
    own = [name for name, kind in columns.items() if kind == pl.String and name.startswith(_QUOTING)]
    told = (*CONTENT, *WRITTEN, "mask", "boxes", "detail", "params", *own)
    names = [name for name in told if name in columns]
    return rejected.with_columns(pl.when(~held).then(pl.col(name)).alias(name) for name in names)


def _count(run: Run) -> int:
    return sum(collect(run, scan(run, name).select(pl.len())).item() for name in (ROWS, REJECTED))


def _pack(run: Run, shots: Shots, total: int, share: float, runs: int) -> Packed:
    frame = _families(run, share)
    scores = _scores(frame)
    tables = {name: _Numbers() for name in ("generator", "label", "verdict", "made")}
    places = {id: place for place, id in enumerate(frame["id"].to_list())}
    seeds = frame.filter(pl.col("generator") == "seed")
    answers = dict(seeds.select("id", "response").iter_rows())
    shown = _shown(frame, shots, runs) if run.pictured else {}
    parts = []
    for start in range(0, len(frame), PART):
        part = _part(frame.slice(start, PART), scores, tables, places, answers)
        if run.pictured:
            part["shots"] = {str(row - start): shown[row] for row in range(start, start + PART) if row in shown}
        written = orjson.dumps(part)
        parts.append(base64.b64encode(gzip.compress(written, 6, mtime=0)).decode())
    about = {name: table.values for name, table in tables.items()}
    told = {"run": run.name, "scores": scores, "rows": total, **({"pictured": True} if run.pictured else {})}
    return Packed({**told, **about}, parts, total, len(frame))


def _shown(frame: pl.DataFrame, shots: Shots, runs: int) -> dict[int, str]:
    """Small pictures by the rows' places: of the families with the smallest ids, a fair sample."""
    first = pl.coalesce(pl.col("parents").list.first(), pl.col("id"), pl.lit(""))
    wanted = frame.select("id", "image", "mask", "boxes", "dropped_by", first.alias("family")).with_row_index("_row")
    rows = wanted.filter(pl.col("image").is_not_null()).sort("family", "_row").iter_rows(named=True)
    return within(rows, shots, SHOTS // runs, SHOT_BYTES // runs)


def _families(run: Run, share: float) -> pl.DataFrame:
    """Whole families in the order of the files: the seed, its variants, then what was dropped."""
    keys = [collect(run, families(run, name).select("family")) for name in (ROWS, REJECTED)]
    order = pl.concat(keys)["family"].unique(maintain_order=True)
    chosen = order.sort().head(math.ceil(share * len(order))) if share < 1 else order
    wanted = pl.col("family").is_in(chosen.implode())
    kept, rejected = (families(run, name).filter(wanted) for name in (ROWS, REJECTED))
    frames = [collect(run, kept), collect(run, withheld(rejected))]
    place = pl.DataFrame({"family": order, "_place": range(len(order))})
    total = sum(map(len, keys))
    rows = pl.concat(frames, how="diagonal").join(place, on="family", how="left", maintain_order="left")
    most = math.ceil(1.5 * share * total) + 100 if share < 1 else len(rows)  # should one family be the whole run
    whole = rows.sort("_place", maintain_order=True).drop("_place", "family").head(most)
    return worded(whole) if run.pictured else whole


def worded(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of pictures with what is said of them as `prompt`: the caption, else what they were drawn from."""
    other = pl.when(pl.col("caption").is_not_null()).then("prompt").alias("drawn from")
    return frame.with_columns(pl.coalesce("caption", "prompt").alias("prompt"), other, caption=pl.lit(None, pl.String))


def _scores(frame: pl.DataFrame) -> list[str]:
    """The numeric score columns that tell rows apart."""
    known = {*SCHEMA, *PICTURE, *WRITTEN, *VERDICT}
    numbers = [
        name for name, kind in frame.schema.items() if name not in known and (kind.is_numeric() or kind == pl.Boolean)
    ]
    return [name for name in numbers if frame[name].drop_nulls().n_unique() > 1][:_SCORES]


class _Numbers:
    """Values by their numbers, in the order in which they came."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._known: dict[str, int] = {}

    def number(self, value: Any) -> int | None:
        if value is None:
            return None
        key = json.dumps(value)
        if key not in self._known:
            self._known[key] = len(self.values)
            self.values.append(value)
        return self._known[key]


def _part(
    frame: pl.DataFrame,
    scores: list[str],
    tables: dict[str, _Numbers],
    places: dict[str, int],
    answers: dict[str, str | None],
) -> dict[str, Any]:
    """Some rows as columns. `long` and `rare` hold what few rows have, by the row's place in the part."""
    columns = {name: frame[name].to_list() if name in frame.columns else [None] * len(frame) for name in _read()}
    parents = [(each or [None])[0] for each in columns["parents"]]
    part: dict[str, Any] = {
        "id": columns["id"],
        "parent": [places.get(each, -1) if each is not None else -1 for each in parents],
        "lost": {row: each for row, each in enumerate(parents) if each is not None and each not in places},
        "variant": columns["variant"],
        "tokens": [columns["tokens_in"], columns["tokens_out"]],
        "scores": {name: _rounded(frame[name]) for name in scores},
        "long": {},
        "rare": _rare(frame, columns),
    }
    for name in ("generator", "label"):
        part[name] = [tables[name].number(each) for each in columns[name]]
    verdicts = zip(columns["dropped_by"], columns["reason"], strict=True)
    part["verdict"] = [tables["verdict"].number(None if by is None else [by, why]) for by, why in verdicts]
    made = zip(*(columns[name] for name in _MADE), strict=True)
    part["made"] = [tables["made"].number(list(each) if each[0] is not None else None) for each in made]
    for name in _TEXTS:
        part[name] = []
        for row, text in enumerate(columns[name]):
            parent = parents[row]
            if name == "response" and text is not None and parent in places and answers.get(parent) == text:
                part[name].append(0)  # the parent's own
                continue
            if text is not None and len(text) > CELL:
                part["long"].setdefault(str(row), {})[name] = len(text)
            part[name].append(text[:CELL] if text is not None else None)
    part["lost"] = {str(row): each for row, each in part["lost"].items()}
    return part


def _read() -> Iterator[str]:
    yield from SCHEMA
    yield from VERDICT


def _rare(frame: pl.DataFrame, columns: dict[str, list[Any]]) -> dict[str, dict[str, str]]:
    """What few rows have: places, images, captions, and what a filter wrote about a row that was dropped."""
    words = [
        name
        for name, kind in frame.schema.items()
        if kind == pl.String and name not in {*SCHEMA, *PICTURE, *WRITTEN, *VERDICT, *_RARE}
    ]
    found: dict[str, dict[str, str]] = {}
    for name in (*_RARE, *words):
        if name not in columns and name not in frame.columns:
            continue
        values = columns[name] if name in columns else frame[name].to_list()
        for row, value in enumerate(values):
            if value and (name in _RARE or columns["dropped_by"][row] is not None):
                found.setdefault(str(row), {})[name] = value[:CELL]
    return found


def _rounded(column: pl.Series) -> list[float | None]:
    """The numbers to four digits; NaN and infinity are none."""
    real = column.cast(pl.Float64)
    clean = real.set(~real.is_finite(), None).round_sig_figs(4)
    return [int(each) if each is not None and each == int(each) else each for each in clean.to_list()]
