"""What can be checked of a run: its files, its pictures, and how these were made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augment.errors import RecipeError
from augment.manifest import holds_pictures, manifest_of

Fault = tuple[str, str]
"""Where, and what is wrong there."""


@dataclass
class Check:
    """One check: what it is called, one line on what came out, the counts behind that, and what is wrong."""

    name: str
    said: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def blame(self, place: str, what: str) -> None:
        """Note a fault."""
        self.faults.append((place, what))


@dataclass(frozen=True)
class Verified:
    """What was found of a run; `notes` are about what could not be compared for sure."""

    run: Path
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether nothing differs and nothing is missing."""
        return not any(check.faults for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        told = [
            {
                "check": check.name,
                "good": not check.faults,
                "said": check.said,
                **check.counts,
                "faults": [{"at": place, "what": what} for place, what in check.faults],
            }
            for check in self.checks
        ]
        return {"run": str(self.run), "good": self.good, "checks": told, "notes": list(self.notes)}


def verified(run: Path, redraw: str | None = None) -> Verified:
    """Check a run folder; `redraw` says how many pictures to make again: a number, all, none, or None for some of
    those that need no engine.

    Raises:
        RunError: no finished run.
        RecipeError: `redraw` is no number, or the run has no pictures.
        EngineError: pictures are to be drawn again, and the engine cannot be used.
    """
    from augment.verify.files import check_files

    manifest = manifest_of(run)
    most = _most(redraw)
    if not holds_pictures(manifest):
        if redraw not in (None, "none", "0"):
            raise RecipeError(f"--redraw {redraw} is for runs of pictures, and {run} holds text; leave it out")
        return Verified(run, (check_files(run, manifest),))
    from augment.verify.pictures import check_pictures
    from augment.verify.redraw import check_redrawn

    found = check_pictures(run, manifest)
    checks = [check_files(run, manifest), found]
    notes: tuple[str, ...] = ()
    if most != 0:
        redrawn, notes = check_redrawn(run, manifest, most)
        checks.append(redrawn)
    return Verified(run, tuple(checks), notes)


def _most(redraw: str | None) -> int | None:
    """How many pictures to make again at most: None where the user does not say, -1 for all of them."""
    named: dict[str | None, int | None] = {None: None, "all": -1, "none": 0}
    if redraw in named:
        return named[redraw]
    if redraw is not None and redraw.isascii() and redraw.isdigit():
        return int(redraw)
    raise RecipeError(f"--redraw '{redraw}' is no number of pictures; write 50, all or none")


def counted(count: int, one: str, many: Callable[[str], str] = lambda word: f"{word}s") -> str:
    """A number with its noun."""
    return f"{count:,} {one if count == 1 else many(one)}"
