"""Questions put to one engine outside a run, by an evaluation or by filters; every reply is on disk before use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from augment.engines import Engine
from augment.errors import Interrupted
from augment.records import Reply, Request
from augment.replies import ReplyStore

_THOUGHT = re.compile(r"^\s*(?:<think>.*?(?:</think>|\Z)|(?:(?!<think>).)*?</think>)\s*", re.DOTALL)


@dataclass
class Paid:
    """What answering cost: requests sent and replies found in the store, tokens read and written."""

    sent: int = 0
    reused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


def ask(
    engine: Engine, requests: Iterable[Request], store: ReplyStore, paid: Paid, step: Callable[[], None]
) -> dict[str, Reply]:
    """The reply to each request by its key: from the store where it is there, else from the engine.

    `step` is called once a request that is settled.

    Raises:
        Interrupted: the engine was drained before every request had a reply.
        EngineError: the engine refuses every request.
    """
    wanted = {request.key: request for request in requests}
    found = dict(store.answered(wanted.values()))
    paid.reused += len(found)
    for _ in found:
        step()
    missing = [request for key, request in wanted.items() if key not in found]
    for reply in engine.generate(missing, store.put) if missing else ():
        found[reply.key] = reply
        paid.sent += reply.error is None
        paid.tokens_in += reply.tokens_in
        paid.tokens_out += reply.tokens_out
        step()
    if len(found) < len(wanted):
        raise Interrupted("stopped before every question was answered")
    return found


def without_thoughts(text: str) -> str | None:
    """An answer without the thoughts that a reasoning model puts before it; None where nothing is left.

    The opening tag is often part of the template and not of the answer; a thought that was cut off is no answer.
    """
    return _THOUGHT.sub("", text).strip() or None
