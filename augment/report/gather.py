"""What a report is about: the folders that were named, and what belongs to the runs among them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from augment.errors import RunError
from augment.lineage import ROWS
from augment.manifest import MANIFEST, digest_of, holds_pictures, manifest_of
from augment.places import RUNS
from augment.runs import run_folder

REJECTED = "rejected.parquet"
KINDS = {"training": "adapters", "evaluation": "evaluations", "lift": "lifts"}
"""The kinds of record beside runs, `KIND.json` in a folder of its own, and where they are looked for."""


@dataclass(frozen=True)
class Run:
    """A published run: its manifest and that file's SHA-256, and its summary."""

    name: str
    folder: Path
    manifest: dict[str, Any]
    digest: str
    summary: dict[str, Any]

    @property
    def pictured(self) -> bool:
        """Whether its rows are pictures."""
        return holds_pictures(self.manifest)


@dataclass(frozen=True)
class Record:
    """A training, an evaluation or a lift: what its JSON file holds."""

    name: str
    folder: Path
    kind: str
    data: dict[str, Any]


Named = TypeVar("Named", Run, Record)


@dataclass(frozen=True)
class Gathered:
    """Everything a page is made of. `notes` say what was found and could not be used."""

    runs: tuple[Run, ...]
    trainings: tuple[Record, ...]
    evaluations: tuple[Record, ...]
    lifts: tuple[Record, ...]
    notes: tuple[str, ...]

    @property
    def subjects(self) -> tuple[Run | Record, ...]:
        """What the page is named after: the runs, or what there is without one."""
        return self.runs or (*self.trainings, *self.evaluations, *self.lifts)


def gather(given: Sequence[str], where: Path = RUNS) -> Gathered:
    """The folders that are named, and what belongs to the runs among them under the current directory.

    A training belongs to the run whose manifest it names, an evaluation to the trainings whose adapters it asked, a
    lift to the run that it names.

    Raises:
        RunError: a named folder is none of these, is not there, or cannot be read.
    """
    folders = list({run_folder(each, where).resolve(): run_folder(each, where) for each in given}.values())
    named: dict[str, list[Record]] = {kind: [] for kind in KINDS}
    runs: list[Run] = []
    notes: list[str] = []
    for folder in folders:
        kind = next((kind for kind in KINDS if (folder / f"{kind}.json").is_file()), None)
        if kind is not None:
            named[kind].append(_record(folder, kind))
        else:
            runs.append(_run(folder, notes))
    found = {kind: _found(kind, notes) for kind in KINDS} if runs else {kind: [] for kind in KINDS}
    trainings = _merged(named["training"], [each for each in found["training"] if _trained_on(each, runs)])
    asked = {each.folder.resolve() for each in trainings}
    evaluations = _merged(named["evaluation"], [each for each in found["evaluation"] if _asked(each) & asked])
    lifts = _merged(named["lift"], [each for each in found["lift"] if _lifted(each, runs)])
    return Gathered(_distinct(runs), trainings, evaluations, lifts, tuple(notes))


def _run(folder: Path, notes: list[str]) -> Run:
    if not (folder / MANIFEST).is_file():
        kinds = ", ".join(f"{kind}.json" for kind in KINDS)
        raise RunError(f"{folder} holds no finished run and no record (no manifest.json, {kinds}); give a run folder")
    manifest = manifest_of(folder)
    for name in (ROWS, REJECTED):
        path = folder / name
        if not path.is_file():
            raise RunError(f"{path} is missing, and the manifest beside it says it is there; make the run again")
        if digest_of(path) != manifest["files"].get(name):
            notes.append(f"{path} is not the file that its manifest names; what is shown is the file as it is now")
    summary = _read(folder / "summary.json")
    return Run(folder.resolve().name, folder, manifest, digest_of(folder / MANIFEST)["sha256"], summary)


def _record(folder: Path, kind: str) -> Record:
    return Record(folder.resolve().name, folder, kind, _read(folder / f"{kind}.json"))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; give another folder") from None
    except orjson.JSONDecodeError as error:
        raise RunError(f"{path} is no JSON ({error}); make it again") from None
    if not isinstance(found, dict):
        raise RunError(f"{path} was not written by augment; give another folder")
    return found


def _found(kind: str, notes: list[str]) -> list[Record]:
    """What lies under adapters/, evaluations/ or lifts/ here; one that cannot be read is told in the notes."""
    records = []
    for path in sorted(Path(KINDS[kind]).glob(f"*/{kind}.json")):
        try:
            records.append(_record(path.parent, kind))
        except RunError as error:
            notes.append(f"left out: {error}")
    return records


def _merged(named: list[Record], found: list[Record]) -> tuple[Record, ...]:
    return _distinct(list({each.folder.resolve(): each for each in (*found, *named)}.values()))


def _distinct(named: Sequence[Named]) -> tuple[Named, ...]:
    """The same, those of one name told apart by their paths."""
    names = Counter(each.name for each in named)
    return tuple(each if names[each.name] == 1 else dataclasses.replace(each, name=str(each.folder)) for each in named)


def _trained_on(training: Record, runs: Sequence[Run]) -> bool:
    data = training.data.get("data")
    return isinstance(data, dict) and data.get("manifest") in {run.digest for run in runs}


def _asked(evaluation: Record) -> set[Path]:
    """The adapters' folders that an evaluation names, as seen from here and from its own folder."""
    models = evaluation.data.get("models")
    found = set()
    for model in models if isinstance(models, list) else ():
        adapter = model.get("adapter") if isinstance(model, dict) else None
        if isinstance(adapter, str) and adapter:
            found |= {Path(adapter).resolve(), (evaluation.folder / adapter).resolve()}
            found |= {each.parent for each in found if each.name == "plain"}
    return found


def _lifted(lift: Record, runs: Sequence[Run]) -> bool:
    run = lift.data.get("run")
    if not isinstance(run, dict):
        return False
    if run.get("manifest"):
        return run["manifest"] in {each.digest for each in runs}
    path = run.get("path")
    return isinstance(path, str) and Path(path).resolve() in {each.folder.resolve() for each in runs}
