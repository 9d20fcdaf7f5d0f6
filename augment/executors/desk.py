"""Who is given which request: the worker that has the least; and how a request that kills workers is found out."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from augment.records import Reply, Request

DEATHS = 3
"""Deaths of workers that a request may be held at; then it is to blame, and fails."""


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way; `deaths` of workers that held it make it a suspect."""

    request: Request
    reply: asyncio.Future[Reply]
    deaths: int = 0

    @property
    def alone(self) -> bool:
        """Whether it is to be held with no other, so that one more death is its own doing."""
        return self.deaths >= DEATHS - 1


@dataclass(eq=False)
class Hands:
    """What one worker holds, by reply key, and which of it is still to be sent there.

    `open`: it takes more; `suspects`: how many of those it holds; `alone`: it holds one that must be alone.
    """

    open: bool = False
    held: dict[str, Job] = field(default_factory=dict)
    unsent: list[Request] = field(default_factory=list)
    suspects: int = 0
    alone: bool = False

    def take(self, job: Job) -> None:
        """Hold one more."""
        self.held[job.request.key] = job
        self.unsent.append(job.request)
        self.suspects += job.deaths > 0
        self.alone = job.alone

    def give(self, key: str) -> Job:
        """Hold it no longer: it has its reply."""
        job = self.held.pop(key)
        self.suspects -= job.deaths > 0
        self.alone = False
        return job

    def drop(self) -> list[Job]:
        """Lose everything, in the order it came, each with one death more to its name."""
        jobs = list(self.held.values())
        self.open, self.held, self.unsent, self.suspects, self.alone = False, {}, [], 0, False
        for each in jobs:
            each.deaths += 1
        return jobs


class Desk:
    """Deals what waits to `hands`, each up to `window` requests.

    A worker's death makes everything it held suspect. Suspects go first; a worker has only a few of them (the
    root of its window) among others that are above suspicion, so that the next death leaves few; those are held
    alone, and the third death is certain. So one request that kills its worker costs itself and three deaths.

    Requests of the generators named in `own` stay with one worker as long as they are about one record: these
    generators work out a record's variants together.
    """

    def __init__(self, hands: list[Hands], window: int, own: frozenset[str]) -> None:
        self._hands = hands
        self._window = window
        self._few = math.isqrt(window)
        self._own = own
        self._suspects: list[Job] = []
        self._fresh: deque[Job] = deque()
        self._last: tuple[str, Hands] | None = None

    @property
    def idle(self) -> bool:
        """Whether no request waits that has not been dealt before."""
        return not self._fresh

    def add(self, job: Job) -> None:
        """One more to deal."""
        (self._suspects if job.deaths else self._fresh).append(job)

    def deal(self) -> None:
        """Put what waits into the hands that have room for it."""
        if not self._fresh and not self._suspects:
            return
        ready = [each for each in self._hands if each.open]
        reserved: Hands | None = None
        for job in tuple(self._suspects):
            if self._dealt(job, ready if job.alone else [each for each in ready if each is not reserved]):
                self._suspects.remove(job)
            elif job.alone and reserved is None:  # the one that is soonest empty is kept from being filled again
                reserved = min((each for each in ready if not each.alone), key=_load, default=None)
        others = [each for each in ready if each is not reserved and not each.alone]
        while self._fresh and self._dealt(self._fresh[0], others):
            self._fresh.popleft()

    def _dealt(self, job: Job, among: Sequence[Hands]) -> bool:
        if job.deaths:
            among = [each for each in among if self._has_room_for_suspect(each, job)]
        hands = min(among, key=_load, default=None)  # each request comes by here: no more than this for the usual one
        if hands is None or len(hands.held) >= self._window:
            return False
        if self._last is not None and job.request.generator in self._own:
            record, last = self._last
            if record == job.request.record and last in among and len(last.held) < self._window:
                hands = last
        hands.take(job)
        self._last = job.request.record, hands
        return True

    def _has_room_for_suspect(self, hands: Hands, job: Job) -> bool:
        if job.alone or hands.alone:
            return not hands.held
        return hands.suspects < self._few


def _load(hands: Hands) -> int:
    return len(hands.held)
