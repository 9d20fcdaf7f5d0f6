"""A table of pictures: CSV, TSV, JSON, JSONL, or Parquet with paths or with the pictures in it.

Paths are relative to the table's own folder and stay inside it. Parquet is read a few rows at a time, since the
pictures may be in it; the numbers of a class become its names where `datasets` wrote them into the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from augment.errors import SourceError
from augment.images.coco import coco_root, coco_table
from augment.images.entries import Entry, Listing, columns_of, entry_of, inside
from augment.readers import read_file

BATCH = 64
"""Rows of a Parquet file that are in memory at once."""


@dataclass(frozen=True)
class TableListing(Listing):
    """A listing, and the columns that its table has; `coco`: it is one of the files that COCO has of a picture."""

    present: tuple[str, ...] = ()
    coco: bool = False


def list_table(file: Path, told: Mapping[str, str]) -> TableListing:
    """The entries of a table; paths are relative to its own folder, or to the one above where it is COCO's.

    Raises:
        SourceError: it cannot be read, or no column is like a picture.
    """
    if file.suffix.lower() == ".parquet":
        return _parquet(file, told, file.parent)
    coco = coco_table(file, coco_root(file)) if file.suffix.lower() == ".json" else None
    root = file.parent if coco is None else coco_root(file)
    table = coco or read_file(file)
    columns, notes = columns_of(table.columns, told)
    bad = [Entry(place, fault=reason) for place, reason, _ in table.bad]
    entries = [entry_of(place, record, columns, lambda name: inside(root, name)) for place, record in table.rows]
    return TableListing([*entries, *bad], columns, () if coco else notes, tuple(table.columns), coco is not None)


def _parquet(file: Path, told: Mapping[str, str], root: Path) -> TableListing:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(_broken(file, error)) from None
    present = tuple(opened.schema_arrow.names)
    if not opened.metadata.num_rows:
        raise SourceError(f"{file} holds no rows, only a header")
    columns, notes = columns_of(present, told)
    names = class_names(opened.schema_arrow.metadata or {}, columns)

    def entries() -> Iterator[Entry]:
        number = 0
        try:
            for batch in opened.iter_batches(BATCH, columns=list(dict.fromkeys(columns.values()))):
                for record in batch.to_pylist():
                    number += 1
                    place = f"{file.name}#{number}"
                    yield entry_of(place, record, columns, lambda name: inside(root, name), names)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(_broken(file, error)) from None

    return TableListing(entries(), columns, notes, present)


def _broken(file: Path, error: Exception) -> str:
    first = str(error).partition("\n")[0]
    return f"{file} is not a whole Parquet file ({first}); copy or download it again"


def class_names(metadata: Mapping[bytes, bytes], columns: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """The names of the classes by our column, as `datasets` leaves them in a Parquet file's schema."""
    try:
        features: Any = orjson.loads(metadata[b"huggingface"])["info"]["features"]
        return {ours: features[theirs]["names"] for ours, theirs in columns.items() if "names" in features[theirs]}
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return {}
