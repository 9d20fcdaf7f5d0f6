"""What can be checked of a run: its files, its rows or pictures, and how these were made."""

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


def verified(run: Path, redraw: str | None = None, rescore: str | None = None) -> Verified:
    """Check a run folder; `redraw` says how many pictures to make again: a number, all, none, or None for some of
    those that need no engine. `rescore` says how many candidates of text to score again: a number, all or none.

    Raises:
        RunError: no finished run.
        RecipeError: `redraw` or `rescore` is no number, or the run has no pictures, or no texts.
        EngineError: pictures are to be drawn again, and the engine cannot be used.
    """
    from augment.verify.files import check_files

    manifest = manifest_of(run)
    most, scored = _most(redraw, "--redraw", "pictures"), _most(rescore, "--rescore", "candidates")
    if not holds_pictures(manifest):
        if redraw not in (None, "none", "0"):
            raise RecipeError(f"--redraw {redraw} is for runs of pictures, and {run} holds text; leave it out")
        return Verified(run, (check_files(run, manifest), *_texts(run, manifest, scored or 0)))
    if scored:
        raise RecipeError(f"--rescore {rescore} is for runs of text, and {run} holds pictures; leave it out")
    from augment.verify.pictures import check_pictures
    from augment.verify.redraw import check_redrawn

    found = check_pictures(run, manifest)
    checks = [check_files(run, manifest), found]
    notes: tuple[str, ...] = ()
    if most != 0:
        redrawn, notes = check_redrawn(run, manifest, most)
        checks.append(redrawn)
    return Verified(run, tuple(checks), notes)


def _texts(run: Path, manifest: dict[str, Any], scored: int) -> list[Check]:
    """The checks of a run of texts besides its files."""
    from augment.lineage import ROWS
    from augment.verify.rescored import check_rescored
    from augment.verify.seeds import check_seeds, counted_in, rows_of
    from augment.verify.texts import check_rows

    rows, why = rows_of(run)
    if rows is None:
        broken = Check("rows", "the rows cannot be read, so nothing was made again")
        broken.blame(ROWS, why)
        return [broken]
    if "columns" in manifest:
        return [Check("rows", "sifted from a file: nothing was generated")]
    seeds, known = check_seeds(run, manifest, rows)
    made = check_rows(manifest, rows, known)
    if (kept := counted_in(run, "kept")) not in (None, made.counts["rows"]):
        made.blame(ROWS, f"has {counted(made.counts['rows'], 'generated row')}, and summary.json counts {kept:,}")
    checks = [seeds, made]
    return [*checks, check_rescored(run, scored)] if scored else checks


def _most(value: str | None, flag: str, what: str) -> int | None:
    """How many to take at most: None where the user does not say, -1 for all of them."""
    named: dict[str | None, int | None] = {None: None, "all": -1, "none": 0}
    if value in named:
        return named[value]
    if value is not None and value.isascii() and value.isdigit():
        return int(value)
    raise RecipeError(f"{flag} '{value}' is no number of {what}; write 50, all or none")


def counted(count: int, one: str, many: Callable[[str], str] = lambda word: f"{word}s") -> str:
    """A number with its noun."""
    return f"{count:,} {one if count == 1 else many(one)}"
