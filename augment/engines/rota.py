"""Several servers of one model: which is asked next, which is left out, and when that one is tried again.

The next request goes where it should be answered first: by how long answers take there and how many are out. So equal
servers take turns, a slow one gets as little as it manages, and one that does not answer gets nothing but a try now and
then. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds without requests after the first failure in a row, and at most."""
MEMORY = 0.2
"""Weight of the newest answer in how long answers take."""


@dataclass(slots=True)
class Post:
    """One server's state: requests out, seconds an answer takes (None: not known), failures in a row, until when it
    rests, and whether the one try after that is out."""

    out: int = 0
    seconds: float | None = None
    failures: int = 0
    until: float = 0.0
    tried: bool = False

    def ready(self, now: float) -> bool:
        """Whether it may be asked: it is well, or has rested and nobody tries it yet."""
        return self.failures == 0 or (now >= self.until and not self.tried)


class Rota:
    """The posts of `count` servers, by their place."""

    def __init__(self, count: int) -> None:
        self.posts = [Post() for _ in range(count)]
        self._next = 0

    def choose(self, now: float, not_there: Sequence[int] = ()) -> int:
        """The place to ask, elsewhere than `not_there` if that can be; where nobody is well, in turn."""
        order = [(self._next + step) % len(self.posts) for step in range(len(self.posts))]
        ready = [each for each in order if self.posts[each].ready(now) or not self.alive]
        found = [each for each in ready if each not in not_there] or ready
        quickest = min((post.seconds for post in self.posts if post.seconds is not None), default=1.0)
        # one who rested is tried at once: else nobody would know that it is back
        best = min(found, key=lambda each: (self.posts[each].failures == 0, self._wait(each, quickest)))
        self._next = (best + 1) % len(self.posts)
        return best

    def _wait(self, place: int, unknown: float) -> float:
        post = self.posts[place]
        return (post.out + 1) * (unknown if post.seconds is None else post.seconds)

    def asked(self, place: int) -> None:
        """A request goes out."""
        post = self.posts[place]
        post.out += 1
        post.tried = post.failures > 0

    def answered(self, place: int, seconds: float) -> bool:
        """It answered, whatever it said; whether it is back from a rest."""
        post = self.posts[place]
        post.out -= 1
        back, post.failures, post.tried = post.failures > 0, 0, False
        post.seconds = seconds if post.seconds is None else post.seconds + MEMORY * (seconds - post.seconds)
        return back

    def failed(self, place: int, now: float, sent: float) -> bool:
        """It was not there, or did not answer in time; whether that is news. `sent`: when the request had gone out."""
        post = self.posts[place]
        post.out -= 1
        if post.failures and not post.tried:  # one of those that were out when it went
            return False
        post.failures, post.tried = post.failures + 1, False
        post.until = now + min(LONGEST_REST, FIRST_REST * 2.0 ** (post.failures - 1))
        return post.failures == 1

    def left(self, place: int) -> None:
        """A request is given up by us."""
        self.posts[place].out -= 1

    @property
    def alive(self) -> bool:
        """Whether any server is well."""
        return any(post.failures == 0 for post in self.posts)
