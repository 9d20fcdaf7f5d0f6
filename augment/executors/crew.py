"""Ray actors that answer one stream of requests: who has been given what, and what becomes of it when one dies.

The driver deals out requests one by one to the worker that has the least, a window's worth each, so that no
worker ever waits, and takes replies as they come. It alone knows the run; a worker knows its requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from augment import __version__
from augment.engines import Keep
from augment.engines.slots import Answer, Slots
from augment.errors import AugmentError, EngineError, Interrupted
from augment.executors.desk import DEATHS, Desk, Hands, Job
from augment.executors.worker import Assignment, Parcel
from augment.records import Reply, Request

log = logging.getLogger(__name__)

WINDOW = 2
"""Requests a worker holds, as a multiple of its engine's concurrency: half of them in flight, half waiting there."""
STORM = 5
"""Deaths in a row, for each worker, without one reply: nothing will come of it any more."""
PATIENCE = 60.0
"""Seconds without any worker after which none is expected."""
LONGEST_REST = 10.0
"""Seconds, at most, between a death and the next try to start that worker."""


@dataclass(eq=False)
class _Link:
    """The driver's end of one worker.

    `actor` is its present incarnation, `taking` the replies it has been asked for, `given` how many requests it
    has been sent, `told` up to which of these it knows the end, and `falls` its deaths since it last gave a reply.
    """

    hands: Hands = field(default_factory=Hands)
    actor: Any = None
    taking: Any = None
    arrived: bool = False
    ended: bool = False
    given: int = 0
    told: int = 0
    due: bool = False
    falls: int = 0

    def dismiss(self) -> list[Job]:
        """End the actor, if there is one; what it held."""
        if self.actor is not None:
            with contextlib.suppress(RayError, ValueError):  # it, or all of Ray, is gone already
                ray.kill(self.actor)
        self.actor = self.taking = None
        self.arrived, self.given, self.told = False, 0, 0
        return self.hands.drop()


class Crew:
    """Workers that live until `dismiss`; to the caller, `generate` is one engine's.

    `make` starts an actor, `who` is the engine's identity that each must confirm (None: generators answer
    alone), and `window` is how many requests one worker holds.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        assignment: Assignment,
        who: tuple[str, str, str] | None,
        count: int,
        stop: threading.Event,
    ) -> None:
        self._make = make
        self._assignment = assignment
        self._who = who
        self._window = WINDOW * assignment.options.concurrency
        self._stop = stop
        self._links = [_Link() for _ in range(count)]
        self._deaths = 0
        self._begin()

    def _begin(self) -> None:
        """The state of one round."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots: Slots | None = None
        own = frozenset(each.name for each in self._assignment.generators)
        self._desk = Desk([each.hands for each in self._links], self._window, own)
        self._open: set[Job] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._drawn = self._begun = 0
        self._drawn_all = self._said_all = self._draining = False
        self._fault: BaseException | None = None
        for link in self._links:
            link.due = False

    def generate(self, requests: Iterable[Request | None], keep: Keep) -> Iterator[Reply]:
        """One reply a request, as they come; `keep` is called in another thread as soon as one is here.

        Raises:
            EngineError: an engine refuses every request, workers keep dying, or none is to be had.
            Interrupted: `stop` was set; after the replies to what was in flight.
        """
        self._begin()
        self._slots = Slots(len(self._links) * self._window, self._opened, keep)
        return self._slots.answer(self._counted(requests))

    def dismiss(self) -> None:
        """End all workers."""
        for link in self._links:
            link.dismiss()

    def _counted(self, requests: Iterable[Request | None]) -> Iterator[Request | None]:
        for each in requests:
            if each is None:  # workers answer what they have: a batch is not filled
                self._drawn_all = True
                self._deal_soon()
            elif self._drawn_all:
                self._drawn_all = self._said_all = False
            self._drawn += each is not None
            yield each
        self._drawn_all = True
        self._deal_soon()

    def _deal_soon(self) -> None:
        if self._loop is not None:  # else the first request is still to come, and deals
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._deal)

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Answer]:
        self._loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(self._attend(link)) for link in self._links]
        tasks.append(asyncio.create_task(self._watch()))
        try:
            yield self._answer
        finally:
            tasks += self._sending
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, request: Request) -> Reply:
        if self._fault is not None:
            raise self._fault
        job = Job(request, asyncio.get_running_loop().create_future())
        self._begun += 1
        self._open.add(job)
        self._desk.add(job)
        self._deal()
        self._conclude()
        try:
            return await job.reply
        finally:
            self._open.discard(job)

    @property
    def _no_more(self) -> bool:
        """Whether every request of the round has been dealt once: a batch need not wait to be filled."""
        return self._drawn_all and self._begun == self._drawn and self._desk.idle

    def _deal(self) -> None:
        """Deal what waits; it is sent once all that comes at this moment has been dealt."""
        if self._draining or self._loop is None:
            return
        self._desk.deal()
        last = self._no_more and not self._said_all
        self._said_all |= last
        for link in self._links:
            if (link.hands.unsent or (last and link.hands.open)) and not link.due:
                link.due = True
                self._loop.call_soon(self._send, link)

    def _unsent(self, link: _Link) -> tuple[list[Request], int | None]:
        """What is to be sent, and the total if that is the end for now."""
        requests, link.hands.unsent = link.hands.unsent, []
        link.given += len(requests)
        if link.given == link.told or not (self._no_more or link.hands.alone):
            return requests, None
        link.told = link.given
        return requests, link.told

    def _send(self, link: _Link) -> None:
        """Send what did not go with the last exchange, which may still wait for a reply."""
        link.due = False
        requests, total = self._unsent(link) if link.hands.open else ([], None)
        if requests or total is not None:
            task = asyncio.create_task(_delivered(link.actor.give.remote(pickle.dumps((requests, total))), link.actor))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _attend(self, link: _Link) -> None:
        """Keep one worker at work, in as many incarnations as it takes."""
        try:
            while not link.ended and not self._draining:
                try:
                    if not link.hands.open:
                        await self._hire(link)
                        self._deal()
                    while not link.ended:
                        link.taking = link.taking or link.actor.exchange.remote(pickle.dumps(self._unsent(link)))
                        parcel: Parcel = pickle.loads(await link.taking)
                        link.taking = None
                        self._settle(link, parcel)
                        await asyncio.sleep(0)  # the slots that have their replies now bring the next requests
                except RayActorError as error:
                    self._lost(link, error)
                    await asyncio.sleep(min(LONGEST_REST, 0.1 * 2**link.falls))
        except RayTaskError as error:
            self._fail(cause_of(error) or error)
        except RayError as error:
            self._fail(EngineError(f"Ray has gone ({type(error).__name__}); start it, then run again"))
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            self._fail(error)

    async def _hire(self, link: _Link) -> None:
        """Start a worker and open its engine; however long the cluster has no room for it."""
        link.actor = self._make()
        try:
            version = await link.actor.version.remote()
            link.arrived = True
            if version != __version__:
                raise EngineError(
                    f"a worker has augment {version}, this is {__version__}; install the same on all nodes"
                )
            try:
                who = await link.actor.open.remote(self._assignment)
            except RayTaskError as error:
                if (cause := cause_of(error)) is None:
                    raise
                raise EngineError(f"a worker cannot open its engine: {cause}") from None
            if who != self._who:
                there, here = (" ".join(filter(None, each or ())) for each in (who, self._who))
                raise EngineError(f"a worker's engine is {there}, here it is {here}; make them the same")
        except RayActorError:
            raise
        except BaseException:
            link.dismiss()
            raise
        link.hands.open = True

    def _settle(self, link: _Link, parcel: Parcel) -> None:
        for reply in parcel.replies:
            _resolve(link.hands.give(reply.key), reply)
        if parcel.replies:
            self._deaths = link.falls = 0
        if parcel.ended:
            link.ended, link.hands.open = True, False
            self._drain()
        self._deal()
        self._conclude()

    def _lost(self, link: _Link, error: RayActorError) -> None:
        """Give what a dead worker held to the others.

        Raises:
            EngineError: it is of no use to go on.
        """
        why, arrived = reason_of(error), link.arrived
        held = link.dismiss()
        link.falls += 1
        self._deaths += 1
        if not arrived and "No module named" in str(error):
            raise EngineError("the cluster's nodes lack augment; install the same version on all of them")
        if self._deaths >= STORM * len(self._links):
            raise EngineError(f"{self._deaths} workers died in a row, the last like this: {why}; see Ray's logs")
        log.warning("a worker died (%s); its %d requests go to others", why, len(held))
        for job in held:
            if job.deaths < DEATHS:
                self._desk.add(job)
            else:
                _resolve(job, Reply(job.request.key, "", "error", error=f"worker died {DEATHS} times: {why}"))
        self._deal()
        self._conclude()

    async def _watch(self) -> None:
        """Looks for a wish to stop, and for there being anyone at all."""
        seen = time.monotonic()
        while True:
            if self._stop.is_set() and not self._draining:
                self._drain()
                self._conclude()
            now = time.monotonic()
            if any(link.arrived for link in self._links):
                seen = now
            elif now - seen > PATIENCE:
                self._fail(EngineError(f"no worker for {PATIENCE:.0f} s; see `ray status`, then run again"))
                return
            await asyncio.sleep(0.1)

    def _drain(self) -> None:
        """Take no further request; those in flight are still answered."""
        self._draining = True
        if self._slots is not None:
            self._slots.drain()
        for link in self._links:
            if link.hands.open:
                link.actor.drain.remote()

    def _conclude(self) -> None:
        """Once drained, what nobody holds any more is not answered."""
        if self._draining and not any(link.hands.open and link.hands.held for link in self._links):
            self._fail(Interrupted("stopped before every request was answered"))

    def _fail(self, error: BaseException) -> None:
        """End the round: the first reason counts."""
        self._fault = self._fault or error
        for job in tuple(self._open):
            if not job.reply.done():
                job.reply.set_exception(self._fault)


def _resolve(job: Job, reply: Reply) -> None:
    if not job.reply.done():
        job.reply.set_result(reply)


async def _delivered(sent: Any, actor: Any) -> None:
    """See that requests reach their worker: one that has not got them must not be waited for."""
    try:
        await sent
    except RayActorError:
        with contextlib.suppress(RayError, ValueError):
            ray.kill(actor)


def cause_of(error: RayTaskError) -> AugmentError | None:
    """What a worker has to say to the user, if that is what it is."""
    cause = getattr(error, "cause", None)
    return type(cause)(*cause.args) if isinstance(cause, AugmentError) else None


def reason_of(error: RayActorError) -> str:
    """What Ray says about a death, without the numbers: its last line, up to the first full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].partition(". ")[0][:200] if lines else type(error).__name__
