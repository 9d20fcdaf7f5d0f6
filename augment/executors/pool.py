"""Processes for generators that answer themselves and take their time: pictures made on all cores of this host.

A process makes the picture, keeps it in the picture store and sends back what is known of it, not the picture: a few
hundred bytes a reply.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from augment.errors import RunError
from augment.generators import SelfAnswering
from augment.images.store import pictures
from augment.places import home
from augment.records import Reply, Request

if TYPE_CHECKING:
    from concurrent.futures import Future

MOST = 8
"""Processes: beyond, the one that hands out requests and reads replies is what they wait for."""
WORTH = 400
"""Requests under which starting processes takes longer than it saves: a second, against 3 of 6 ms a picture."""
CHUNK = 8
"""Requests that a process gets at once, and that are still made after a wish to stop."""
AHEAD = 3
"""Chunks for each process that may be under way or done and not yet yielded."""
SLOW = ("numpy", "PIL.Image", "polars", "pydantic")
"""Imported once for all processes. None of ours: a fork server does not know this process's `sys.path`."""

_generators: Mapping[str, SelfAnswering] = {}
"""In a process of the pool: who answers."""


def processes_for(requests: int) -> int:
    """How many processes are worth starting for so many requests: 1 is this one alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST) if requests >= WORTH else 1


def pooled(requests: Iterable[Request], generators: Mapping[str, SelfAnswering], processes: int) -> Iterator[Reply]:
    """One reply a request, in order, made by the generator it names in one of `processes`; its picture is in the store.

    Requests are drawn in the caller's thread, a few chunks ahead of the replies. When the iterator is closed, processes
    end with the chunk that they are at. Whatever a generator raises is raised here, with its traceback.

    Raises:
        RunError: a process was killed, or a picture cannot be kept.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    remaining = iter(requests)
    under_way: deque[Future[list[Reply]]] = deque()
    pool = ProcessPoolExecutor(processes, _context(), _begin, (dict(generators), str(home().absolute())))
    try:
        while chunk := list(itertools.islice(remaining, CHUNK)):
            under_way.append(pool.submit(_answered, chunk))
            if len(under_way) >= AHEAD * processes:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    except BrokenProcessPool:
        raise RunError(
            "a process that makes pictures was killed, perhaps for lack of memory; run again to go on from here"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _context() -> Any:
    """How processes are started: never as a fork of this one, which might copy a lock that a thread of it holds.

    Where there is a fork server, it imports what is slow to import, once. It is started with SIGINT blocked, and so
    are its forks: Ctrl-C reaches every process of a terminal, and it is this one's to decide.
    """
    from multiprocessing import get_all_start_methods, get_context, resource_tracker

    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    from multiprocessing import forkserver

    context = get_context("forkserver")
    context.set_forkserver_preload(list(SLOW))
    resource_tracker.ensure_running()  # by itself: it unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _begin(generators: Mapping[str, SelfAnswering], place: str) -> None:
    """In a new process: who answers, where pictures are, and whom it serves."""
    global _generators
    _generators = generators
    os.environ["AUGMENT_HOME"] = place
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End with the process that this one serves, however that ends."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answered(requests: Iterable[Request]) -> list[Reply]:
    replies = []
    for request in requests:
        reply = _generators[request.generator].answer(request)
        if reply.picture:
            pictures().put(reply.key, reply.picture)
            reply = dataclasses.replace(reply, picture=b"")
        replies.append(reply)
    return replies
