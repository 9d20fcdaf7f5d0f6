"""Limits of requests and tokens a minute, on a clock that the test turns."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import pytest

from augment.engines.limits import Limits
from augment.records import Reply, Request

REQUEST = Request("r", "g", 0, (("user", "How do I sleep better at night?"),), "t", 1, max_tokens=100)


def sent_within(limits: Limits, seconds: float, tokens: tuple[int, int] = (8, 40)) -> list[float]:
    """When requests go out that are sent as fast as they may; each is answered half a second later."""
    now, times, replies = 0.0, [], []
    while True:
        while replies and replies[0][0] <= now:
            at, cost = replies.pop(0)
            limits.answered(at, cost, Reply("k", "", "stop", *tokens))
        cost = limits.cost(REQUEST)
        if (wait := limits.wait(now, cost)) > 0:
            now += max(wait, 1e-6)
            if now > seconds:
                return times
            continue
        limits.sent(now, cost)
        replies.append((now + 0.5, cost))
        times.append(now)
        if len(times) > 100_000:
            return times


def busiest(times: list[float]) -> int:
    """The most requests in any sixty seconds."""
    return max(bisect_left(times, first + 60) - place for place, first in enumerate(times))


@pytest.mark.parametrize("rpm", [1, 2, 30, 60, 600, 6000])
def test_no_sixty_seconds_hold_more_requests_than_allowed(rpm):
    times = sent_within(Limits(rpm=rpm), 300)
    assert busiest(times) <= rpm
    assert len(times) >= 0.9 * 5 * rpm - 1 or rpm < 30, "and the limit is used"


def test_tokens_are_counted_as_they_were_and_not_as_they_were_feared():
    times = sent_within(Limits(tpm=4800), 300)
    assert 0.9 * 100 * 4 <= len(times[100:]) + 100 <= 100 * 5  # 48 tokens each: 100 a minute
    late = [each for each in times if each > 60]
    assert busiest(late) * 48 <= 4800 * 1.05


def test_a_request_larger_than_the_bucket_goes_out_and_is_paid_off():
    times = sent_within(Limits(tpm=600), 600, tokens=(8, 92))
    gaps = [after - before for before, after in pairwise(times[3:])]
    assert min(gaps) > 9  # 100 tokens at 10 a second


def test_a_server_that_counts_no_tokens_is_held_to_what_was_reserved():
    times = sent_within(Limits(tpm=1080), 600, tokens=(0, 0))
    assert 80 <= len(times) <= 110  # 108 a request: what it may answer, and what it asks


def test_without_limits_nobody_waits():
    limits = Limits()
    assert limits.wait(0.0, limits.cost(REQUEST)) == 0
