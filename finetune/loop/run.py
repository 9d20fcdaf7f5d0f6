"""loop(planned): source, variants, adapters, exam, report; round after round, each stage where it was left.

The folder: base/ (where the recipe makes one), image/ or paired/, validation.jsonl, a round-N/ for each round with its
run text/, control.jsonl, adapters/, validation/ and exam/; README.md, loop.json and rounds.svg compare the rounds, and
report.html shows every row; manifest.json is written last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment import __version__
from augment.errors import RunError
from augment.lock import HOLDER, LOCK, holding
from augment.manifest import MANIFEST, publish, put
from augment.pipeline import Directly, Stage
from finetune.loop.card import command, loop_card
from finetune.loop.compared import rounds_apart
from finetune.loop.figure import draw
from finetune.loop.halt import Halt
from finetune.loop.planned import PICTURED, Planned
from finetune.loop.rounds import VALIDATION, Rounds
from finetune.loop.show import Shown

RECORD = "loop.json"
PAGE = "report.html"


@dataclass(frozen=True)
class Looped:
    """What a loop came to. `record` is what loop.json holds; `failed` are the stages that could not be done, and why.

    With none failed the loop is finished, and the same call does nothing again. `away` tells that a server refused or
    did not answer, so that the same call may come further later.
    """

    path: Path
    record: dict[str, Any]
    failed: tuple[tuple[str, str], ...]
    away: bool = False


def loop(
    planned: Planned, *, stage: Stage | None = None, shown: Shown | None = None, halt: Halt | None = None
) -> Looped:
    """Run every stage that is not there already, compare the rounds, and write the report.

    manifest.json goes first and comes last: without it the report may tell of what was there before.

    `stage` runs named stretches of the work, `shown` is told of them, `halt` ends the one under way. A stage that
    fails leaves what does not hang on it to be done.

    Raises:
        RunError: the folder is held by another process or holds something else.
        Interrupted: `halt` was called; the same call goes on.
    """
    shown = shown or Shown()
    with holding(planned.out, _refuse_foreign):
        work = Rounds(planned, stage or Directly(), shown, halt or Halt())
        (planned.out / MANIFEST).unlink(missing_ok=True)
        _write_validation(planned)
        rounds: list[dict[str, Any]] = []
        based = work.base()  # which may also be who writes of pictures
        pictures = work.pictures()
        if based:
            rounds = list(work.every())
        record = _record(planned, rounds, pictures)
        failed = tuple(work.failed)
        written: dict[str, Any] = {
            RECORD: json.dumps(record, ensure_ascii=False, indent=1).encode() + b"\n",
            "README.md": loop_card(record, failed, command(planned.file, planned.words)).encode(),
            "rounds.svg": draw(record).encode(),
        }
        same = _bytes(planned.out / RECORD) == written[RECORD] and (planned.out / PAGE).is_file()
        if not same:
            (planned.out / PAGE).unlink(missing_ok=True)
        publish(planned.out, written, {"kind": "loop", "augment": __version__, "finished": not failed})
        if rounds and not failed and not same:
            work.staged("report", lambda: _page(planned, rounds), lambda done: (str(done), False))
        if work.failed:
            (planned.out / MANIFEST).unlink()
        return Looped(planned.out, record, tuple(work.failed), work.away)


def _refuse_foreign(out: Path) -> None:
    """Nothing is written over that no loop wrote; a lock is in the folders of other verbs too."""
    names = {each.name for each in out.iterdir()} - {LOCK, HOLDER}
    if not names or _kind(out / RECORD) == "loop":
        return
    begun = {"base", VALIDATION, *(f".{name}.part" for name in (VALIDATION, RECORD)), *PICTURED}
    strange = [each for each in names - begun if not each.startswith(("round-", *(f"{one}-" for one in PICTURED)))]
    if strange or not (out / LOCK).exists():
        raise RunError(f"{out} is not empty and no loop's folder; choose another --out")


def _kind(record: Path) -> Any:
    try:
        return json.loads(record.read_text("utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_validation(planned: Planned) -> None:
    """The validation rows as a file that `augment evaluate --exam` reads."""
    if planned.validation.is_empty():
        (planned.out / VALIDATION).unlink(missing_ok=True)
        return
    put(planned.out / VALIDATION, planned.validation.select("prompt", "response", "label").write_ndjson().encode())


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _page(planned: Planned, rounds: list[dict[str, Any]]) -> Path:
    """One page of all rounds: every row, what was dropped, trainings and evaluations."""
    from augment.report.write import write_report

    folders = [planned.out / each["run"]["path"] for each in rounds]
    for each in rounds:
        folders += [planned.round(each["round"]) / "adapters" / told["name"] for told in each["adapters"]]
        folders += [planned.out / each["exam"]["path"]] if each["exam"] else []
    return Path(write_report([str(each) for each in folders], planned.out / PAGE).path)


def _record(planned: Planned, rounds: list[dict[str, Any]], pictures: dict[str, Any]) -> dict[str, Any]:
    labels = planned.validation["label"].drop_nulls()
    return {
        "kind": "loop",
        "augment": __version__,
        "name": planned.recipe.name or planned.first.name,
        "recipe": planned.recipe.model_dump(mode="json", exclude={"out", "name"}, exclude_unset=True),
        "rows": {
            "source": planned.first.source.name,
            "seeds": len(planned.seeds),
            "validation": len(planned.validation),
            "exam": len(planned.exam),
            "labels": labels.n_unique() if len(labels) else 0,
        },
        "rounds": rounds,
        "rounds_apart": rounds_apart(planned.out, rounds),
        "pictures": pictures,
    }
