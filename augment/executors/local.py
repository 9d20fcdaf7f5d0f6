"""Shards answered in order over one stream of requests; and the simplest such stream, the plan's own engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from augment.engines import Keep
from augment.errors import Interrupted
from augment.generators import answers_itself
from augment.records import Reply, Request

if TYPE_CHECKING:  # workers import this package, and need none of these
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
Generate = Callable[[Iterable[Request], Keep], Iterator[Reply]]
"""What an engine's `generate` does: replies as they finish, each kept before anything else is done with it."""


@dataclass
class _Waiting:
    answered: Answered
    keys: set[str]


def local(plan: Plan, shards: Iterable[Shard], store: ReplyStore, tally: Tally) -> Iterator[Answered]:
    """Answer shards in this process with the plan's engine, as one stream of requests.

    A generator that answers itself is not asked here.

    Raises:
        EngineError: the engine refuses every request.
        Interrupted: the engine was drained before everything was answered.
    """
    if plan.engine is None:
        return map(Answered, shards)
    return in_order(plan, shards, store, tally, plan.engine.generate)


def in_order(
    plan: Plan, shards: Iterable[Shard], store: ReplyStore, tally: Tally, generate: Generate, *, everyone: bool = False
) -> Iterator[Answered]:
    """Answer shards by `generate`, one stream of requests over all of them that never waits for a shard to end.

    Requests are drawn, and shards yielded, in the caller's thread. `everyone`: generators that answer
    themselves are asked by `generate` too; their replies are not stored and not counted as paid for.

    Raises:
        Interrupted: the stream ended before everything was answered.
        AugmentError: whatever `generate` raises.
    """
    remaining = iter(shards)
    free = frozenset(each.name for each in plan.generators if answers_itself(each))
    queue: deque[_Waiting] = deque()
    owners: dict[str, list[_Waiting]] = {}
    unpaid: set[str] = set()
    drawn_all = False

    def unanswered(shard: Shard) -> list[Request]:
        """Puts the shard in the queue; its requests that are neither answered nor already asked."""
        asked = [request for _, generator, request in plan.requests(shard) if everyone or not answers_itself(generator)]
        known = store.answered(each for each in asked if each.generator not in free)
        tally.replies_reused += len(known)
        waiting = _Waiting(Answered(shard), {each.key for each in asked} - known.keys())
        queue.append(waiting)
        fresh = []
        for each in asked:
            if each.key in owners:
                owners[each.key].append(waiting)
            elif each.key in waiting.keys:
                owners[each.key] = [waiting]
                fresh.append(each)
                if each.generator in free:
                    unpaid.add(each.key)
        return fresh

    def drawn(first: list[Request]) -> Iterator[Request]:
        nonlocal drawn_all
        yield from first
        for shard in remaining:
            yield from unanswered(shard)
        drawn_all = True

    def keep(request: Request, reply: Reply) -> None:
        if request.generator not in free:
            store.put(request, reply)

    def finished() -> Iterator[Answered]:
        while queue and not queue[0].keys:
            yield queue.popleft().answered

    for shard in remaining:
        first = unanswered(shard)
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
        for waiting in owners.pop(reply.key):
            waiting.keys.discard(reply.key)
            if reply.error is not None or not paid:
                waiting.answered.replies[reply.key] = reply
        yield from finished()
    yield from finished()
    if queue or not drawn_all:
        raise Interrupted("stopped before every request was answered")
