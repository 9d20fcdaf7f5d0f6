"""Files to rows: CSV, JSON, JSONL and Parquet, defensively. A bad row costs that row, a bad file one clear line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import SourceError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
}
_DIALECTS = {"csv": ",", "tsv": "\t"}


@dataclass
class Table:
    """Rows as they stand in a file, and the lines that could not be one: (place, reason, text)."""

    columns: list[str]
    rows: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    bad: list[tuple[str, str, str]] = field(default_factory=list)


def read_file(path: Path) -> Table:
    """The rows of one file, each with its place ("file:line" or "file#row").

    Raises:
        SourceError: missing, empty, of an unknown format, not UTF-8, or truncated.
    """
    if not path.is_file():
        raise SourceError(f"no file {path}; check the path")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise SourceError(f"{path} has no known format; use one of {', '.join(sorted(FORMATS))}")
    try:
        empty = not path.open("rb").read(1)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from None
    if empty:
        raise SourceError(f"{path} is empty; a source needs at least one row")
    if kind == "parquet":
        table = _read_parquet(path)
    elif kind in _DIALECTS:
        table = _read_csv(path, _text(path), _DIALECTS[kind])
    else:
        table = _read_json(path, _text(path), kind)
    if not table.rows and not table.bad:
        raise SourceError(f"{path} holds no rows, only {'a header' if table.columns else 'blank lines'}")
    return table


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = _encoding_of(raw)
        raise SourceError(
            f"{path} is not UTF-8 (byte {error.start}); it looks like {found}: "
            f"convert it with  iconv -f {found} -t UTF-8 {path.name} > utf8-{path.name}"
        ) from None


def _encoding_of(raw: bytes) -> str:
    """The likeliest encoding of bytes that are not UTF-8, by name."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16"
    from charset_normalizer import from_bytes

    best = from_bytes(raw[:65536], cp_isolation=["gb18030", "big5", "shift_jis", "euc_kr", "cp1252"]).best()
    return best.encoding.upper().replace("_", "-") if best else "GB18030"


def _read_csv(path: Path, text: str, delimiter: str) -> Table:
    csv.field_size_limit(2**31 - 1)
    records = _csv_records(path, text, delimiter)
    header = next((cells for _, cells in records if cells and any(cell.strip() for cell in cells)), [])
    while header and not header[-1].strip():  # trailing empty columns, as spreadsheets leave them
        header.pop()
    table = Table(columns=[name.strip() for name in header])
    doubled = next((name for name in table.columns if table.columns.count(name) > 1), None)
    if doubled is not None:
        raise SourceError(f"{path} has two columns called '{doubled}'; rename one")
    for line, cells in records:
        place = f"{path.name}:{line}"
        if cells is None:
            table.bad.append((place, "a quote that is never closed", list(io.StringIO(text, newline=""))[line - 1]))
        elif not any(cell.strip() for cell in cells):
            continue
        elif len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            table.bad.append((place, f"ragged row: not {len(header)} cells", delimiter.join(cells)))
        else:
            table.rows.append((place, dict(zip(table.columns, cells, strict=False))))
    return table


def _csv_records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """Each record with its first line's number; None for a line whose quote is never closed.

    Such a quote would swallow the rest of the file: it costs its own line, and reading goes on after it.
    """
    lines = list(io.StringIO(text, newline=""))
    start = 0
    while start < len(lines):
        reader = csv.reader(lines[start:], delimiter=delimiter)
        before = start
        try:
            for cells in reader:
                first, before = before, start + reader.line_num
                if before == len(lines) and "".join(lines[first:]).count('"') % 2:
                    yield first + 1, None
                    start = first + 1
                    break
                yield first + 1, cells
            else:
                return
        except csv.Error as error:
            raise SourceError(f"{path} is not readable as CSV: {error}; re-export it") from None


def _read_json(path: Path, text: str, kind: str) -> Table:
    try:
        document = orjson.loads(text) if kind == "json" else None
    except orjson.JSONDecodeError as error:
        if "\n{" not in text:
            raise SourceError(f"{path} is not valid JSON: {error}; a file of one object a line is .jsonl") from None
        document = None  # one object a line under a .json name, as the hub often has it
    if document is None:
        return _records(path, list(_json_lines(path, text)))
    if isinstance(document, dict):
        return _records(path, list(_grouped(path, document)))
    if isinstance(document, list):
        return _records(path, [(f"{path.name}#{i}", item, "") for i, item in enumerate(document, 1)])
    raise SourceError(f"{path} holds a single JSON value; a source is a list of objects")


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, Any, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"{path.name}:{number}", orjson.loads(line), line
            except orjson.JSONDecodeError:
                yield f"{path.name}:{number}", None, line


def _grouped(path: Path, document: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Rows of {"group": [row, …], …}; the group's name becomes the column `domain` where there is none."""
    if not all(isinstance(items, list) for items in document.values()):
        yield f"{path.name}#1", document, ""
        return
    for group, items in document.items():
        for i, item in enumerate(items, 1):
            yield (
                f"{path.name}#{group}/{i}",
                {"domain": group, **item} if isinstance(item, dict) else item,
                "",
            )


def _records(path: Path, items: list[tuple[str, Any, str]]) -> Table:
    table = Table(columns=[])
    for place, item, line in items:
        if isinstance(item, dict):
            table.columns.extend(name for name in item if name not in table.columns)
            table.rows.append((place, item))
        else:
            reason = "not valid JSON" if item is None else "not a JSON object"
            table.bad.append((place, reason, line or str(item)))
    if not table.rows:
        raise SourceError(f"{path} holds no JSON object; a source is one object a row")
    return table


def _read_parquet(path: Path) -> Table:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).partition("\n")[0]
        raise SourceError(f"{path} is not a whole Parquet file ({first}); copy or download it again") from None
    table = Table(columns=frame.columns)
    table.rows.extend((f"{path.name}#{i}", row) for i, row in enumerate(frame.iter_rows(named=True), 1))
    return table
