"""What ends a loop between two steps: an event for what looks at one, and a call for what has to be told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from augment.errors import Interrupted


class Halt:
    """Set once, from any thread or signal; whatever stage is under way ends well."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._drains: list[Callable[[], None]] = []

    def __call__(self) -> None:
        """End the stage that is under way, and begin no other."""
        self.event.set()
        for drain in list(self._drains):
            drain()

    def check(self) -> None:
        """Go on only if nothing was said.

        Raises:
            Interrupted: it was.
        """
        if self.event.is_set():
            raise Interrupted("stopped between two stages")

    @contextmanager
    def told_to(self, drain: Callable[[], None]) -> Iterator[None]:
        """Call `drain` when it is said while the block lasts.

        Raises:
            Interrupted: it was said before.
        """
        self.check()
        self._drains.append(drain)
        try:
            if self.event.is_set():
                drain()
            yield
        finally:
            self._drains.remove(drain)
