"""Limits that a user sets: requests and tokens a minute, never more in any sixty seconds.

Pure, as `augment.engines.pace`: no clock, no I/O. What a request costs in tokens is known when its reply comes; until
then it is reserved by what it asks and by how long answers have been so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from augment.language import tokens_of
from augment.records import Reply, Request

MINUTE = 60.0
BURST = 1.0
"""Seconds' worth that may go out at once after a silence. So much of a minute's limit is held back for it."""


@dataclass(slots=True)
class Bucket:
    """A token bucket of `limit` a minute: what fills it in a minute and what it holds make `limit` together."""

    limit: float
    filled: float = field(init=False)
    _at: float | None = None

    def __post_init__(self) -> None:
        self.filled = self.holds

    @property
    def holds(self) -> float:
        """What goes out at once after a silence; one thing at least."""
        return max(1.0, self.limit * BURST / MINUTE)

    @property
    def rate(self) -> float:
        """What comes in a second."""
        return max(self.limit - self.holds, self.limit / 2) / MINUTE

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` may go out: more than the bucket holds goes out when it is full, and is owed then."""
        self._fill(now)
        return max(0.0, (min(amount, self.holds) - self.filled) / self.rate)

    def take(self, now: float, amount: float) -> None:
        """`amount` goes out, or comes back where it is negative."""
        self._fill(now)
        self.filled = min(self.holds, self.filled - amount)

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self.filled = min(self.holds, self.filled + (now - self._at) * self.rate)
        self._at = now


class Limits:
    """Requests and tokens a minute; None: no limit."""

    def __init__(self, rpm: float | None = None, tpm: float | None = None) -> None:
        self._requests = Bucket(rpm) if rpm else None
        self._tokens = Bucket(tpm) if tpm else None
        self._answers = self._said = 0

    def cost(self, request: Request) -> float:
        """The tokens that a request is likely to cost: what it asks, and an answer as long as those before."""
        if self._tokens is None:
            return 0.0
        asked = sum(tokens_of(text) for _, text in request.messages)
        return asked + (min(self._said / self._answers, request.max_tokens) if self._answers else request.max_tokens)

    def wait(self, now: float, cost: float) -> float:
        """Seconds until a request of that cost may be sent; 0: at once."""
        waits = (each.wait(now, amount) for each, amount in ((self._requests, 1.0), (self._tokens, cost)) if each)
        return max(waits, default=0.0)

    def sent(self, now: float, cost: float) -> None:
        """A request goes out."""
        if self._requests:
            self._requests.take(now, 1.0)
        if self._tokens:
            self._tokens.take(now, cost)

    def answered(self, now: float, cost: float, reply: Reply) -> None:
        """Its reply: what it really cost. A server that reports no tokens leaves it at what was reserved."""
        if self._tokens and reply.tokens_in + reply.tokens_out:
            self._answers += 1
            self._said += reply.tokens_out
            self._tokens.take(now, reply.tokens_in + reply.tokens_out - cost)
