"""How fast to ask: full speed until a server shows its limit, then just under it.

A limit shows as a burst of refusals (429, 503). The pace then holds every request for as long as the server
asks, estimates the limit from what was accepted, and from there on spaces the requests: multiplicative
decrease at most once a burst, an increase that starts flat and steepens while nothing is refused, so that a
limit underestimated ten times is found within seconds and a limit known is touched every ten or so.
Stray refusals (an overloaded replica) are no limit: their requests wait, the others go on.

Pure: no clock, no I/O. Every method takes `now`, in seconds of any monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 0.1
"""Share of refusals that is still no limit; doubled whenever slowing down did not help."""
EVIDENCE = 6.0
"""Refusals beyond the tolerated share that make a limit."""
CAUTION = 0.98
"""The first rate, as a share of what was accepted a second."""
CUT, DEEPEST = 0.95, 0.85
"""What a cut leaves of the rate: at most, at least."""
HOPELESS = 0.7
"""Refused below this share of a rate once carried: the refusals do not come from our speed."""
SEEK, KNOWN = (0.02, 0.6), (0.002, 5.0)
"""Growth a second, and the seconds in which it doubles: before and after the limit was met twice."""
STEEPEST = 1.0
"""The highest growth a second."""
HOLD, LONG_HOLD = 0.1, 0.2
"""Share of a Retry-After for which the other requests are held after a cut: with the limit known to a few
percent, and before. All of it if that fails."""
SLACK = 0.02
"""Seconds of lateness (timers, a busy loop) that are caught up."""


@dataclass(slots=True)
class Pace:
    """Decides when the next request may be sent; shared by all slots of an engine.

    `slots` is how many requests may be out at once; `rate` the limit in force, in requests a second, or None.
    """

    slots: int = 64
    rate: float | None = None
    tolerance: float = TOLERANCE
    _next: float = 0.0  # no request before this time
    _since: float | None = None  # start of the cycle over which acceptance is measured
    _accepted: int = 0  # requests of this cycle that were sent and not refused
    _score: float = 0.0  # refusals less the tolerated share of requests (CUSUM); credit for one round at most
    _cut_at: float = 0.0  # refusals of requests sent before belong to the same burst
    _until: float = 0.0  # when the Retry-After of the last cut runs out
    _settling: bool = False  # held after discovery: the rate is set when the hold ends
    _proven: float = 0.0
    _growth: tuple[float, float] = SEEK
    _age: float = 0.0  # seconds for which this rate was used to the full
    _last: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent; 0 or less: at once."""
        return self._next - now

    def sent(self, now: float) -> None:
        """A request goes out; `wait` was 0."""
        if self.rate is not None:
            self._step(now)
        else:
            self._score = max(self._score - self.tolerance, -self.tolerance * self.slots)
            if self._since is None:
                self._since = now
            elif now > self._since + 60.0:  # what the server bore long ago says little
                self._since, self._accepted = (self._since + now) / 2, self._accepted // 2
        self._accepted += 1

    def refused(self, now: float, retry_after: float, sent: float) -> None:
        """The request sent at `sent` was refused, to be tried again `retry_after` seconds from `now`."""
        self._accepted -= sent >= (self._since or 0.0)
        if self.rate is None:
            self._score += 1.0
            if self._score >= EVIDENCE:
                self._discover(now, retry_after)
        elif sent < self._cut_at:
            return
        elif now < self._until:  # slower did not do: the server means all of its Retry-After
            self._hold(now, retry_after, 1.0)
        else:
            self._cut(now, retry_after)

    def _discover(self, now: float, retry_after: float) -> None:
        self._settling, self._score = True, 0.0
        self.rate = 1.0  # set when the hold ends and all refusals of the burst are counted
        self._growth = SEEK
        self._hold(now, retry_after, 1.0)

    def _settle(self, now: float) -> None:
        """The first rate: what was accepted since the cycle began, the hold included."""
        since = self._since if self._since is not None else now
        span = max(self._until - since, 0.1)
        self.rate = max(CAUTION * self._accepted / span, 1.0 / span)
        self._settling = False
        self._since, self._accepted = self._cut_at, 0
        self._age, self._last = 0.0, now

    def _cut(self, now: float, retry_after: float) -> None:
        assert self.rate is not None and self._since is not None
        carried = self._accepted / max(now - self._since, 0.1)
        rate = min(CUT * self.rate, max(carried, DEEPEST * self.rate))
        self._proven = max(self._proven, min(carried, self.rate))
        close = self._growth == KNOWN and self._age > KNOWN[1]
        self._since, self._accepted = now, 0
        self._age, self._growth = 0.0, KNOWN
        if rate < HOPELESS * self._proven:
            self.rate, self._next, self._proven = None, now, 0.0
            self.tolerance *= 2
            return
        self.rate = rate
        self._hold(now, retry_after, HOLD if close else LONG_HOLD)

    def _hold(self, now: float, retry_after: float, share: float) -> None:
        self._next = max(self._next, now + share * retry_after)
        self._until = now + retry_after
        self._cut_at = now

    def _step(self, now: float) -> None:
        """Moves the next send by one interval, and grows the rate while the rate is what holds us back."""
        if self._settling:
            self._settle(now)
        assert self.rate is not None
        if now - self._next <= SLACK + 1.0 / self.rate:
            elapsed = max(min(now - self._last, 1.0), 0.0)
            self._age += elapsed
            start, doubling = self._growth
            self.rate *= 1.0 + elapsed * min(start * 2.0 ** min(self._age / doubling, 30.0), STEEPEST)
        self._last = now
        self._next = max(self._next, now - SLACK) + 1.0 / self.rate
