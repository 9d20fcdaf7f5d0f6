"""An exam: questions with gold answers that nothing was trained on, and the dimensions that a judge scores.

A card (`data/exams/NAME.toml`, or a TOML file of the user's) names the source of its rows and the dimensions of each
group of rows; without one any file with questions and gold answers is an exam.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from augment.errors import RecipeError, RunError, SourceError
from augment.manifest import MANIFEST, holds_pictures, manifest_of
from augment.places import data_dir
from augment.readers import FORMATS, Table
from augment.records import fingerprint, row_id
from augment.registry import closest
from augment.reopen import reopened
from augment.sources import open_source, open_tables
from augment.tables import one_line

ROWS = {"id": pl.String, "label": pl.String, "query": pl.String, "gold": pl.String}


class Dimension(BaseModel):
    """What a judge scores an answer on: −1 violates, 0 irrelevant, 1 satisfies the definition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    definition: str


class Group(BaseModel):
    """Rows that are scored on the same dimensions: those with one of `labels`; without labels all the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    labels: tuple[str, ...] = ()
    dimensions: Annotated[tuple[Dimension, ...], Field(min_length=1)]

    @field_validator("dimensions")
    @classmethod
    def _different(cls, value: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
        names = [each.name for each in value]
        if len(set(names)) < len(names):
            raise ValueError(f"two dimensions have the same name among {', '.join(names)}")
        return value


class ExamCard(BaseModel):
    """An exam card. `scored` is the source's column of scores that somebody gave already, to calibrate a judge with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    description: str = ""
    source: str = ""
    columns: dict[str, str] = {}
    scored: str = ""
    language: Literal["zh", "en"] = "zh"
    groups: tuple[Group, ...] = ()

    @model_validator(mode="after")
    def _one_for_each(self) -> ExamCard:
        taken: dict[str, str] = {}
        for group in self.groups:
            for label in group.labels or ("",):
                if label in taken:
                    what = f"the label '{label}'" if label else "the rows that no other group takes"
                    raise ValueError(f"the groups '{taken[label]}' and '{group.name}' both have {what}")
                taken[label] = group.name
        return self

    def group_of(self, label: str | None) -> Group | None:
        """The group that a row of this label belongs to."""
        named = next((group for group in self.groups if label in group.labels), None)
        return named or next((group for group in self.groups if not group.labels), None)


@dataclass(frozen=True)
class Exam:
    """An exam, read. `rows` has the columns of `ROWS`, gold null where there is none; `notes` are for the user."""

    name: str
    card: ExamCard
    rows: pl.DataFrame
    notes: tuple[str, ...] = field(default=())

    @property
    def fingerprint(self) -> str:
        """Identity of the rows, in order."""
        return fingerprint(self.rows.rows())


def exam_names() -> list[str]:
    """The names of the bundled exam cards."""
    return sorted(path.stem for path in (data_dir() / "exams").glob("*.toml"))


def read_exam_card(name: str) -> ExamCard:
    """The card called `name`, or in the TOML file `name`.

    Raises:
        RecipeError: there is none, or it does not validate.
    """
    path = Path(name) if name.endswith(".toml") else data_dir() / "exams" / f"{name}.toml"
    try:
        return ExamCard.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError):
        if name.endswith(".toml"):
            raise RecipeError(f"no exam card {path}; check the path") from None
        raise RecipeError(
            f"no exam called '{name}'; {closest(name, exam_names())}; or give a file with --exam"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"exam card {path} is not valid TOML: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        raise RecipeError(f"exam card {path}: {place + ': ' if place else ''}{message}") from None


def source_of(name: str, card: ExamCard) -> str:
    """Where the rows of the card called `name` are: of a TOML file of the user's what lies beside it, if it does."""
    beside = Path(name).parent / card.source
    return str(beside) if name.endswith(".toml") and card.source and beside.exists() else card.source


def open_exam(
    name: str = "",
    *,
    file: str | None = None,
    path: Path | None = None,
    columns: Mapping[str, str] | None = None,
    holdout: float | None = None,
    everything: bool = False,
) -> Exam:
    """The exam of a card, or of `file` with the card's dimensions.

    The rows are those that the source holds out; of a source that holds out none, and with `everything`, all.
    Of a run's folder the exam is what that run held out. `path` is where the source's files are, `columns` maps prompt,
    response and label to its columns.

    Raises:
        RecipeError, SourceError: the card or its rows cannot be found or read.
        RunError: the run held nothing out, or its source is not what it was.
    """
    card = read_exam_card(name) if name else ExamCard()
    place = file or source_of(name, card)
    if not place:
        raise RecipeError(f"the exam card {name} names no source; add --exam FILE")
    if (Path(place) / MANIFEST).is_file():
        return Exam(Path(name).stem or Path(place).resolve().name, card, _rows(_held_out(Path(place), path)))
    source = open_source(place, path=path, columns={**card.columns, **(columns or {})} or None, holdout=holdout)
    held = source.exam if len(source.exam) and not everything else pl.concat([source.seeds, source.exam])
    notes = [*source.notes]
    if len(source.exam) and everything:
        notes.append(f"{len(source.seeds):,} of these rows are not held out: what was trained on them has seen them")
    if len(source.rejected):
        reasons = source.rejected["reason"].value_counts(sort=True)
        notes.append("rows left out: " + ", ".join(f"{count:,} {reason}" for reason, count in reasons.iter_rows()))
    return Exam(Path(name or place).stem, card, _rows(held), tuple(notes))


def _held_out(run: Path, path: Path | None) -> pl.DataFrame:
    """The exam of a run, from its source."""
    manifest = manifest_of(run)
    if holds_pictures(manifest):
        raise RunError(f"{run} holds pictures, and an exam asks in words; give an exam with --exam FILE")
    source, exam = reopened(manifest, path)
    if source.fingerprint != manifest["source"]["fingerprint"]:
        raise RunError(f"{source.name} is not what it was when {run} was made from it; give an exam with --exam FILE")
    exam = exam.join(source.validation.select("id"), on="id", how="anti")  # what was steered by is no measure
    if exam.is_empty():
        raise RunError(f"{run} held nothing out; give an exam with --exam FILE")
    return exam


def _rows(held: pl.DataFrame) -> pl.DataFrame:
    return held.select("id", "label", pl.col("prompt").alias("query"), pl.col("response").alias("gold"))


def read_answers(file: Path, name: str = "") -> tuple[Exam, dict[str, list[str | None]]]:
    """Answers that exist already: a file with the columns query, gold, perhaps label, and one column a model.

    The exam of its rows, with the dimensions of the card `name`, and each model's answers in their order.

    Raises:
        RecipeError, SourceError: the file cannot be read, or lacks a column.
    """
    card = read_exam_card(name) if name else ExamCard()
    if file.suffix.lower() not in FORMATS:
        raise SourceError(f"{file} has no known format; use one of {', '.join(sorted(FORMATS))}")
    _, tables, _ = open_tables(str(file))
    table = tables[0]
    query, gold = _column(table, file, ("query", "prompt", "question")), _column(table, file, ("gold", "response"))
    label = next((name for name in ("label", "domain") if name in table.columns), None)
    models = [each for each in table.columns if each and each not in (query, gold, label, "id")]
    if not models:
        raise SourceError(f"{file} has no column of answers beside {query} and {gold}; add one a model")
    rows, answers = [], []
    lost = len(table.bad)
    for _, record in table.rows:
        asked, right = _text(record.get(query)), _text(record.get(gold))
        if asked is None:
            lost += 1
            continue
        given = _text(record.get(label)) if label else None
        rows.append((row_id(asked, right, given), given, asked, right))
        answers.append([_text(record.get(model)) for model in models])
    if not rows:
        raise SourceError(f"no row of {file} has a {query}; check the file")
    notes = (f"rows left out: {lost:,} without a question",) if lost else ()
    exam = Exam(Path(name).stem or file.stem, card, pl.DataFrame(rows, schema=ROWS, orient="row"), notes)
    shown = {model: one_line(model) for model in models}  # a drawn name must be without controls, and short
    if len(set(shown.values())) < len(models):
        raise SourceError(f"{file} has two columns with the name {_twice(list(shown.values()))}; rename one")
    return exam, {shown[model]: list(column) for model, column in zip(models, zip(*answers, strict=True), strict=True)}


def _twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _column(table: Table, file: Path, names: tuple[str, ...]) -> str:
    found = next((name for name in names if name in table.columns), None)
    if found is None:
        raise SourceError(f"{file} has no column '{names[0]}'; it has: {', '.join(table.columns)}")
    return found


def _text(value: object) -> str | None:
    return (str(value).strip() or None) if value is not None else None
