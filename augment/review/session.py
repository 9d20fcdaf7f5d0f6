"""A reviewer's sitting: the sampled rows, what was decided about them, and the rates so far. Knows nothing of HTTP."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from augment.diff.marks import Piece, pieces
from augment.errors import AugmentError, RunError
from augment.lineage import parent_of
from augment.manifest import manifest_of
from augment.review import decisions, rates, sample
from augment.review.decisions import DECISIONS, Decision
from augment.review.guard import Guard
from augment.review.verdicts import BARRED, current, resolved
from augment.sources import CELL_LIMIT

if TYPE_CHECKING:
    from augment.review.decisions import Judgement

VERDICTS = ("accept", "reject", "edit", "undo")
NOTE_LIMIT = 2000
ALIKE = 0.3
"""The share of a text that must be its seed's for the differences to be marked; below, it was written anew."""


class Refused(AugmentError):
    """A decision that cannot stand; nothing was stored."""


@dataclass(frozen=True)
class Desk:
    """A run that is reviewed: what there is to look at, and everybody's decisions about it.

    `done` are the rows that were decided about in the versions before, which nobody is shown again.
    """

    folder: Path
    run: str
    done: frozenset[str]
    population: sample.Population

    @classmethod
    def of(cls, folder: Path) -> Desk:
        """The desk of a finished run.

        Raises:
            RunError: it is none, or cannot be read.
        """
        run = manifest_of(folder)["fingerprint"]
        before = resolved(one for one in parent_of(folder).verdicts.decisions if one.run != run)
        return cls(folder, run, frozenset(before), sample.population(folder, before))

    def made(self) -> list[Decision]:
        """Everybody's decisions about this run, in order of time."""
        return decisions.in_order(decisions.read(self.folder / DECISIONS, self.run)[0])

    def standing(self, made: list[Decision] | None = None) -> dict[str, Any]:
        """The rates so far, over all reviewers, and how far they agree."""
        made = self.made() if made is None else made
        return {"rates": rates.rates(self.population, resolved(made)), "agreement": rates.agreement(made)}


@dataclass
class Session:
    """One reviewer at a desk. `order` are the sampled rows' ids, `rows` what the run holds of them.

    `seeds` are their parents, and `likes` the earlier rows that some were dropped for being like.
    """

    desk: Desk
    reviewer: str
    order: list[str]
    rows: dict[str, dict[str, Any]]
    seeds: dict[str, dict[str, Any]]
    likes: dict[str, dict[str, Any]]
    guard: Guard | None
    writing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, desk: Desk, reviewer: str, sizes: tuple[int, int], seed: int, guard: Guard | None) -> Session:
        """The sitting of `reviewer` over so many kept and rejected rows.

        Raises:
            RunError: the run cannot be read.
        """
        folder, done = desk.folder, desk.done
        kept = sample.kept_sample(folder, sizes[0], seed, done)
        rejected = sample.rejected_sample(folder, sizes[1], seed, desk.population.rejected, done)
        rows = {**sample.rows_by_id(folder, rejected, kept=False), **sample.rows_by_id(folder, kept, kept=True)}
        parents = [parent for row in rows.values() for parent in row["parents"] or []]
        seeds = sample.rows_by_id(folder, parents, kept=True)
        copied = [name for row in rows.values() if (name := _like(row)) is not None]
        likes = {
            id: {name: row[name] for name in ("id", "prompt", "response")}
            for id, row in sample.rows_by_id(folder, copied, kept=True).items()
        }
        return cls(desk, reviewer, _merged(kept, rejected), rows, seeds, likes, guard)

    def overview(self) -> dict[str, Any]:
        """What the page begins with: the rows in order, each with what this reviewer decided."""
        made = self.desk.made()
        mine = current(one for one in made if one.reviewer == self.reviewer)
        listed = [
            {
                "id": id,
                "kept": self.rows[id].get("dropped_by") is None,
                "verdict": mine[id][self.reviewer].verdict if id in mine else None,
            }
            for id in self.order
        ]
        trail = [one.row for one in made if one.reviewer == self.reviewer and one.row in mine and one.row in self.rows]
        return {
            "run": self.desk.folder.resolve().name,
            "reviewer": self.reviewer,
            "rows": listed,
            "trail": list(dict.fromkeys(reversed(trail)))[::-1],
            **self.desk.standing(made),
        }

    def shown(self, id: str) -> dict[str, Any]:
        """A row as it is shown: its texts, how they differ from its seed's, and this reviewer's own decision.

        What others decided is told once the reviewer has decided too, so that nobody is led.

        Raises:
            Refused: no such row in the sample.
        """
        row = self._row(id)
        seed = self.seeds.get((row["parents"] or [""])[0])
        standing = current(self.desk.made()).get(id, {})
        mine = standing.get(self.reviewer)
        edited = mine if mine is not None and mine.verdict == "edit" else None
        fields = []
        for name in ("prompt", "response"):
            new = getattr(edited, name) if edited else row[name]
            old = seed[name] if seed else None
            if new is None and old is None:
                continue
            fields.append(
                {
                    "name": name,
                    "seed": old,
                    "text": new,
                    "original": row[name],
                    "pieces": _alike(old or "", new or "") if seed else None,
                    "same": seed is not None and old == new,
                }
            )
        return {
            "id": id,
            "kept": row.get("dropped_by") is None,
            "fields": fields,
            "label": row["label"],
            "seed_label": seed["label"] if seed else None,
            "generator": row["generator"],
            "variant": row["variant"],
            "model": row["model"] if row["engine"] != row["generator"] else None,  # else it is a hash of our own code
            "dropped_by": row.get("dropped_by"),
            "reason": row.get("reason"),
            "detail": row.get("detail"),
            "like": self.likes.get(_like(row) or ""),
            "scores": sample.scores(row),
            "verdict": mine.verdict if mine else None,
            "note": mine.note if mine else None,
            "others": [
                {"reviewer": name, "verdict": one.verdict, "note": one.note}
                for name, one in sorted(standing.items())
                if mine is not None and name != self.reviewer
            ],
        }

    def decide(
        self, id: str, verdict: str, prompt: str | None = None, response: str | None = None, note: str | None = None
    ) -> None:
        """Store a decision; when this returns it is on the disk.

        Raises:
            Refused: it cannot stand: an unknown row or verdict, a blank or over-long text, a copy of the exam.
            RunError: it cannot be stored.
        """
        row = self._row(id)
        if verdict not in VERDICTS:
            raise Refused(f"no verdict '{verdict}'; known: {', '.join(VERDICTS)}")
        note = (note or "").strip() or None
        if note is not None and len(note) > NOTE_LIMIT:
            raise Refused(f"the note has {len(note):,} characters; {NOTE_LIMIT:,} at most")
        edited: dict[str, str | None] = {}
        if verdict == "edit":
            edited = {"prompt": _text(row, "prompt", prompt), "response": _text(row, "response", response)}
            if edited == {name: row[name] for name in edited}:
                raise Refused("nothing was changed; accept the row, or change its text")
        if verdict in ("accept", "edit"):
            self._hold_against_exam({**row, **edited}, verdict)
        with self.writing:
            mine = [one.time for one in self.desk.made() if one.row == id and one.reviewer == self.reviewer]
            time = decisions.now(after=max(mine, default=""))
            judgement = cast("Judgement", verdict)
            decision = Decision(
                id, judgement, self.reviewer, time, self.desk.run, sample.seen(row), **edited, note=note
            )
            decisions.append(self.desk.folder, decision)

    def _hold_against_exam(self, row: dict[str, Any], verdict: str) -> None:
        if row.get("dropped_by") in BARRED:
            raise Refused(f"this row was dropped by {row['dropped_by']} ({row['reason']}) and cannot be published")
        kept_as_it_is = verdict == "accept" and row.get("dropped_by") is None
        if self.guard is not None and not kept_as_it_is and (why := self.guard.refusal(row)):
            raise Refused(f"this text {why}, so it can never be published; reject it, or write it otherwise")

    def _row(self, id: str) -> dict[str, Any]:
        if id not in self.rows:
            raise Refused(f"no row '{id}' in the sample")
        return self.rows[id]


def _like(row: dict[str, Any]) -> str | None:
    """The id of the earlier row that a filter took this one for a copy of."""
    found: str | None = row.get(f"{row.get('dropped_by')}_of")
    return found


def _alike(old: str, new: str) -> list[Piece] | None:
    """Where the texts differ, or None where so little is common that marks would say nothing."""
    found = pieces(old, new)
    common = sum(len(text) for kind, text in found if kind == "=")
    return found if common >= ALIKE * max(len(old), len(new)) else None


def _text(row: dict[str, Any], name: str, given: str | None) -> str | None:
    """An edit's text, trimmed as every cell of a source is; a text that the row lacks stays lacking."""
    if row[name] is None:
        return None
    text = (row[name] if given is None else given).strip()
    if not text:
        raise Refused(f"the {name} is blank; reject the row instead")
    if len(text) > CELL_LIMIT:
        raise Refused(f"the {name} has {len(text):,} characters; {CELL_LIMIT:,} at most")
    return text


def _merged(kept: list[str], rejected: list[str]) -> list[str]:
    """Both lists as one, evenly mixed, each in its order."""
    places = [
        ((place + 0.5) / len(ids), kind, id)
        for kind, ids in enumerate((kept, rejected))
        for place, id in enumerate(ids)
    ]
    return [id for _, _, id in sorted(places)]


def open_guard(folder: Path, path: Path | None) -> tuple[Guard | None, str | None]:
    """The exam that accepted and edited rows are held against, or None and why it cannot be read now."""
    import orjson

    try:
        return Guard.of(manifest_of(folder), orjson.loads((folder / "summary.json").read_bytes()), path), None
    except (RunError, OSError, orjson.JSONDecodeError) as error:
        return None, str(error)
