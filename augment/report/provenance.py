"""Where everything comes from: recipes, versions, hashes and the commands that make it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from augment.dataset_card import command_of
from augment.diff.kinship import recipe_changes
from augment.recipe import RECIPES
from augment.report.blocks import Cell, Table
from augment.report.gather import Gathered, Record, Run
from augment.tables import size_of
from finetune.card import command_of as training_command

NONE = "–"


def provenance(gathered: Gathered) -> list[Table]:
    """Tables about the runs, their files, and the records beside them."""
    found = [_runs(gathered.runs), _files(gathered.runs)] if gathered.runs else []
    if len(gathered.runs) > 1:
        found.insert(1, _changes(gathered.runs))
    records = (*gathered.trainings, *gathered.evaluations, *gathered.lifts)
    found += [_records(records)] if records else []
    return [each for each in found if each.rows]


def _runs(runs: Sequence[Run]) -> Table:
    def line(title: str, *keys: str) -> tuple[str, list[Cell]]:
        return title, [_text(_at(run.manifest, *keys)) for run in runs]

    rows = [
        line("source", "source", "name"),
        line("rows of the source", "source", "fingerprint"),
        line("recipe", "fingerprint"),
        line("version", "version"),
        line("grown from", "parent", "name"),
        line("made with augment", "augment"),
        line("drawn with", "made_with"),
        line("pictures", "pictures"),
        ("made by", [_text(_command(run)) for run in runs]),
        ("manifest, SHA-256", [_text(run.digest) for run in runs]),
    ]
    names = dict.fromkeys(key for run in runs for key, value in _recipe(run).items() if value not in (None, {}, []))
    shown = [(f"recipe: {key}", [_text(_recipe(run).get(key)) for run in runs]) for key in names]
    told = [(title, cells) for title, cells in [*rows, *shown] if any(cell.text != NONE for cell in cells)]
    return Table("Runs", ["", *(run.name for run in runs)], told)


def _command(run: Run) -> str | None:
    """The command that makes the run again; None where the recipe is of another version of augment."""
    try:
        kind = RECIPES[run.manifest.get("modality") or "text"]
        return command_of(kind.model_validate({key: value for key, value in _recipe(run).items() if value is not None}))
    except (ValidationError, KeyError):
        return None


def _recipe(run: Run) -> dict[str, Any]:
    recipe = run.manifest.get("recipe")
    return recipe if isinstance(recipe, dict) else {}


def _changes(runs: Sequence[Run]) -> Table:
    """What of the recipe differs between the runs."""
    names: dict[str, None] = {}
    for run in runs[1:]:
        names |= dict.fromkeys(each["key"] for each in recipe_changes(runs[0].manifest, run.manifest))
    rows = []
    for name in names:
        cells = []
        for run in runs:
            value: Any = _recipe(run)
            for key in name.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            cells.append(_text(value))
        rows.append((name, cells))
    return Table("What differs in the recipes", ["", *(run.name for run in runs)], rows)


def _files(runs: Sequence[Run]) -> Table:
    names = dict.fromkeys(name for run in runs for name in run.manifest["files"])
    rows = []
    for name in names:
        files = [run.manifest["files"].get(name) for run in runs]
        rows.append((name, [_text(f"{size_of(each['bytes'])}, sha256 {each['sha256']}" if each else None)
                            for each in files]))  # fmt: skip
    return Table("Files", ["", *(run.name for run in runs)], rows)


def _records(records: Sequence[Record]) -> Table:
    rows = []
    for each in records:
        version = each.data.get("augment") or _at(each.data, "versions", "augment")
        told = [str(each.folder), f"augment {version}" if version else "", *_told(each), _trained_by(each)]
        rows.append((f"{each.kind}: {each.name}", [_text(", ".join(filter(None, told)))]))
    return Table("Trainings, evaluations, lifts", ["", "folder"], rows)


def _told(record: Record) -> list[str]:
    data = record.data
    if record.kind == "training":
        return [f"base {_at(data, 'base', 'name')}", f"rows {_at(data, 'data', 'identity')}"]
    if record.kind == "evaluation":
        return [f"exam {_at(data, 'exam', 'name')}, {_at(data, 'exam', 'fingerprint')}"]
    return [f"seeds {', '.join(map(str, data.get('seeds') or []))}"]


def _trained_by(record: Record) -> str:
    recipe = record.data.get("recipe")
    if record.kind != "training" or not isinstance(recipe, dict):
        return ""
    try:
        return training_command(recipe)
    except (KeyError, AttributeError, TypeError):  # a recipe of another version
        return ""


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> Cell:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    elif isinstance(value, dict):
        value = ", ".join(f"{key}={each}" for key, each in value.items())
    return Cell(NONE if value in (None, "") else str(value), tone="text")
