"""The pace against simulated servers: a clock that is a number, one heap of events, no threads."""

from __future__ import annotations

import copy
import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest

from augment.engines.pace import Pace

Server = Callable[[float], float | None]
"""Called at a time in seconds: None accepts, a number refuses and is the Retry-After."""


@dataclass
class Bucket:
    """A token bucket: `rate` tokens a second, at most `size` saved up."""

    rate: float
    size: float
    filled: float = 0.0
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.size

    def __call__(self, now: float) -> float | None:
        self.tokens = min(self.size, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1:
            return 1.0
        self.tokens -= 1
        return None


@dataclass
class Window:
    """At most `size` in each window of `length` seconds, the first of which began `phase` seconds ago."""

    size: int
    length: float = 1.0
    phase: float = 0.0
    index: int = -1
    used: int = 0

    def __call__(self, now: float) -> float | None:
        index, since = divmod(now + self.phase, self.length)
        if index != self.index:
            self.index, self.used = int(index), 0
        if self.used >= self.size:
            return float(math.ceil(self.length - since))
        self.used += 1
        return None


@dataclass
class Run:
    calls: int = 0
    seconds: float = 0.0
    refused: list[float] = field(default_factory=list)
    most: int = 0

    @property
    def after_discovery(self) -> int:
        """Refusals that were not part of the first burst."""
        return sum(when > self.refused[0] + 1.0 for when in self.refused)


def simulate(server: Server, rows: int, slots: int = 64, latency: float = 0.2) -> Run:
    """Answers `rows` requests; an answer takes `latency` ± 10 %, a refusal 3 ms, a timer is up to 1 ms late."""
    pace, run, noise = Pace(slots), Run(), random.Random(7)
    order: Iterator[int] = count()
    events: list[tuple[float, int, str, tuple[float, ...]]] = []

    def at(when: float, what: str, *more: float) -> None:
        heapq.heappush(events, (when, next(order), what, more))

    waiting, drawn, done, flying, wake = min(slots, rows), min(slots, rows), 0, 0, -1.0
    at(0.0, "wake")
    while done < rows:
        now, _, what, more = heapq.heappop(events)
        if what == "answered":
            done, flying = done + 1, flying - 1
            waiting, drawn = waiting + (drawn < rows), drawn + (drawn < rows)
        elif what == "refused":
            pace.refused(now, more[1], more[0])
            at(now + more[1] * (1 + 0.1 * noise.random()), "again")
        elif what == "again":
            waiting += 1
        while waiting and pace.wait(now) <= 0:
            waiting -= 1
            pace.sent(now)
            run.calls += 1
            retry_after = server(now)
            if retry_after is None:
                flying += 1
                run.most = max(run.most, flying)
                at(now + latency * (0.9 + 0.2 * noise.random()), "answered")
            else:
                run.refused.append(now)
                at(now + 0.003, "refused", now, retry_after)
        if waiting and wake <= now:
            wake = now + pace.wait(now) + 0.001 * noise.random()
            at(wake, "wake")
    run.seconds = now
    return run


@pytest.mark.parametrize("slots", [64, 256])
@pytest.mark.parametrize(
    "server", [Bucket(50, 50), Bucket(50, 100), Window(50), Window(50, phase=0.5), Window(50, phase=0.9)], ids=str
)
def test_a_hidden_limit_is_used_and_hardly_exceeded(server: Server, slots: int) -> None:
    run = simulate(copy.copy(server), 2000, slots)
    assert 2000 / run.seconds >= 0.9 * 50
    assert run.after_discovery <= 0.02 * 2000


def test_at_64_slots_the_discovery_costs_little_too() -> None:
    assert simulate(Bucket(50, 50), 2000).calls <= 1.02 * 2000
    assert simulate(Window(50, phase=0.3), 2000).calls <= 1.02 * 2000


def test_few_slots_are_never_far_beyond_the_limit() -> None:
    run = simulate(Bucket(50, 50), 2000, slots=16)
    assert 2000 / run.seconds >= 0.9 * 50 and run.calls <= 1.1 * 2000


def test_a_limit_a_minute_is_found_with_its_long_retry_after() -> None:
    run = simulate(Window(3000, 60.0), 9000)
    assert run.seconds <= 180 / 0.9 and run.calls <= 1.02 * 9000


def test_a_limit_underestimated_at_first_is_found() -> None:
    run = simulate(Bucket(50, 1), 5000)  # a burst of one: the first estimate is one a second
    assert 5000 / run.seconds >= 0.8 * 50


def test_without_refusals_every_slot_is_used_from_the_start() -> None:
    run = simulate(lambda _: None, 2000, slots=64)
    assert run.most == 64 and run.seconds <= 2000 / 320 * 1.1


def test_without_refusals_nothing_ever_waits() -> None:
    pace = Pace(8)
    for step in range(1000):
        assert pace.wait(step / 1000) <= 0
        pace.sent(step / 1000)
    assert pace.rate is None


def test_stray_refusals_are_no_limit() -> None:
    noise = random.Random(1)
    run = simulate(lambda _: 1.0 if noise.random() < 0.04 else None, 2000)
    assert run.seconds <= 2000 / 320 * 1.5


def test_a_burst_cuts_once() -> None:
    pace = Pace(4)
    for _ in range(20):
        pace.sent(0.0)
    for _ in range(10):
        pace.refused(0.01, 2.0, 0.0)
    assert pace.wait(0.02) == pytest.approx(1.99)  # all are held as long as the server asks
    pace.sent(2.02)
    first = pace.rate
    assert first is not None and first <= 10 / 2.0
    now = 2.02
    for _ in range(6):
        now += pace.wait(now)
        pace.sent(now)
    for _ in range(4):
        pace.refused(now, 1.0, now - 1e-9)
    assert pace.rate is not None and pace.rate >= 0.8 * first
