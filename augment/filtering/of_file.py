"""Anybody's rows as a dataset to sift: a file, a folder, a source card or a dataset of the hub.

Parquet is read block by block, whatever its size; other formats are held in memory once. The columns that are not ours
come through as they are, so that what is published is the user's dataset with fewer rows and with scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq

from augment.errors import SourceError
from augment.filtering.dataset import BLOCK, Dataset
from augment.manifest import digest_of
from augment.readers import Table
from augment.records import PICTURE, POSITION, REVIEWED, SCHEMA, VERDICT, fingerprint, row_id
from augment.sources import (
    CELL_LIMIT,
    CLIP,
    NUMBER,
    check_prompts,
    check_prompts_of,
    check_told,
    mapping_of,
    open_source,
    open_tables,
    row_of,
)
from filters import TABLE, Context, modalities_of
from filters.chain import WORKING

TEXTS = ("prompt", "response", "label")
_READ = dict.fromkeys(TEXTS, pl.String)


def _scores() -> set[str]:
    """The score columns of every filter of texts."""
    filters = [TABLE.load(name) for name in TABLE.targets()]
    return {name for each in filters if "text" in modalities_of(each) for name in each.scores}


@dataclass(frozen=True)
class _Columns:
    """Which of a file's columns are which of ours, and what the others are called and hold."""

    ours: Mapping[str, str]
    others: Mapping[str, str]
    kinds: Mapping[str, Any]

    @classmethod
    def of(cls, ours: Mapping[str, str], kinds: Mapping[str, Any]) -> _Columns:
        """Of a file with columns of these types; one that has the name of one of ours gets another.

        Ours are also all that begin with "_", which filters add in passing.
        """
        taken = {*SCHEMA, *VERDICT, *POSITION, *REVIEWED, *PICTURE, *WORKING, *_scores()}
        theirs = [name for name in kinds if name not in ours.values()]
        others = {name: name for name in theirs if name not in taken and name[:1] != "_"}
        for name in theirs:
            if name not in others:
                other = f"source_{name}"
                while other in taken or other in others.values():
                    other = f"source_{other}"
                others[name] = other
        return cls(ours, others, {others[name]: kinds[name] for name in theirs})


@dataclass(frozen=True)
class _Parquet:
    """A Parquet file, read block by block."""

    path: Path
    columns: _Columns

    @classmethod
    def of(cls, path: Path, told: Mapping[str, str]) -> tuple[_Parquet, str]:
        with _open(path) as file:
            if not file.metadata.num_rows:
                raise SourceError(f"{path} holds no rows, only a header")
            empty = pl.DataFrame(pl.from_arrow(file.schema_arrow.empty_table()))
        table = Table(empty.columns)
        check_told([table], told)
        ours, note = mapping_of(table, told)
        if not empty.schema[ours["prompt"]].is_nested():
            check_prompts(_some_prompts(path, ours["prompt"]), ours["prompt"], str(path))
        return cls(path, _Columns.of(ours, dict(empty.schema))), note

    @property
    def digest(self) -> str:
        return fingerprint(digest_of(self.path)["sha256"], self.columns.ours)

    @property
    def rows(self) -> int:
        with _open(self.path) as file:
            return int(file.metadata.num_rows)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Blocks with the columns of `_READ`, `reason`, `detail` and the file's others."""
        names = {theirs: ours for ours, theirs in self.columns.ours.items()} | dict(self.columns.others)
        first = 0
        with _open(self.path) as file:
            for batch in file.iter_batches(BLOCK):
                frame = pl.DataFrame(pl.from_arrow(batch)).rename(names)
                yield self._checked(frame, first)
                first += len(frame)

    def _checked(self, frame: pl.DataFrame, first: int) -> pl.DataFrame:
        """The rows as `augment.sources.row_of` reads them."""
        texts, faults = [], []
        for ours, dtype in ((each, frame.schema.get(each)) for each in TEXTS):
            if dtype is None or dtype == pl.Null:
                texts.append(pl.lit(None, dtype=pl.String).alias(ours))
                continue
            if dtype != pl.String and (ours == "prompt" or not (dtype.is_numeric() or dtype == pl.Boolean)):
                faults.append(pl.when(pl.col(ours).is_not_null()).then(pl.lit(f"{ours} is not text")))
            told = pl.col(ours) if not dtype.is_nested() else pl.lit(None)
            text = told.cast(pl.String).str.strip_chars()
            texts.append(pl.when(text != "").then(text).alias(ours))
            faults.append(
                pl.when(told.cast(pl.String).str.len_chars() > CELL_LIMIT).then(
                    pl.lit(f"{ours} over {CELL_LIMIT:,} characters")
                )
            )
        place = pl.format(f"{self.path.name}#{{}}", pl.int_range(first + 1, first + 1 + len(frame), eager=True))
        read = frame.with_columns(pl.coalesce(*faults, pl.lit(None, dtype=pl.String)).alias("reason"), *texts)
        blank = pl.when(pl.col("prompt").is_null()).then(pl.lit("blank prompt"))
        read = read.with_columns(pl.coalesce(blank, "reason").alias("reason"))
        return read.with_columns(pl.when(pl.col("reason").is_not_null()).then(place).alias("detail"))


def _some_prompts(path: Path, column: str) -> list[str]:
    """A prompt that is not a number where there is one, else any."""
    cells = pl.scan_parquet(path, glob=False).select(pl.col(column).cast(pl.String).str.strip_chars().alias("prompt"))
    told = cells.filter(pl.col("prompt") != "")
    words = told.filter(~pl.col("prompt").str.contains(f"^(?:{NUMBER})$")).head(1).collect(engine="streaming")
    some: list[str] = (words if len(words) else told.head(1).collect())["prompt"].to_list()
    return some


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise SourceError(f"{path} is not a whole Parquet file ({first}); copy or download it again") from None


@dataclass(frozen=True)
class _Tables:
    """Rows of files that were read whole."""

    tables: Sequence[Table]
    mappings: Sequence[Mapping[str, str]]
    columns: _Columns

    @classmethod
    def of(cls, name: str, path: Path | None, told: Mapping[str, str]) -> tuple[_Tables, tuple[str, ...]]:
        card, tables, _ = open_tables(name, path)
        check_told(tables, told)
        found = [mapping_of(table, {**card.columns, **told}) for table in tables]
        mapped = [ours for ours, _ in found]
        check_prompts_of(tables, mapped, str(path or name))
        kinds: dict[str, Any] = {}
        for table in tables:
            for column in table.columns:
                kinds[column] = _kind((record.get(column) for _, record in table.rows), kinds.get(column))
        theirs = {ours: name for each in mapped for ours, name in each.items()}
        used = {name for each in mapped for name in each.values()}
        columns = _Columns.of(theirs, {name: kind or pl.String for name, kind in kinds.items() if name not in used})
        return cls(tables, mapped, columns), tuple(dict.fromkeys(note for _, note in found if note))

    @property
    def digest(self) -> str:
        return fingerprint([[dict(record) for _, record in table.rows] for table in self.tables], self.mappings)

    @property
    def rows(self) -> int:
        return sum(len(table.rows) + len(table.bad) for table in self.tables)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """As of `_Parquet`."""
        schema = {**_READ, "reason": pl.String, "detail": pl.String, **self.columns.kinds}
        for table, mapping in zip(self.tables, self.mappings, strict=True):
            for start in range(0, len(table.rows), BLOCK):
                lines = []
                for place, record in table.rows[start : start + BLOCK]:
                    row, fault = row_of(record, mapping)
                    others = {
                        ours: _cell(record.get(theirs), self.columns.kinds[ours])
                        for theirs, ours in self.columns.others.items()
                    }
                    lines.append({**row, "reason": fault, "detail": place if fault else None, **others})
                yield pl.DataFrame(lines, schema=schema)
            if table.bad:
                bad = [{"prompt": text, "reason": reason, "detail": place} for place, reason, text in table.bad]
                yield pl.DataFrame(bad, schema=schema)


def _kind(values: Iterator[Any], before: Any) -> Any:
    """The type of a column: that of its values where all are text, numbers or truths, else text; None without any."""
    names: dict[type, Any] = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}
    found = {names.get(type(value), pl.String) for value in values if value is not None}
    found |= set() if before is None else {before}
    if found == {pl.Int64, pl.Float64}:
        return pl.Float64
    return found.pop() if len(found) == 1 else pl.String if found else None


def _cell(value: Any, kind: Any) -> Any:
    """A value as its column holds it: what is neither text nor a number becomes JSON in a column of text."""
    if value is None or kind != pl.String or isinstance(value, str):
        return float(value) if kind == pl.Float64 and value is not None else value
    return orjson.dumps(value, default=str).decode()


def of_file(
    name: str, path: Path | None = None, columns: Mapping[str, str] | None = None, exam: str | None = None
) -> Dataset:
    """The rows of `name`, a source as in `augment text`; `columns` are those of `--map`, `exam` rows to hold against.

    Raises:
        SourceError: it cannot be found or read, or lacks a column it needs.
    """
    place = path or Path(name)
    held = open_source(exam, holdout=0.0).seeds if exam else pl.DataFrame(schema=SCHEMA)
    read: _Parquet | _Tables
    notes: tuple[str, ...]
    if place.suffix.lower() == ".parquet" and place.is_file():
        read, note = _Parquet.of(place, columns or {})
        notes = (note,) if note else ()
    else:
        read, notes = _Tables.of(name, path, columns or {})
    source = Path(name).stem if place.exists() else name
    told = {"source": str(name), "map": dict(columns or {}), "exam": exam}
    return Dataset(
        name=source,
        digest=read.digest,
        blocks=partial(_numbered, read, source),
        context=lambda: Context(seeds=pl.DataFrame(schema=SCHEMA), exam=held),
        settled=lambda: pl.col("dropped_by").is_not_null(),
        positions=read.rows,
        seeds=pl.DataFrame(schema=SCHEMA),
        lost=pl.DataFrame(schema={**SCHEMA, **VERDICT}),
        columns=dict(read.columns.kinds),
        renamed=_renamed(read),
        notes=notes,
        manifest={
            "source": {"name": source, "fingerprint": read.digest},
            "recipe": {key: value for key, value in told.items() if value},
            "columns": list(read.columns.kinds),
        },
    )


def _renamed(read: _Parquet | _Tables) -> dict[str, str]:
    """The columns that have another name here than in the file, with that."""
    mappings = [read.columns.ours] if isinstance(read, _Parquet) else read.mappings
    found: dict[str, list[str]] = {}
    for mapping in mappings:
        for ours, theirs in mapping.items():
            if theirs not in found.setdefault(ours, []):
                found[ours].append(theirs)
    told = {ours: " or ".join(theirs) for ours, theirs in found.items() if theirs != [ours]}
    return told | {ours: theirs for theirs, ours in read.columns.others.items() if ours != theirs}


def _numbered(read: _Parquet | _Tables, source: str) -> Iterator[pl.DataFrame]:
    """The rows with the dataset's columns and their places; those that cannot be used have their verdict."""
    first = 0
    filled = {"source": source, "split": "train", "generator": "seed"}
    for frame in read:
        ids = [row_id(each[0] or "", each[1], each[2]) for each in frame.select(TEXTS).iter_rows()]
        bad = pl.col("reason").is_not_null()
        known = {"id", "parents", "variant", *filled, *TEXTS}
        yield frame.with_columns(
            pl.Series("id", ids, dtype=pl.String),
            pl.lit([], dtype=pl.List(pl.String)).alias("parents"),
            pl.lit(0, dtype=pl.Int64).alias("variant"),
            *(pl.lit(value).alias(name) for name, value in filled.items()),
            *(pl.when(bad).then(pl.col(name).str.slice(0, CLIP)).otherwise(name).alias(name) for name in TEXTS),
            *(pl.lit(None, dtype=dtype).alias(name) for name, dtype in SCHEMA.items() if name not in known),
            pl.when(bad).then(pl.lit("source")).alias("dropped_by"),
            pl.int_range(first, first + len(frame), dtype=pl.Int64).alias("_position"),
            pl.lit(0, dtype=pl.Int64).alias("_candidate"),
        )
        first += len(frame)
