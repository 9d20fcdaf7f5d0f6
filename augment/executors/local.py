"""Shards answered in order over a stream of requests; and the simplest such streams, the plan's own engines."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from augment.engines import Keep
from augment.errors import Interrupted
from augment.executors.pool import pooled, processes_for
from augment.generators import answers_itself
from augment.records import Reply, Request

if TYPE_CHECKING:  # workers import this package, and need none of these
    from augment.asking import Steps
    from augment.plan import Plan, Shard
    from augment.replies import ReplyStore
    from augment.summary import Tally


@dataclass
class Answered:
    """A shard whose every request has a reply: in the store or, where the store keeps none, here by reply key.

    The store keeps neither failures nor the replies of generators that answer themselves.
    """

    shard: Shard
    replies: dict[str, Reply] = field(default_factory=dict)


Answer = Callable[["Plan", Iterable["Shard"], "ReplyStore", "Tally"], Iterator[Answered]]
"""Answers shards and yields them in order: here, or by workers."""
Generate = Callable[[Iterable[Request | None], Keep], Iterator[Reply]]
"""What an engine's `generate` does: replies as they finish, each kept before anything else is done with it."""


@dataclass
class _Waiting:
    answered: Answered
    keys: set[str]


Asks = Callable[[Answered], Iterable["Request | Steps"]]
"""What of an answered shard is to be asked next: requests, and candidates that ask in several steps."""


def local(plan: Plan, shards: Iterable[Shard], store: ReplyStore, tally: Tally) -> Iterator[Answered]:
    """Answer shards in this process, as one stream of requests for each who answers.

    Generators that answer themselves are not asked here, unless their work is worth several processes.

    Raises:
        EngineError: the engine refuses every request.
        Interrupted: the engine was drained before everything was answered.
    """
    works: Iterator[Answered] = written(plan, shards, store, tally)
    if plan.engine is not None:
        works = in_order(plan, works, store, tally, plan.engine.generate, of_engine(plan, store))
    heavy = {each.name: each for each in plan.generators if answers_itself(each) and getattr(each, "heavy", False)}
    processes = processes_for(plan.total) if heavy else 1
    if processes > 1:

        def generate(requests: Iterable[Request | None], _: Keep) -> Iterator[Reply]:
            return pooled(filter(None, requests), heavy, processes)

        works = in_order(plan, works, store, tally, generate, lambda work: _of(plan, work, store, heavy))
    return works


def written(plan: Plan, shards: Iterable[Shard], store: ReplyStore, tally: Tally) -> Iterator[Answered]:
    """The shards with all that an LLM writes for pictures answered: scenes, captions. Here, whoever draws."""
    works = map(Answered, shards)
    if plan.llm is None:
        return works
    return in_order(plan, works, store, tally, plan.llm.generate, lambda work: plan.words(work.shard))


def drafts_of(plan: Plan, work: Answered, store: ReplyStore) -> dict[str, Reply]:
    """What the LLM wrote for a shard, by key: failures among it."""
    if plan.llm is None:
        return {}
    return {**store.answered(plan.words(work.shard)), **work.replies}


def of_engine(plan: Plan, store: ReplyStore, *, everyone: bool = False) -> Asks:
    """What the plan's engine is asked; `everyone`: generators that answer themselves are asked like it."""

    def asked(work: Answered) -> Iterator[Request | Steps]:
        for _, generator, request, instead, steps in plan.requests(work.shard, drafts_of(plan, work, store)):
            if steps is not None:
                yield steps
            elif instead is None and (everyone if answers_itself(generator) else _draws(plan, request)):
                yield request

    return asked


def _draws(plan: Plan, request: Request) -> bool:
    """Whether the engine answers, not the LLM beside it."""
    return not plan.pictured or request.drawing is not None


def _of(plan: Plan, work: Answered, store: ReplyStore, generators: Container[str]) -> Iterator[Request]:
    for _, generator, request, instead, _ in plan.requests(work.shard, drafts_of(plan, work, store)):
        if instead is None and generator.name in generators:
            yield request


def in_order(
    plan: Plan, works: Iterable[Answered], store: ReplyStore, tally: Tally, generate: Generate, asks: Asks
) -> Iterator[Answered]:
    """Answer what `asks` says of each work by `generate`, in one stream of requests that waits for no shard to end.

    A candidate in several steps is asked its next one as soon as the reply before has come, ahead of all that waits.

    Requests are drawn, and works yielded, in the caller's thread. Replies of generators that answer themselves are
    not stored and not counted as paid for.

    Raises:
        Interrupted: the stream ended before everything was answered.
        AugmentError: whatever `generate` raises.
    """
    from augment.asking import walk

    remaining = iter(works)
    free = frozenset(each.name for each in plan.generators if answers_itself(each))
    queue: deque[_Waiting] = deque()
    owners: dict[str, list[tuple[_Waiting, Steps | None]]] = {}
    following: deque[Request] = deque()  # the next steps of candidates
    afoot: set[int] = set()  # candidates in several steps of which something is asked
    unpaid: set[str] = set()
    shared: set[str] = set()  # an LLM's words for many records: asked once, and no reply of an earlier run
    drawn_all = False

    def known(some: Iterable[Request]) -> Mapping[str, Reply]:
        found = store.answered(each for each in some if each.generator not in free)
        tally.replies_reused += len(found.keys() - shared)
        return found

    def fresh(waiting: _Waiting, asked: Iterable[Request], steps: Steps | None = None) -> Iterator[Request]:
        """Makes the work wait for requests; those that nobody has asked yet."""
        for each in asked:
            waiting.keys.add(each.key)
            others = owners.setdefault(each.key, [])
            others.append((waiting, steps))
            if len(others) == 1:
                if each.generator in free:
                    unpaid.add(each.key)
                yield each

    def onward(waiting: _Waiting, steps: Steps) -> Iterator[Request]:
        """What a candidate asks now, past all that is answered already."""
        walk([steps], known)
        (afoot.add if steps.open else afoot.discard)(id(steps))
        return fresh(waiting, steps.open, steps)

    def unanswered(work: Answered) -> list[Request]:
        """Puts the work in the queue; its requests that are neither answered nor already asked."""
        asked, stepped = [], []
        for each in asks(work):
            if isinstance(each, Request):
                asked.append(each)
            else:
                stepped.append(each)
        here = known(asked)
        walk(stepped, known)
        waiting = _Waiting(work, set())
        queue.append(waiting)
        found = list(fresh(waiting, [each for each in asked if each.key not in here]))
        for steps in stepped:
            found += fresh(waiting, steps.open, steps)
            if steps.open:
                afoot.add(id(steps))
        return found

    def drawn(first: list[Request]) -> Iterator[Request | None]:
        nonlocal drawn_all
        ready = deque(first)
        while True:
            if following:
                yield following.popleft()
            elif ready:
                yield ready.popleft()
            elif (work := next(remaining, None)) is not None:
                ready.extend(unanswered(work))
            elif afoot:
                yield None
            else:
                break
        drawn_all = True

    def keep(request: Request, reply: Reply) -> None:
        if request.generator not in free:
            store.put(request, reply)

    def finished() -> Iterator[Answered]:
        while queue and not queue[0].keys:
            yield queue.popleft().answered

    for work in remaining:
        first = unanswered(work)
        if first:
            break
        yield from finished()
    else:
        return
    for reply in generate(drawn(first), keep):
        paid = reply.key not in unpaid
        unpaid.discard(reply.key)
        if paid:
            tally.sent(reply)
        if plan.pictured:
            shared.add(reply.key)
            reply = dataclasses.replace(reply, picture=b"") if reply.picture else reply
        for waiting, steps in owners.pop(reply.key):
            waiting.keys.discard(reply.key)
            if reply.error is not None or not paid:
                waiting.answered.replies[reply.key] = reply
            if steps is None:
                continue
            if steps.advance({reply.key: reply}):
                following.extend(onward(waiting, steps))
            elif steps.end is not None:
                afoot.discard(id(steps))
        yield from finished()
    yield from finished()
    if queue or not drawn_all:
        raise Interrupted("stopped before every request was answered")
