"""What runs on a worker: one engine, opened once, that answers what it is given. Knows no Ray and no file layout."""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from augment import __version__
from augment.engines import Engine, EngineOptions, open_engine
from augment.generators import SelfAnswering
from augment.records import Reply, Request

GROUP = 0.01
"""Seconds that a reply waits for company on its way back."""


@dataclass(frozen=True)
class Assignment:
    """What a worker has to know: who answers (`llm` as in the recipe, and the generators that answer themselves).

    `folder` is the driver's, so that a relative path to a model means the same file on both where they share a
    disk. `environment` holds keys: it is never shown.
    """

    llm: str | None
    options: EngineOptions
    generators: tuple[SelfAnswering, ...]
    folder: str
    environment: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Parcel:
    """Replies on their way to the driver; `ended`: the engine takes no more, and what has no reply gets none."""

    replies: list[Reply]
    ended: bool = False


class Worker:
    """Answers requests in a thread of its own; its methods may be called at once from several threads."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()  # None: no more for now
        self._outbox: queue.SimpleQueue[Reply | BaseException | None] = queue.SimpleQueue()  # None: ended
        self._fault: BaseException | None = None
        self._engine: Engine | None = None
        self._own: dict[str, SelfAnswering] = {}
        self._open: set[str] = set()
        self._given = 0
        self._total = -1
        self._over = False
        self._draining = False
        self._lock = threading.Lock()

    def version(self) -> str:
        """Which `augment` is installed here."""
        return __version__

    def open(self, assignment: Assignment) -> tuple[str, str, str] | None:
        """Open the engine; its name, model and revision, or None where generators answer alone.

        Raises:
            RecipeError: no engine of that name is installed here.
            EngineError: it cannot be reached or used from here.
        """
        os.environ.update(assignment.environment)
        if Path(assignment.folder).is_dir():
            os.chdir(assignment.folder)
        self._own = {each.name: each for each in assignment.generators}
        if assignment.llm is not None:
            self._engine = open_engine(assignment.llm, assignment.options)
        threading.Thread(target=self._work, name="augment-worker", daemon=True).start()
        return (self._engine.name, self._engine.model, self._engine.revision) if self._engine else None

    def give(self, given: bytes) -> None:
        """More to answer: a list of requests and, if known, how many that makes in all before a pause.

        Calls may overtake each other; that is why the end is said as a number. What comes is pickled already:
        Ray's own pickler, which must be able to do more, takes several times as long.
        """
        requests, total = pickle.loads(given)
        if not requests and total is None:
            return
        with self._lock:
            for each in requests:
                self._inbox.put(each)
            self._given += len(requests)
            self._total = max(self._total, -1 if total is None else total)
            if self._given == self._total:
                self._inbox.put(None)

    def exchange(self, given: bytes) -> bytes:
        """`give`, then wait for replies: at least one, and those of the next few milliseconds; one caller at a time.

        Both ways pickled by who sends it: a `Parcel` back.

        Raises:
            EngineError: the engine refuses every request; after the replies before that.
        """
        self.give(given)
        return pickle.dumps(self._parcel())

    def _parcel(self) -> Parcel:
        """The next replies; waits for them."""
        replies: list[Reply] = []
        if self._fault is not None:
            raise self._fault
        end = None
        while end is None or (left := end - time.monotonic()) > 0:
            try:
                item = self._outbox.get(timeout=None if end is None else left)
            except queue.Empty:
                break
            if item is None:
                return Parcel(replies, ended=True)
            if isinstance(item, BaseException):
                if not replies:
                    raise item
                self._fault = item
                break
            replies.append(item)
            end = end or time.monotonic() + GROUP
        return Parcel(replies)

    def drain(self) -> None:
        """Take no further request; those in flight are still answered."""
        self._draining = True
        if self._engine is not None:
            self._engine.drain()
        self._inbox.put(None)

    def _work(self) -> None:
        """The thread: one long `generate` for each stretch of requests, until drained."""
        try:
            while not self._draining:
                first = self._inbox.get()
                if first is None:
                    continue
                self._over = False
                requests = self._fed(first)
                for reply in self._engine.generate(requests, self._keep) if self._engine else _nobody(requests):
                    self._send(reply)  # an engine that has not kept a failure still reports it
                if not self._over or self._open:
                    break
            self._outbox.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the driver takes replies
            self._outbox.put(error)

    def _fed(self, first: Request) -> Iterator[Request]:
        """The engine's requests as they come; those of generators that answer themselves are answered in passing."""
        request: Request | None = first
        while request is not None and not self._draining:
            generator = self._own.get(request.generator)
            self._open.add(request.key)
            if generator is None:
                yield request
            else:
                self._send(generator.answer(request))
            request = self._inbox.get()
        self._over = True

    def _keep(self, request: Request, reply: Reply) -> None:
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.key in self._open:
            self._open.discard(reply.key)
            self._outbox.put(reply)


def _nobody(requests: Iterable[Request]) -> Iterator[Reply]:
    """The engine where there is none: whoever is asked has answered in passing."""
    for each in requests:
        raise AssertionError(f"nobody answers for {each.generator}")
    return iter(())
