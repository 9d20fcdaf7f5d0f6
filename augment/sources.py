"""A source's name to its rows: a card, a file or folder, or a Hugging Face dataset id.

What comes out is a `Source`: the seeds that may be augmented, the exam that may not, and every row that was
lost on the way with its reason.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from augment.errors import SourceError
from augment.hub import download, load_hub_dataset
from augment.images.pictures import SUFFIXES
from augment.manifest import holds_pictures, manifest_of
from augment.places import home
from augment.published import COLUMNS, ROWS, questions_of, run_named
from augment.readers import FORMATS, Table, read_file
from augment.records import SCHEMA, VERDICT, fingerprint, row_id
from augment.source_cards import Card, card_path, is_card, is_own, read_card
from filters.fold import fold

CELL_LIMIT = 100_000
"""Characters that one cell may hold; a longer one is a rejected row."""
CLIP = 1000
"""Characters of a rejected row's cells that are kept to show."""

COMMON_NAMES = {
    "prompt": (
        "prompt",
        "question",
        "query",
        "instruction",
        "input",
        "text",
        "sentence",
        "问题",
        "提问",
        "题目",
    ),
    "response": (
        "response",
        "answer",
        "output",
        "completion",
        "reply",
        "erniea",
        "target",
        "gold",
        "回答",
        "答案",
        "回复",
    ),
    "label": ("label", "domain", "topic", "category", "class", "intent", "type", "标签", "类别", "领域"),
}
"""What people call our columns, in order of preference; compared without case."""


@dataclass(frozen=True)
class Source:
    """Rows ready to plan with. `seeds` and `exam` have the dataset's columns; `rejected` has the verdict's too.

    rows_in = seeds + exam + rejected. `notes` are one-line remarks for the user (which columns were guessed).
    `validation` are those of the exam that a recipe holds out of the seeds, to steer by (`augment.validation`).
    """

    name: str
    card: Card
    seeds: pl.DataFrame
    exam: pl.DataFrame
    rejected: pl.DataFrame
    rows_in: int
    columns: dict[str, str]
    origin: str
    notes: tuple[str, ...] = field(default=())
    validation: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))

    @property
    def fingerprint(self) -> str:
        """Identity of the content: every seed and exam id, in order."""
        return fingerprint(self.seeds["id"].to_list(), self.exam["id"].to_list())


def open_source(
    name: str,
    *,
    path: Path | None = None,
    columns: Mapping[str, str] | None = None,
    holdout: float | None = None,
) -> Source:
    """The source called `name`, read, mapped to our columns, cleaned of bad rows and split.

    `columns` maps our names to the source's (`--map prompt=query`); `holdout` is the share of questions, from 0
    to under 1, that is kept out as the exam (the card's own share when None). Of a run's folder it is what the run
    published, split by families; what that holds out itself is not here (`augment.reopen.sources_of` adds it).

    Raises:
        SourceError: it cannot be found or read, or lacks a column it needs.
    """
    card, tables, origin = open_tables(name, path)
    run = run_named(name)
    if run is None:
        return source_of(name, card, tables, origin, columns=columns, holdout=holdout)
    source = source_of(
        run.resolve().name,
        card,
        tables,
        origin,
        columns={**COLUMNS, **(columns or {})},
        holdout=holdout,
        families=questions_of(run, columns or {}) if holdout else {},
    )
    split = "; a variant is held out with its seed" if holdout else ""
    return dataclasses.replace(source, notes=(*source.notes, f"what the run published is read{split}"))


def source_of(
    name: str,
    card: Card,
    tables: Sequence[Table],
    origin: str,
    *,
    columns: Mapping[str, str] | None = None,
    holdout: float | None = None,
    families: Mapping[str, Sequence[str]] | None = None,
) -> Source:
    """The source that `tables` make, as `open_source` would have read them.

    `families` are, by row id, the questions that decide whether a row is held out, where these are not its own: it is
    when one of them is.
    """
    check_told(tables, columns or {})
    mappings = [mapping_of(table, {**card.columns, **(columns or {})}) for table in tables]
    check_prompts_of(tables, [mapping for mapping, _ in mappings], origin)
    notes = dict.fromkeys(note for _, note in mappings if note)
    source = Path(name).stem if (origin == name and not is_card(name)) or is_own(name) else name
    good: dict[str, tuple[str | None, ...]] = {}
    bad: list[tuple[str | None, ...]] = []  # id, then the columns, reason and place
    for table, (mapping, _) in zip(tables, mappings, strict=True):
        for place, reason, text in table.bad:
            bad.append((None, text, None, None, reason, place))
        for place, record in table.rows:
            row, fault = row_of(record, mapping)
            key = row_id(row["prompt"] or "", row["response"], row["label"])
            fault = fault or ("duplicate row" if key in good else None)
            if fault is None:
                good[key] = tuple(row.values())
            else:
                bad.append((key, *row.values(), fault, place))
    if not good:
        first = bad[0][-2] if bad else "no rows"
        raise SourceError(f"no usable row in {origin}: all {len(bad)} were rejected (first: {first})")
    share = card.holdout if holdout is None else holdout

    def asked(key: str | None, prompt: str | None) -> Sequence[str]:
        return (families or {}).get(key or "") or (prompt or "",)

    content = ("id", *COMMON_NAMES)
    frame = _frame([(key, *row) for key, row in good.items()], content, SCHEMA).with_columns(
        pl.lit(source).alias("source"),
        pl.lit("seed").alias("generator"),
        pl.lit(0, dtype=pl.Int64).alias("variant"),
        pl.Series("split", _splits([asked(key, row[0]) for key, row in good.items()], share), dtype=pl.String),
        pl.lit([], dtype=pl.List(pl.String)).alias("parents"),
    )
    rejected = _frame(bad, (*content, "reason", "detail"), {**SCHEMA, **VERDICT}).with_columns(
        pl.lit(source).alias("source"), pl.lit("source").alias("dropped_by")
    )
    # a broken or repeated row of the exam is counted and its place told, but its content stays out of sight
    held = pl.Series(_splits([asked(row[0], row[1]) for row in bad], share), dtype=pl.String) == "exam"
    shown = (pl.when(~held).then(pl.col(name).str.slice(0, CLIP)).alias(name) for name in COMMON_NAMES)
    rejected = rejected.with_columns(shown)
    return Source(
        name=source,
        card=card,
        seeds=frame.filter(pl.col("split") == "train"),
        exam=frame.filter(pl.col("split") == "exam"),
        rejected=rejected,
        rows_in=len(good) + len(bad),
        columns=mappings[0][0],
        origin=origin,
        notes=tuple(notes),
    )


def _splits(questions: Sequence[Sequence[str]], holdout: float) -> list[str]:
    """Of each row "exam" when one of its questions is of a fixed share of all questions, "train" for the others.

    It depends on the hash of the folded question alone: a corrected answer, another label or a second answer to
    the same question never moves a row across.
    """
    every = list(dict.fromkeys(each for row in questions for each in row))
    keys = fold(pl.Series(every, dtype=pl.String))
    held = {
        each for each, key in zip(every, keys, strict=True) if int(fingerprint("split", key)[:8], 16) / 2**32 < holdout
    }
    return ["train" if held.isdisjoint(row) else "exam" for row in questions]


def _frame(rows: list[tuple[str | None, ...]], columns: Sequence[str], schema: dict[str, Any]) -> pl.DataFrame:
    """`rows` of `columns` under the whole schema; the other columns are null."""
    found = pl.DataFrame(rows, schema={name: schema[name] for name in columns}, orient="row")
    missing = (pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items() if name not in columns)
    return found.with_columns(missing).select(list(schema))


def open_tables(name: str, path: Path | None = None) -> tuple[Card, list[Table], str]:
    """The card of a source, its rows as they stand in its files, and a phrase for where they come from.

    Raises:
        SourceError: it cannot be found or read.
    """
    if is_card(name):
        card = read_card(name)
        if card.modality != "text":
            raise SourceError(_of_pictures(f"'{name}'", name))
        directory = path or configured_directory(card)
        if directory is not None:
            return card, _card_tables(card, directory), str(directory)
        if card.hub and not card.hub_files:
            return card, [load_hub_dataset(card.hub)[1]], f"hub:{card.hub}"
        if card.hub:
            folder = download(card, cached(name, card), name)
            return card, [read_file(folder / each) for each in card.hub_files], f"hub:{card.hub}"
        return card, _card_tables(card, card_path(name).parent), name
    if (run := run_named(name)) is not None:
        if holds_pictures(manifest_of(run)):
            raise SourceError(_of_pictures(str(run), name))
        return Card(), [read_file(run / ROWS)], name
    place = path or Path(name)
    if place.is_file():
        return Card(), [read_file(place)], name
    if place.is_dir():
        files = sorted(each for each in place.rglob("*") if each.suffix.lower() in FORMATS and not _hidden(each, place))
        told = [each for each in files if each.stem.lower() != "metadata"]
        if not told and any(each.suffix.lower() in SUFFIXES for each in place.rglob("*")):
            raise SourceError(_of_pictures(str(place), name))
        if not files:
            raise SourceError(f"no data file in {place}; known: {', '.join(sorted(FORMATS))}")
        return Card(), [read_file(each) for each in files], name
    if place.suffix.lower() in FORMATS or name.startswith((".", "/", "~")) or name.endswith("/") or path is not None:
        raise SourceError(f"no file or folder {place}; check the path")
    if name.count("/") == 1:
        card, table = load_hub_dataset(name)
        return card, [table], f"hub:{name}"
    return read_card(name), [], name  # raises: the name is none of the three


def _of_pictures(what: str, name: str) -> str:
    return f"{what} is a source of pictures; use augment image --source {name}, or augment paired"


def cached(name: str, card: Card) -> Path:
    """Where a card's files of the hub are kept; of a user's own card by what it fetches, too, for names are short."""
    folder = f"{Path(name).stem}-{fingerprint(card.hub, card.hub_files)[:8]}" if is_own(name) else name
    return home() / "sources" / folder


def configured_directory(card: Card) -> Path | None:
    """The folder that the card's environment variable names, if it is set."""
    configured = os.environ.get(card.directory_env, "") if card.directory_env else ""
    return Path(configured) if configured else None


def _card_tables(card: Card, directory: Path) -> list[Table]:
    """A card's files from `directory`; a single file may be given instead of the folder."""
    if not directory.exists():
        raise SourceError(f"no folder {directory}; it should hold {' and '.join(card.files)}")
    files = [directory] if directory.is_file() else [directory / each for each in card.files]
    if not any(each.is_file() for each in files):
        hub_files = [directory / each for each in card.hub_files]
        if not any(each.is_file() for each in hub_files):
            wanted = " and ".join(card.files) + "".join(f", or {each}" for each in card.hub_files)
            raise SourceError(f"{directory} holds neither {wanted}; check the folder")
        files = hub_files
    tables = []
    for each in files:
        table = read_file(each)
        for column, values in card.file_values.items():
            if column not in table.columns and each.name in values:
                table.columns.append(column)
                table.rows = [(place, {**row, column: values[each.name]}) for place, row in table.rows]
        tables.append(table)
    return tables


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def check_told(tables: Sequence[Table], told: Mapping[str, str]) -> None:
    """Whether `--map` names columns of ours, and of the tables.

    Raises:
        SourceError: it does not.
    """
    present = list(dict.fromkeys(name for table in tables for name in table.columns))
    for ours, theirs in told.items():
        if ours not in COMMON_NAMES:
            raise SourceError(f"--map has no column '{ours}'; known: {', '.join(COMMON_NAMES)}")
        if theirs not in present:
            raise SourceError(f"no column '{theirs}' in the source; it has: {', '.join(present)}")


def mapping_of(table: Table, wanted: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Our column names to one table's, as told or by common names, and a note on what was guessed ("": nothing).

    Raises:
        SourceError: no column looks like a prompt.
    """
    found = {ours: theirs for ours, theirs in wanted.items() if theirs in table.columns}
    guessed = []
    lower = {name.lower(): name for name in reversed(table.columns)}
    for ours, names in COMMON_NAMES.items():
        match = next((lower[name] for name in names if name in lower and lower[name] not in found.values()), None)
        if ours not in found and match is not None:
            found[ours] = match
            guessed.append(f"{ours}={match}")
    if "prompt" not in found:
        raise SourceError(
            f"no column looks like a prompt among: {', '.join(table.columns)}; name it with --map prompt=COLUMN"
        )
    return found, f"columns guessed: {', '.join(guessed)} (change with --map)" if guessed else ""


def check_prompts(values: Iterable[Any], column: str, origin: str) -> None:
    """Whether a column of prompts holds any text, whatever the format of its file.

    Raises:
        SourceError: all that it holds are numbers.
    """
    told = [each for each in values if each is not None and str(each).strip()]
    if told and all(re.fullmatch(NUMBER, str(each).strip()) for each in told):
        raise SourceError(
            f"the column '{column}' of {origin} holds numbers only, for example {told[0]}, and a prompt is text; "
            "name the column that holds it with --map prompt=COLUMN"
        )


def check_prompts_of(tables: Sequence[Table], mappings: Sequence[Mapping[str, str]], origin: str) -> None:
    """`check_prompts` of tables together, each with its mapping.

    Raises:
        SourceError: as that.
    """
    named = [mapping["prompt"] for mapping in mappings]
    every = (row.get(name) for table, name in zip(tables, named, strict=True) for _, row in table.rows)
    check_prompts(every, named[0] if named else "", origin)


NUMBER = r"[+-]?[0-9]+(?:[.,][0-9]+)*(?:e[+-]?[0-9]+)?"
"""A cell that is a number, as text."""


def row_of(record: Mapping[str, Any], mapping: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """The record under our names, and why it cannot be used (None when it can)."""
    row: dict[str, Any] = {}
    fault = None
    for ours in COMMON_NAMES:
        value = record.get(mapping[ours]) if ours in mapping else None
        if isinstance(value, float) and math.isnan(value):
            value = None
        if value is not None and not isinstance(value, str):
            if ours == "prompt" or not isinstance(value, int | float):
                fault = f"{ours} is not text"
            value = str(value)
        row[ours] = value.strip() or None if value is not None else None
        if value is not None and len(value) > CELL_LIMIT:
            fault = f"{ours} over {CELL_LIMIT:,} characters"
    if row["prompt"] is None:
        fault = "blank prompt"
    return row, fault
