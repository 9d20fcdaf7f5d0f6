"""Models spread over Ray actors: each opens a work once and works on batches; results come in order.

A batch whose worker dies goes to another one, up to `DEATHS` times: then it is to blame.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from augment import __version__
from augment.errors import EngineError
from augment.executors.bench import Bench
from augment.executors.cluster import CARRIED, connected, room_for
from augment.executors.crew import cause_of, reason_of
from augment.executors.desk import DEATHS
from filters.spread import Spread, Work

log = logging.getLogger(__name__)

HELD = 2
"""Batches a worker has: one that it works on, and one that waits there."""
AHEAD = 4
"""Batches for each worker that may be drawn before the oldest has its result."""
PATIENCE = 60.0
"""Seconds without any worker after which none is expected."""


@dataclass(frozen=True)
class Wanted:
    """Workers asked for: how many (None: as many as there is room for), where (None: this host), GPUs for each."""

    workers: int | None
    ray: str | None
    gpus_per_worker: float = 0.0


@dataclass(eq=False)
class _Seat:
    """One worker: `actor` is its present incarnation, `held` the batches it has, oldest first."""

    actor: Any
    held: deque[Any] = field(default_factory=deque)


@contextmanager
def on_ray(wanted: Wanted) -> Iterator[Spread]:
    """A spread over Ray actors, which live until the block ends.

    Raises:
        EngineError: Ray does not answer, or has no room for one worker.
    """
    environment = {name: os.environ[name] for name in CARRIED if name in os.environ}
    with connected(wanted):
        actor = ray.remote(Bench).options(
            num_cpus=1,
            num_gpus=wanted.gpus_per_worker,
            max_restarts=0,  # a new one is started here, which knows nothing yet
            scheduling_strategy="SPREAD",
            enable_task_events=False,
        )
        team = Team(actor.remote, room_for(wanted), str(Path.cwd()), environment)
        try:
            yield team
        finally:
            team.dismiss()


class Team:
    """Workers that live until `dismiss`; `make` starts one."""

    def __init__(self, make: Callable[[], Any], count: int, folder: str, environment: dict[str, str]) -> None:
        self._make = make
        self._told = (folder, environment)
        self._seats = [_Seat(make()) for _ in range(count)]
        self._greet(self._seats)

    def __call__(self, work: Work, batches: Iterable[Any]) -> Iterator[Any]:
        """One result a batch, in order; batches are drawn as workers come free, a few ahead of the results.

        Raises:
            EngineError: a batch kills its worker again and again, or Ray has gone.
            AugmentError: as `Work.open`.
        """
        source = enumerate(batches)
        waiting: deque[tuple[int, bytes]] = deque()
        flying: dict[Any, tuple[_Seat, int, bytes]] = {}
        done: dict[int, Any] = {}
        deaths: dict[int, int] = {}
        for each in self._seats:
            each.held.clear()
        following = drawn = 0
        while True:
            while len(waiting) < len(self._seats) and drawn - following < AHEAD * len(self._seats):
                given = next(source, None)
                if given is None:
                    break
                drawn += 1
                waiting.append((given[0], pickle.dumps((work, given[1]))))
            while waiting and len((seat := min(self._seats, key=lambda each: len(each.held))).held) < HELD:
                at, batch = waiting.popleft()
                ref = seat.actor.work.remote(batch)
                seat.held.append(ref)
                flying[ref] = (seat, at, batch)
            if not flying:
                return
            ready, _ = ray.wait(list(flying), num_returns=1)
            seat, at, batch = flying[ready[0]]
            try:
                done[at] = pickle.loads(ray.get(ready[0]))
            except RayActorError as error:
                blamed, why = flying[seat.held[0]][1], reason_of(error)
                again = [flying.pop(each)[1:] for each in seat.held]
                self._replace(seat)
                deaths[blamed] = deaths.get(blamed, 0) + 1
                if deaths[blamed] >= DEATHS:
                    raise EngineError(f"a batch killed {DEATHS} workers, the last like this: {why}") from None
                log.warning("a worker died (%s); its %d batches go to others", why, len(again))
                waiting.extendleft(reversed(again))
                continue
            except RayTaskError as error:
                raise (cause_of(error) or error) from None
            except RayError as error:
                raise EngineError(f"Ray has gone ({type(error).__name__}); start it, then run again") from None
            del flying[ready[0]]
            seat.held.remove(ready[0])
            while following in done:
                yield done.pop(following)
                following += 1

    def dismiss(self) -> None:
        """End all workers."""
        for seat in self._seats:
            with contextlib.suppress(RayError, ValueError):  # it, or all of Ray, is gone already
                ray.kill(seat.actor)

    def _replace(self, seat: _Seat) -> None:
        with contextlib.suppress(RayError, ValueError):
            ray.kill(seat.actor)
        seat.held.clear()
        seat.actor = self._make()
        seat.actor.settle.remote(*self._told)

    def _greet(self, seats: list[_Seat]) -> None:
        """Tell new workers where they work; wait for the first of them.

        Raises:
            EngineError: none comes, or it has another augment.
        """
        told = [seat.actor.settle.remote(*self._told) for seat in seats]
        ready, _ = ray.wait(told, num_returns=1, timeout=PATIENCE)
        if not ready:
            raise EngineError(f"no worker for {PATIENCE:.0f} s; see `ray status`, then run again")
        try:
            version = ray.get(ready[0])
        except RayActorError as error:
            if "No module named" in str(error):
                raise EngineError("the cluster's nodes lack augment; install the same version on all of them") from None
            raise EngineError(f"a worker died before it began: {reason_of(error)}; see Ray's logs") from None
        if version != __version__:
            raise EngineError(f"a worker has augment {version}, this is {__version__}; install the same on all nodes")
