"""Folders to a page on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.errors import RunError
from augment.places import RUNS
from augment.report import counts
from augment.report.blocks import Section
from augment.report.gather import Gathered, gather
from augment.report.page import Page, render
from augment.report.rows import pack

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
    sections = _sections(gathered)
    page = Page(_title(gathered), "", sections, packed, gathered.notes)
    written = render(page).encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.tmp")
        beside.write_bytes(written)
        beside.replace(target)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror}; choose another --out") from None
    rows, shown = sum(each.rows for each in packed), sum(each.shown for each in packed)
    return Written(str(target), len(written), rows, shown, gathered.notes)


def _sections(gathered: Gathered) -> list[Section]:
    runs = gathered.runs
    found = []
    if runs:
        tables = [counts.funnel(runs), counts.reasons(runs), counts.generators(runs), counts.cost(runs)]
        found.append(
            Section(
                "happened",
                "What happened",
                [each for each in tables if each.rows],
                [(run.name, counts.tiles(run)) for run in runs],
            )
        )
        found.append(Section("rows", "Rows"))
    return found


def _title(gathered: Gathered) -> str:
    named = gathered.runs or (*gathered.trainings, *gathered.evaluations, *gathered.lifts)
    return " · ".join(each.name for each in named)


def _default(gathered: Gathered) -> Path:
    named = gathered.runs or (*gathered.trainings, *gathered.evaluations, *gathered.lifts)
    return named[0].folder / NAME if len(named) == 1 else Path(NAME)


def _refuse(target: Path) -> None:
    """A report is written over, nothing else is."""
    if target.is_dir():
        raise RunError(f"--out {target} is a folder; give a file, for example {target / NAME}")
    if target.is_file():
        with target.open("rb") as file:
            if _OURS not in file.read(4096):
                raise RunError(f"--out {target} is there and is no report of ours; choose another --out")
