"""A lift from the run's folder to the lift's: rows read, every arm measured, everything written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.lift.arms import Design
from finetune.lift.folder import WORK, folder_of, publish
from finetune.lift.measure import Task, measure
from finetune.lift.record import identity_of, record_of, seeds_of

LIFTS = Path("lifts")


@dataclass(frozen=True)
class Lifted:
    """A finished lift. `record` is what lift.json holds; `already` tells that it was there before."""

    path: Path
    record: dict[str, Any]
    already: bool = False


def lift(
    design: Design,
    name: str,
    task: Task,
    *,
    seeds: int,
    base: int = 0,
    command: dict[str, Any],
    out: Path | None = None,
    overwrite: bool = False,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> Lifted:
    """Measure `task`, called `name`, over `seeds` draws that derive from `base`, and write the lift's folder.

    `command` are the flags that measure it again, for the card.

    Raises:
        RunError: the folder is held or holds something else, or there is nothing to test on.
    """
    chosen = seeds_of(seeds, base)
    identity = identity_of(design, name, task, chosen)
    folder = out or LIFTS / f"{design.pool.run.resolve().name}-{name}-{identity[:8]}"
    with folder_of(folder, identity, overwrite) as done:
        if done is not None:
            return Lifted(folder, done, already=True)
        measured = measure(design, task, chosen, folder / WORK / identity[:8], tell)
        record = record_of(design, name, task, chosen, measured) | {"command": command}
        publish(folder, record, measured.frame)
        return Lifted(folder, record)
