"""Past runs: what is under `runs/`, with counts and versions, and a run by its name."""

from __future__ import annotations

import dataclasses
import fcntl
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError
from rich.cells import cell_len
from rich.console import Console

from augment.errors import RunError
from augment.lock import LOCK
from augment.manifest import MANIFEST
from augment.places import RUNS
from augment.registry import closest
from augment.tables import aligned, escaped, one_line, size_of


@dataclass(frozen=True)
class Run:
    """A run folder in a line. Counts are None while there are none.

    `when` is the manifest's time (the folder's while there is none), local; `bytes` is what the folder
    takes on disk; `state` is "finished", "being written by …", "unfinished: …" or "broken: …".
    """

    run: str
    path: str
    state: str
    when: datetime
    bytes: int
    version: int | None = None
    parent: str | None = None
    source: str | None = None
    seeds: int | None = None
    kept: int | None = None
    target: int | None = None
    carried: int | None = None
    rejected: int | None = None
    failed: int | None = None


class _Name(BaseModel):
    name: str


class _Manifest(BaseModel):
    fingerprint: str
    source: _Name
    version: int | None = None
    parent: _Name | None = None


class _Summary(BaseModel):
    seeds: int
    kept: int
    target: int
    rejected: dict[str, dict[str, int]]
    failed: int
    carried: int = 0


def past_runs(where: Path = RUNS) -> list[Run]:
    """Every run folder in `where`, newest first, the unfinished among them; foreign folders are passed by.

    Only manifests and summaries are read.

    Raises:
        RunError: `where` is not a folder (the default need not exist yet).
    """
    if not where.is_dir():
        if where == RUNS and not where.exists():
            return []
        raise RunError(f"{where} is not a folder; --runs names the folder that holds the run folders")
    found = [run for folder in where.iterdir() if (run := _run_of(folder)) is not None]
    return sorted(found, key=lambda run: (run.when, run.run), reverse=True)


def finished_runs(where: Path = RUNS) -> list[Path]:
    """The folders in `where` that have a manifest, newest first."""
    found = sorted(where.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent for path in found]


def run_folder(given: str, where: Path = RUNS) -> Path:
    """The run folder that a user means: a path, or a bare name found in `where`.

    Raises:
        RunError: there is no such folder.
    """
    path = Path(given)
    named = where / given
    inside = len(path.parts) == 1 and path.name not in ("", ".", "..") and named.is_dir()
    if inside and not (path / MANIFEST).is_file():
        return named
    if path.is_dir():
        return path
    known = [each.name for each in finished_runs(where)]
    hint = closest(given, known[:10]) if known else "there is none yet"
    raise RunError(f"no run '{given}', here or under {where}/; {hint}")


def _run_of(folder: Path) -> Run | None:
    """The folder's line, or None where it is not one of ours."""
    path = folder / MANIFEST
    finished = path.is_file()
    locked = (folder / LOCK).is_file()
    if not (finished or locked):
        return None
    writer = _writer(folder)
    try:
        when = (path if finished else folder).stat().st_mtime
    except OSError:
        return None  # it went away meanwhile
    state = f"being written by {writer}" if writer else "finished" if finished else "unfinished: give its command again"
    run = Run(folder.name, str(folder), state, datetime.fromtimestamp(when).astimezone(), _bytes(folder))
    if not finished:
        return run
    try:
        manifest = _Manifest.model_validate_json(path.read_bytes())
        summary = _Summary.model_validate_json((folder / "summary.json").read_bytes())
    except (OSError, ValidationError) as error:
        ours = locked or (folder / "curated").is_dir()
        return dataclasses.replace(run, state=f"broken: {_fault(error)}") if ours else None
    return dataclasses.replace(
        run,
        version=manifest.version or 1,
        parent=manifest.parent.name if manifest.parent else None,
        source=manifest.source.name,
        seeds=summary.seeds,
        kept=summary.kept,
        target=summary.target,
        carried=summary.carried,
        rejected=sum(sum(reasons.values()) for reasons in summary.rejected.values()),
        failed=summary.failed,
    )


def _fault(error: OSError | ValidationError) -> str:
    """Why a manifest or a summary cannot be read."""
    if isinstance(error, OSError):
        return f"{Path(error.filename or '').name}: {error.strerror}"
    first = error.errors(include_url=False)[0]
    name = MANIFEST if error.title == _Manifest.__name__ else "summary.json"
    return ": ".join((name, *(str(each) for each in first["loc"]), first["msg"]))


def _writer(folder: Path) -> str | None:
    """Who holds the folder's lock, or None.

    The holder's note stays behind after a crash, so the lock itself is asked; only where there is a note, so that no
    start of a run ever meets this question.
    """
    try:
        who = (folder / ".holder").read_text()
        lock = os.open(folder / LOCK, os.O_RDONLY)
    except (OSError, UnicodeDecodeError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return who or "another process"
    finally:
        os.close(lock)
    return None


def _bytes(folder: Path) -> int:
    """What the folder's files take on disk, in bytes; files that vanish meanwhile count nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except OSError:
                continue
    return total


def print_runs(runs: list[Run], where: Path, console: Console) -> None:
    """The runs as a table: a line each, or two where the terminal is narrow. Nothing is cut."""

    def say(line: str, style: str = "") -> None:
        console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    if not runs:
        say(f"no runs under {where}/; augment text --source sample makes one")
        return
    counted = [(run, _cells(run)) for run in runs]
    headings = ["run", "version", "parent", "source", "when", "seeds", "kept/target", "rejected", "failed", "size"]
    flat = [
        [escaped(run.run), str(run.version or "-"), escaped(run.parent or "-"), one_line(run.source or "-"), *cells]
        for run, cells in counted
    ]
    lines = aligned(headings, flat, left=5)
    states = ["", *("" if run.state == "finished" else f"  {one_line(run.state)}" for run in runs)]
    if not console.is_terminal or max(map(cell_len, map(str.__add__, lines, states))) <= console.width:
        for place, (line, state) in enumerate(zip(lines, states, strict=True)):
            say(line + state, "" if place else "bold")
        return
    rows = [[f"  {cells[0]}", *cells[1:], one_line(run.source or "-")] for run, cells in counted]
    head, *narrow = aligned(["  when", *headings[5:], "source"], rows)
    say("run", "bold")
    say(head, "bold")
    for run, line in zip(runs, narrow, strict=True):
        origin = f" · version {run.version}" if (run.version or 1) > 1 or run.parent else ""
        origin += f" of {escaped(run.parent)}" if run.parent else ""
        say(f"{escaped(run.run)}{origin}{'' if run.state == 'finished' else ' · ' + one_line(run.state)}")
        say(line)


def _cells(run: Run) -> list[str]:
    def number(count: int | None) -> str:
        return "-" if count is None else f"{count:,}"

    kept = "-" if run.kept is None else f"{run.kept:,}/{run.target:,}"
    when = run.when.strftime("%Y-%m-%d %H:%M")
    return [when, number(run.seeds), kept, number(run.rejected), number(run.failed), size_of(run.bytes)]
