"""An iterator drawn in a thread of its own: engines go on answering while what they answered is sifted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_OVER = object()
PATIENCE = 1.0
"""Seconds to wait, when the items are no longer wanted, for the thread to notice."""


@contextmanager
def ahead(source: Iterator[T], room: int) -> Iterator[Iterator[T]]:
    """The items of `source`, up to `room` of them drawn before they are asked for.

    `source` runs in the thread alone. What it raises is raised where the item after the last would have come.
    """
    items: queue.Queue[Any] = queue.Queue(room)
    unwanted = threading.Event()

    def offer(item: Any) -> bool:
        while not unwanted.is_set():
            try:
                items.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def draw() -> None:
        try:
            for item in source:
                if not offer((item, None)):
                    break
            else:
                offer((_OVER, None))
        except BaseException as error:  # noqa: BLE001 - raised again where the items are used
            offer((_OVER, error))
        finally:
            if isinstance(source, Generator):
                source.close()

    def drawn() -> Iterator[T]:
        while True:
            item, error = items.get()
            if error is not None:
                raise error
            if item is _OVER:
                return
            yield item

    thread = threading.Thread(target=draw, name="augment-ahead", daemon=True)
    thread.start()
    try:
        yield drawn()
    finally:
        unwanted.set()
        thread.join(PATIENCE)
