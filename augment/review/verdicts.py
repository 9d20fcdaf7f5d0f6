"""Decisions to verdicts, and verdicts to rows: what a version of a dataset owes to the people who looked at it.

A reviewer's last decision about a row counts. Where reviewers differ, reject wins over edit and edit over accept: a row
that anybody holds to be wrong stays out until they agree. Among several edits the latest counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from augment.records import REVIEWED, SCHEMA, VERDICT, fingerprint, variant_id
from augment.review.decisions import DECISIONS, REVIEWED_FILE, Decision, in_order, read
from filters.fold import fold

REVIEW = "review"
"""`dropped_by` of a row that people keep out."""
REJECTED = "rejected by a reviewer"
AGAIN = "a reviewer rejected this text"
"""The reasons: the row itself was rejected, or one of the same parent with the same text."""

BARRED = frozenset({"contamination", "engine", "reply", "source", REVIEW})
"""Rows dropped by these are not shown: a copy of the exam, or no row at all; the last were shown already."""

ROW = {**SCHEMA, **VERDICT, **REVIEWED}
_STRENGTH = {"accept": 0, "edit": 1, "reject": 2}


@dataclass(frozen=True)
class Verdict:
    """What counts about a row: the strongest of its reviewers' decisions, and who decided (`by`, in order of names)."""

    decision: Decision
    by: tuple[str, ...]
    agreed: bool

    @property
    def verdict(self) -> str:
        """ "accept", "edit" or "reject"."""
        return self.decision.verdict


def current(decisions: Iterable[Decision]) -> dict[str, dict[str, Decision]]:
    """Each row's decisions that stand, by reviewer: the last of each, unless it takes back those before."""
    last = {(each.row, each.reviewer): each for each in decisions}
    found: dict[str, dict[str, Decision]] = defaultdict(dict)
    for (row, reviewer), decision in last.items():
        if decision.verdict != "undo":
            found[row][reviewer] = decision
    return dict(found)


def resolved(decisions: Iterable[Decision]) -> dict[str, Verdict]:
    """Each decided row's verdict; `decisions` are in order of time."""
    found = {}
    for row, each in current(decisions).items():
        strongest = max(each.values(), key=lambda decision: (_STRENGTH[decision.verdict], decision.time))
        alike = {(one.verdict, one.prompt, one.response) for one in each.values()}
        found[row] = Verdict(strongest, tuple(sorted(each)), len(alike) == 1)
    return found


@dataclass(frozen=True)
class Verdicts:
    """All decisions that a version has to heed, in order of time; `pending` were made since its parent was written."""

    decisions: tuple[Decision, ...] = ()
    pending: tuple[Decision, ...] = ()

    @classmethod
    def of(cls, folders: Sequence[tuple[Path, str]]) -> Verdicts:
        """Those of a run and of the versions that it grew from: (folder, fingerprint), the run itself first.

        Raises:
            RunError: a file of decisions cannot be read.
        """
        inherited = read(folders[0][0] / REVIEWED_FILE)[0]
        made = [one for folder, run in folders for one in read(folder / DECISIONS, run)[0]]
        heeded = {decision.line() for decision in inherited}
        every = in_order([*inherited, *made])
        return cls(tuple(every), tuple(one for one in every if one.line() not in heeded))

    def __bool__(self) -> bool:
        return bool(self.decisions)

    @property
    def digest(self) -> str:
        """Identity of the decisions."""
        return fingerprint([decision.line().decode() for decision in self.decisions])

    def lines(self) -> bytes:
        """The decisions as `reviewed.jsonl` holds them."""
        return b"".join(decision.line() for decision in self.decisions)

    @cached_property
    def standing(self) -> dict[str, Verdict]:
        """The verdict of each row that has one."""
        return resolved(self.decisions)

    @cached_property
    def touched(self) -> dict[str, Decision]:
        """Each row that anybody ever decided about, with the first decision: the row as it was before."""
        return {decision.row: decision for decision in reversed(self.decisions)}

    def counts(self) -> dict[str, Any]:
        """How many rows people accepted, edited and rejected, and who they are."""
        found = [each.verdict for each in self.standing.values()]
        names = {"accepted": "accept", "edited": "edit", "rejected": "reject"}
        reviewers = {name for each in self.standing.values() for name in each.by}
        return {**{name: found.count(verdict) for name, verdict in names.items()}, "reviewers": sorted(reviewers)}

    def concerns(self) -> pl.Expr:
        """Whether a row was decided about, itself or under the id that it had before it was edited."""
        known = pl.Series(list(self.touched), dtype=pl.String).implode()
        return pl.col("id").is_in(known) | pl.col("edited_from").is_in(known).fill_null(False)

    def heeded(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same rows in the same order (columns of `ROW`, and any others) as the verdicts want them."""
        if not self:
            return frame
        numbered = frame.with_row_index("_row")
        concerned = numbered.filter(self.concerns())
        if concerned.is_empty():
            return frame
        changed = [self._heeded(row) for row in concerned.iter_rows(named=True)]
        whole = pl.concat([numbered.filter(~self.concerns()), pl.DataFrame(changed, schema=numbered.schema)])
        return whole.sort("_row").drop("_row")

    def _heeded(self, row: dict[str, Any]) -> dict[str, Any]:
        own = row["id"] in self.touched
        key = row["id"] if own else row["edited_from"]
        verdict = self.standing.get(key)
        before = self.touched[key].seen
        if row["dropped_by"] not in (None, REVIEW):
            return (
                row
                if verdict is None
                else _rejected(row, verdict)
                if verdict.verdict == "reject"
                else _readmitted(row, verdict)
            )
        if row["dropped_by"] == REVIEW and row["reason"] != REJECTED:
            return row
        row = {**row, **dict.fromkeys(VERDICT)}
        if verdict is None:
            return _as_it_was(row, before)
        if verdict.verdict == "reject":
            return {
                **_rejected(row, verdict),
                "dropped_by": REVIEW,
                "reason": REJECTED,
                "detail": verdict.decision.note,
            }
        if not own and verdict.verdict == "accept":
            row = _as_it_was(row, before)
        return _readmitted(row, verdict)

    def missing(self, met: set[str]) -> pl.DataFrame:
        """Accepted rows that the version before neither kept nor lists, as they were seen and are wanted.

        An older version dropped them, and its rejected rows were reviewed late. `met` are the ids that were found.
        """
        found = []
        for id, verdict in self.standing.items():
            seen = verdict.decision.seen
            wanted = verdict.verdict != "reject" and seen.get("dropped_by") not in (None, *BARRED)
            if wanted and id not in met:
                found.append(_readmitted({name: seen.get(name) for name in ROW}, verdict))
        return pl.DataFrame(found, schema=ROW)

    def turned_away(self, candidates: pl.DataFrame) -> pl.DataFrame:
        """The candidates; those of the text of a row that was rejected or mended have their verdict."""
        unwanted = self._unwanted
        if not unwanted or candidates.is_empty():
            return candidates
        known = candidates["parents"].list.first().is_in([parent for parent, _, _ in unwanted])
        kin = candidates.with_row_index("_row").filter(known & candidates["dropped_by"].is_null())
        if "reviewed" in kin.columns:
            kin = kin.filter(pl.col("reviewed").is_null())
        keys = _keys(kin)
        rows = pl.Series([row for row, key in zip(kin["_row"], keys, strict=True) if key in unwanted], dtype=pl.UInt32)
        here = pl.int_range(pl.len(), dtype=pl.UInt32).is_in(rows.implode())
        return candidates.with_columns(
            pl.when(here).then(pl.lit(REVIEW)).otherwise("dropped_by").alias("dropped_by"),
            pl.when(here).then(pl.lit(AGAIN)).otherwise("reason").alias("reason"),
        )

    @cached_property
    def _unwanted(self) -> set[tuple[str, str, str]]:
        seen = [each.decision.seen for each in self.standing.values() if each.verdict != "accept"]
        frame = pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in seen], schema=SCHEMA)
        return set(_keys(frame))


def _keys(frame: pl.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Each row's parent and texts, apart from width, script, case and punctuation."""
    texts = (fold(frame[name]).fill_null("") for name in ("prompt", "response"))
    return zip(frame["parents"].list.first(), *texts, strict=True)


def _as_it_was(row: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The row as it was first seen, without what its reviewers did to it; its scores stay."""
    plain = {**row, **{name: before.get(name) for name in ("id", "prompt", "response", *REVIEWED)}}
    dropped = before.get("dropped_by")
    return plain if dropped in (None, REVIEW) else {**plain, **{name: before.get(name) for name in VERDICT}}


def _readmitted(row: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The row as accepted, or as edited."""
    decision = verdict.decision
    if row["dropped_by"] in BARRED:
        return row
    row = {
        **row,
        **dict.fromkeys(VERDICT),
        **_marks(verdict),
        "reviewed": "edited" if row["edited_from"] else "accepted",
    }
    if decision.verdict == "edit" and (decision.prompt, decision.response) != (row["prompt"], row["response"]):
        origin = (row["parents"] or [""])[0], row["generator"], row["variant"]
        row |= {
            "id": variant_id(*origin, decision.prompt or "", decision.response),
            "prompt": decision.prompt,
            "response": decision.response,
            "reviewed": "edited",
            "edited_from": decision.row,
        }
    return row


def _rejected(row: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The row marked as rejected by people, whoever keeps it out."""
    return {**row, **_marks(verdict), "reviewed": "rejected"}


def _marks(verdict: Verdict) -> dict[str, str]:
    return {"reviewed_by": ", ".join(verdict.by), "reviewed_at": verdict.decision.time}
