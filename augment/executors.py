"""Where a shard's requests are answered: here, by one engine that never waits for a shard to end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from augment.errors import Interrupted
from augment.generators import answers_itself
from augment.plan import Plan, Shard
from augment.records import Reply, Request
from augment.replies import ReplyStore
from augment.summary import Tally


@dataclass
class Answered:
    """A shard whose every request has a reply: in the store, or here (by reply key) where it is a failure."""

    shard: Shard
    replies: dict[str, Reply] = field(default_factory=dict)


Answer = Callable[[Plan, Iterable[Shard], ReplyStore, Tally], Iterator[Answered]]
"""Answers shards and yields them in order. `flows` passes one that maps Prefect tasks."""


@dataclass
class _Waiting:
    answered: Answered
    keys: set[str]


def local(plan: Plan, shards: Iterable[Shard], store: ReplyStore, tally: Tally) -> Iterator[Answered]:
    """Answer shards in this process with the plan's engine, as one stream of requests.

    Each reply is in the store before its shard is handed on. A generator that answers itself is not asked here.

    Raises:
        EngineError: the engine refuses every request.
        Interrupted: the engine was drained before everything was answered.
    """
    remaining = iter(shards)
    if plan.engine is None:
        yield from map(Answered, remaining)
        return
    queue: deque[_Waiting] = deque()
    owners: dict[str, list[_Waiting]] = {}
    drawn_all = False

    def unanswered(shard: Shard) -> list[Request]:
        """Puts the shard in the queue; its requests that are neither answered nor already asked."""
        asked = [request for _, generator, request in plan.requests(shard) if not answers_itself(generator)]
        known = store.answered(asked)
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
        return fresh

    def drawn(first: list[Request]) -> Iterator[Request]:
        nonlocal drawn_all
        yield from first
        for shard in remaining:
            yield from unanswered(shard)
        drawn_all = True

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
    for reply in plan.engine.generate(drawn(first), store.put):
        tally.sent(reply)
        for waiting in owners.pop(reply.key):
            waiting.keys.discard(reply.key)
            if reply.error is not None:
                waiting.answered.replies[reply.key] = reply
        yield from finished()
    yield from finished()
    if queue or not drawn_all:
        raise Interrupted("stopped before every request was answered")
