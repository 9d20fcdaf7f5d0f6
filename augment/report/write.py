"""Folders to a page on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.errors import RunError
from augment.places import RUNS
from augment.report import counts
from augment.report.blocks import Section
from augment.report.data import data_charts
from augment.report.dropped import dropped
from augment.report.evaluation import evaluation
from augment.report.gather import Gathered, gather
from augment.report.lift import lift
from augment.report.page import Page, render
from augment.report.provenance import provenance
from augment.report.rows import pack
from augment.report.sheets import sheets
from augment.report.training import training
from augment.report.variety import variety

NAME = "report.html"
_OURS = b'<meta name="generator" content="augment '


@dataclass(frozen=True)
class Written:
    """A page on disk: its size in bytes, how many of the runs' rows are in it, and what could not be shown."""

    path: str
    bytes: int
    rows: int
    rows_shown: int
    notes: tuple[str, ...]


def write_report(given: Sequence[str], out: Path | None = None, where: Path = RUNS) -> Written:
    """Write the page about the named folders to `out` (`report.html` in the folder, or here for several).

    Raises:
        RunError: a folder holds nothing to report on, its rows cannot be read, or `out` cannot be written.
    """
    gathered = gather(given, where)
    target = out or _default(gathered)
    _refuse(target)
    packed = pack(gathered.runs)
    sections, further = _sections(gathered)
    notes = (*gathered.notes, *further)
    page = Page(_title(gathered), "", sections, packed, notes)
    written = render(page).encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.tmp")
        beside.write_bytes(written)
        beside.replace(target)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror}; choose another --out") from None
    rows, shown = sum(each.rows for each in packed), sum(each.shown for each in packed)
    return Written(str(target), len(written), rows, shown, notes)


def _sections(gathered: Gathered) -> tuple[list[Section], list[str]]:
    """The page's parts, and notes on what could not be shown."""
    runs = gathered.runs
    found: list[Section] = []
    notes: list[str] = []
    if runs:
        tables = [counts.funnel(runs), counts.reasons(runs), counts.generators(runs), counts.cost(runs)]
        tiles = [(run.name, counts.tiles(run)) for run in runs]
        found.append(Section("happened", "What happened", [each for each in tables if each.rows], tiles))
        if shown := sheets(runs):
            found.append(Section("pictures", "Pictures", shown))
        varied, notes = variety(runs)
        found.append(Section("data", "The data", [*data_charts(runs), *varied]))
        if (examples := dropped(runs)) is not None:
            sieves = [counts.sieve(run, len(runs) > 1) for run in runs]
            found.append(Section("dropped", "Dropped", [*(each for each in sieves if each.rows), examples]))
        found.append(Section("rows", "Rows"))
    records = (training(gathered.trainings), evaluation(gathered.evaluations), lift(gathered.lifts))
    found += [each for each in records if each is not None]
    found.append(Section("provenance", "Provenance", provenance(gathered)))
    return found, notes


def _title(gathered: Gathered) -> str:
    return " · ".join(each.name for each in gathered.subjects)


def _default(gathered: Gathered) -> Path:
    named = gathered.subjects
    return named[0].folder / NAME if len(named) == 1 else Path(NAME)


def _refuse(target: Path) -> None:
    """A report is written over, nothing else is."""
    if target.is_dir():
        raise RunError(f"--out {target} is a folder; give a file, for example {target / NAME}")
    if target.is_file():
        with target.open("rb") as file:
            if _OURS not in file.read(4096):
                raise RunError(f"--out {target} is there and is no report of ours; choose another --out")
