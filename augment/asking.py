"""What a shard asks, of whom: each seed's candidates as requests, with what an LLM writes first where one does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from augment.generators import Asking, Drafting, Generator, Stepping, answers_itself, drafts, steps
from augment.records import FINISHED, Rejected, Reply, Request, Row, fingerprint, seed_for

if TYPE_CHECKING:
    from augment.plan import Plan, Shard

CORPUS = 24
"""Seeds that stand for all where a generator looks at the corpus: few enough for a prompt."""
SOME = 4
"""Other seeds that a generator is shown as examples."""


class Ask(NamedTuple):
    """One candidate's request, with the record it is about and the generator that asks.

    `instead` is set where nothing can be asked: the draft that failed for good, or why there is no request.
    """

    record: Row
    generator: Asking
    request: Request
    instead: Reply | Rejected | None = None
    steps: Steps | None = None


@dataclass(eq=False)
class Steps:
    """One candidate's way from question to question, for a generator that asks in several steps.

    `asked` are its requests so far and `replies` the answers to the first of them; the others are `open`. `end` is
    what became of it, once there is nothing open: a row, why there is none, or the reply that ended it.
    """

    plan: Plan
    record: Row
    generator: Stepping
    k: int
    seen: tuple[Row, ...]
    asked: list[Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    end: Row | Rejected | Reply | None = None
    _known: dict[str, Reply] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = self.generator.ask(self.record, self.k, self.seen)
        if isinstance(first, Rejected):
            self.end = first
        else:
            self._ask((first,))

    @property
    def open(self) -> list[Request]:
        """What is asked and not yet known to be answered; when all of it is, the candidate moves on."""
        if self.end is not None:
            return []
        return [each for each in self.asked[len(self.replies) :] if each.key not in self._known]

    @property
    def request(self) -> Request:
        """The last request; one that asks nothing where there was none."""
        if self.asked:
            return self.asked[max(len(self.replies), 1) - 1]
        return nothing(self.record, self.generator, self.k)

    def advance(self, known: Mapping[str, Reply]) -> list[Request]:
        """Take replies to what is open; once all are there, what is asked then: [] before, and at the end."""
        waiting = self.open
        self._known |= {each.key: known[each.key] for each in waiting if each.key in known}
        if not waiting or self.open:
            return []
        for each in self.asked[len(self.replies) :]:
            reply = self._known.pop(each.key) if each.key in self._known else self.replies[-1]
            self.replies.append(reply)
            if reply.error is not None or reply.finish not in FINISHED:
                self.end = reply
                return []
        given = (self.record, self.k, self.seen, tuple(self.replies))
        found = self.generator.then(*given)
        if isinstance(found, Rejected):
            self.end = found
        elif found:
            self._ask(found)
        else:
            self.end = self.generator.conclude(*given)
        return self.open

    def _ask(self, found: tuple[Request, ...]) -> None:
        self.asked += [self.plan.addressed(self.generator, each) for each in found]


def walk(some: Sequence[Steps], lookup: Callable[[Iterable[Request]], Mapping[str, Reply]]) -> None:
    """Bring candidates as far as the replies that `lookup` knows reach."""
    moving = [each for each in some if each.open]
    while moving:
        known = lookup([request for each in moving for request in each.open])
        moving = [each for each in moving if each.advance(known)]


def nothing(record: Row, generator: Asking, k: int) -> Request:
    """A request that asks nothing, for a candidate that nothing is asked for."""
    return Request(record.id, generator.name, k, (), "", seed_for(record.id, generator.name, k))


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

    def others(
        self, record: Row, generator: str, k: int, base: int, ring: Sequence[tuple[int, int]]
    ) -> tuple[Row, ...]:
        """Up to `SOME` different seeds of a ring, not the record itself, drawn for this variant alone."""
        found: dict[int, None] = {}
        for draw in range(4 * SOME):
            if len(found) == SOME or not ring:
                break
            at = bisect_left(ring, (_place("others", draw, record.id, generator, k, base), 0))
            position = ring[at % len(ring)][1]
            if self._ids[position] != record.id:
                found[position] = None
        return tuple(self.records(list(found)))

    def contrast(self, record: Row, generator: str, k: int, base: int) -> tuple[Row, ...]:
        """One seed of another label: each of the other labels in turn; none where there is none."""
        labels = sorted(each for each in self.classes if each is not None and each != record.label)
        if not labels:
            return ()
        label = labels[(seed_for(record.id, generator, -1, base) + k) % len(labels)]
        return self.others(record, generator, k, base, self.classes[label])[:1]

    @cached_property
    def _ids(self) -> list[str]:
        return self.frame["id"].to_list()

    @cached_property
    def classes(self) -> dict[str | None, tuple[tuple[int, int], ...]]:
        """The ring of each label's seeds."""
        labels: list[str | None] = self.frame["label"].to_list()
        found: dict[str | None, list[tuple[int, int]]] = {}
        for each in self.ring:
            found.setdefault(labels[each[1]], []).append(each)
        return {label: tuple(ring) for label, ring in found.items()}

    @cached_property
    def of_each_class(self) -> tuple[Row, ...]:
        """As many labelled seeds of each class, `CORPUS` in all, or one of each where there are more classes."""
        rings = [self.classes[label] for label in sorted(each for each in self.classes if each is not None)]
        most = max(1, CORPUS // max(1, len(rings)))
        return tuple(self.records([position for ring in rings for _, position in ring[:most]]))

    @cached_property
    def corpus(self) -> tuple[Row, ...]:
        """Some seeds, the same for every record: a fair sample, for ids are hashes."""
        return tuple(self.record(position) for _, position in self.ring[:CORPUS])


def _place(*parts: object) -> int:
    return int(fingerprint(*parts)[:16], 16)


def exemplars(seeds: Seeds, record: Row, generator: Generator, k: int) -> tuple[Row, ...]:
    """What a generator sees besides the record, as its `looks_at` says.

    "partner": one other seed; "some": up to `SOME` others; "alike": up to `SOME` others with its label; "contrast": one
    with another label, each label in turn; all drawn anew for each variant. "corpus": `CORPUS` fixed seeds, "classes":
    fixed ones of each label, up to `CORPUS` in all; the same for every record.
    """
    looks_at = getattr(generator, "looks_at", "")
    drawn = (record, generator.name, k, generator.seed)
    if looks_at == "partner":
        return seeds.partner(*drawn)
    if looks_at in ("some", "alike"):
        return seeds.others(*drawn, seeds.ring if looks_at == "some" else seeds.classes.get(record.label, ()))
    if looks_at == "contrast":
        return seeds.contrast(*drawn)
    return {"corpus": seeds.corpus, "classes": seeds.of_each_class}[looks_at] if looks_at else ()


def turns(plan: Plan, shard: Shard) -> Iterator[tuple[Row, Generator, int]]:
    """Each candidate's record and generator, and which of the generator's variants it is, in order."""
    records = plan.records.records([position for position, _, _ in shard.asks])
    told = iter(shard.turns)
    for record, (_, first, count) in zip(records, shard.asks, strict=True):
        for candidate in range(first, first + count):
            if shard.turns:
                which, k = next(told)
                yield record, plan.generators[which], k
            else:
                yield record, *plan.turn(candidate)


def words(plan: Plan, shard: Shard) -> Iterator[Request]:
    """What an LLM is asked for a shard of pictures: drafts, and rows that are made of words alone."""
    for record, generator, k in turns(plan, shard):
        if drafts(generator):
            asked = _draft(plan, record, generator, k)
        elif not answers_itself(generator):
            asked = _addressed(plan, generator, generator.ask(record, k, exemplars(plan.records, record, generator, k)))
        else:
            continue
        if isinstance(asked, Request) and asked.drawing is None:
            yield asked


def asks(plan: Plan, shard: Shard, written: Mapping[str, Reply]) -> Iterator[Ask]:
    """Each candidate's request, in order; `written` are the LLM's drafts by key."""
    for record, generator, k in turns(plan, shard):
        seen = exemplars(plan.records, record, generator, k)
        if steps(generator):
            way = Steps(plan, record, generator, k, seen)
            yield Ask(record, generator, way.request, None, way)
            continue
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
            asked = draft if isinstance(draft, Request) else nothing(record, generator, k)
            yield Ask(record, generator, asked, found)


def _draft(plan: Plan, record: Row, generator: Drafting, k: int) -> Request | Rejected | None:
    """What the LLM is asked to write first; None where there is no LLM, or nothing to write."""
    if plan.llm is None:
        return None
    return _addressed(plan, generator, generator.draft(record, k, exemplars(plan.records, record, generator, k)))


def _addressed(plan: Plan, generator: Generator, found: Request | Rejected | None) -> Request | Rejected | None:
    return plan.addressed(generator, found) if isinstance(found, Request) else found
