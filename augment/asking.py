"""What a shard asks, of whom: each seed's candidates as requests, with what an LLM writes first where one does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from augment.generators import Drafting, Generator, answers_itself, drafts
from augment.records import Rejected, Reply, Request, Row, fingerprint, seed_for

if TYPE_CHECKING:
    from augment.plan import Plan, Shard

CORPUS = 24
"""Seeds that stand for all where a generator looks at the corpus: few enough for a prompt."""


class Ask(NamedTuple):
    """One candidate's request, with the record it is about and the generator that asks.

    `instead` is set where nothing can be asked: the draft that failed for good, or why there is no request.
    """

    record: Row
    generator: Generator
    request: Request
    instead: Reply | Rejected | None = None


@dataclass(frozen=True)
class Seeds:
    """A plan's seeds as records, and those that stand beside them."""

    frame: pl.DataFrame
    ring: tuple[tuple[int, int], ...]
    """Each seed's place on a circle, by its id's hash, with its position: adding a seed changes few neighbours."""

    @classmethod
    def of(cls, frame: pl.DataFrame, ringed: bool) -> Seeds:
        """The seeds in `frame`, columns in the order of `Row`; `ringed`: somebody wants partners or the corpus."""
        ring = sorted((_place(id), at) for at, id in enumerate(frame["id"].to_list())) if ringed else []
        return cls(frame, tuple(ring))

    def records(self, positions: Sequence[int]) -> Iterator[Row]:
        """The seeds at some positions of the plan."""
        for id, prompt, *content in self.frame[list(positions)].iter_rows():
            yield Row(id, prompt or "", *content)

    def record(self, position: int) -> Row:
        """The seed at one position."""
        return next(self.records([position]))

    def partner(self, record: Row, generator: str, k: int, base: int) -> tuple[Row, ...]:
        """One other seed, drawn for this variant alone; none where there is no other.

        The draw is a point on the circle, and the seed after it: in a subset of the seeds, or a superset, most draws
        fall as they did.
        """
        if len(self.ring) < 2:
            return ()
        at = bisect_left(self.ring, (_place("partner", record.id, generator, k, base), 0))
        for step in (0, 1):
            found = self.record(self.ring[(at + step) % len(self.ring)][1])
            if found.id != record.id:
                return (found,)
        raise AssertionError(f"two seeds are called {record.id}")

    @cached_property
    def corpus(self) -> tuple[Row, ...]:
        """Some seeds, the same for every record: a fair sample, for ids are hashes."""
        return tuple(self.record(position) for _, position in self.ring[:CORPUS])


def _place(*parts: object) -> int:
    return int(fingerprint(*parts)[:16], 16)


def exemplars(plan: Plan, record: Row, generator: Generator, k: int) -> tuple[Row, ...]:
    """What a generator sees besides the record (`Picturing.looks_at`)."""
    looks_at = getattr(generator, "looks_at", "")
    if looks_at == "partner":
        return plan.records.partner(record, generator.name, k, generator.seed)
    return plan.records.corpus if looks_at == "corpus" else ()


def turns(plan: Plan, shard: Shard) -> Iterator[tuple[Row, Generator, int]]:
    """Each candidate's record and generator, and which of the generator's variants it is, in order."""
    records = plan.records.records([position for position, _, _ in shard.asks])
    for record, (_, first, count) in zip(records, shard.asks, strict=True):
        for candidate in range(first, first + count):
            yield record, *plan.turn(candidate)


def words(plan: Plan, shard: Shard) -> Iterator[Request]:
    """What an LLM is asked for a shard of pictures: drafts, and rows that are made of words alone."""
    for record, generator, k in turns(plan, shard):
        if drafts(generator):
            asked = _draft(plan, record, generator, k)
        elif not answers_itself(generator):
            asked = _addressed(plan, generator, generator.ask(record, k, exemplars(plan, record, generator, k)))
        else:
            continue
        if isinstance(asked, Request) and asked.drawing is None:
            yield asked


def asks(plan: Plan, shard: Shard, written: Mapping[str, Reply]) -> Iterator[Ask]:
    """Each candidate's request, in order; `written` are the LLM's drafts by key."""
    for record, generator, k in turns(plan, shard):
        seen = exemplars(plan, record, generator, k)
        draft = _draft(plan, record, generator, k) if drafts(generator) else None
        found: Request | Rejected | Reply | None = draft
        if not isinstance(draft, Rejected):
            reply = written[draft.key] if draft is not None else None
            if reply is not None and reply.error is not None:
                found = reply
            elif drafts(generator):
                found = generator.drafted(record, k, seen, reply)
            else:
                found = generator.ask(record, k, seen)
        if isinstance(found, Request):
            yield Ask(record, generator, plan.addressed(generator, found))
        else:
            nothing = Request(record.id, generator.name, k, (), "", seed_for(record.id, generator.name, k))
            yield Ask(record, generator, draft if isinstance(draft, Request) else nothing, found)


def _draft(plan: Plan, record: Row, generator: Drafting, k: int) -> Request | Rejected | None:
    """What the LLM is asked to write first; None where there is no LLM, or nothing to write."""
    if plan.llm is None:
        return None
    return _addressed(plan, generator, generator.draft(record, k, exemplars(plan, record, generator, k)))


def _addressed(plan: Plan, generator: Generator, found: Request | Rejected | None) -> Request | Rejected | None:
    return plan.addressed(generator, found) if isinstance(found, Request) else found
