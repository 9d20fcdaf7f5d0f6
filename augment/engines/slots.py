"""A fixed number of slots that answer requests in the background, fed from an ordinary iterable.

The caller's thread draws the requests and takes the replies; an event loop in a thread of its own answers.
Drawing stays with the caller so that the iterable may hold whatever belongs to that thread (a database
connection, a lock); a slot's worth of requests is drawn ahead so that no slot waits for the caller. A slow
answer holds its own slot and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from augment.engines import Keep
from augment.records import Reply, Request

Answer = Callable[[Request], Awaitable[Reply | None]]
"""None: given up, because no more is wanted; it gets no reply."""
Opened = Callable[[], AbstractAsyncContextManager[Answer]]

AHEAD = 2
"""Requests drawn and not yet yielded, as a multiple of the slots: half of them in flight, half waiting."""

_WAKE = object()
_GIVEN_UP = object()


class Slots:
    """`count` slots, each with one request at a time; `opened()` gives the coroutine that answers one.

    A slot keeps its reply before it takes the next request: what is neither answered nor kept is in flight.

    An exception from that coroutine ends everything and reaches the caller after the replies before it.
    """

    def __init__(self, count: int, opened: Opened, keep: Keep) -> None:
        self._count = count
        self._keep = keep
        self._opened = opened
        self._pending: deque[Request] = deque()
        self._idle: deque[asyncio.Future[Request]] = deque()
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._stop = False
        self._draining = False

    def drain(self) -> None:
        """Draw no further request; those in flight are still answered. Callable from any thread."""
        self._draining = True
        self._done.put(_WAKE)

    def answer(self, requests: Iterable[Request | None]) -> Iterator[Reply]:
        """Replies in the order they finish; at most `AHEAD` × count requests are drawn and not yet yielded."""
        source = iter(requests)
        thread = threading.Thread(target=self._run, name="augment-slots", daemon=True)
        thread.start()
        try:
            yield from self._exchange(source)
        except GeneratorExit:
            raise
        except BaseException:
            self._close(thread)
            yield from self._arrived()
            raise
        finally:
            self._close(thread)

    def _exchange(self, source: Iterator[Request | None]) -> Iterator[Reply]:
        outstanding, more, paused, done = 0, True, False, self._done
        while True:
            if self._draining:
                more = False
                outstanding -= self._withdraw()
            # Draw while there is nothing to hand over, or one for one: neither side starves the other.
            if more and not paused and outstanding < AHEAD * self._count:
                try:
                    request = next(source)
                except StopIteration:
                    more = False
                    continue
                if request is None:  # what comes next depends on a reply that is not yet here
                    paused = True
                    continue
                outstanding += 1
                self._submit(request)
                if done.empty():
                    continue
            if not outstanding and not more:
                return
            if paused and not outstanding:
                raise AssertionError("a pause while nothing is asked never ends")
            item = done.get()
            if item is _WAKE:
                continue
            if isinstance(item, BaseException):
                raise item
            outstanding -= 1
            if item is _GIVEN_UP:
                continue
            paused = False
            yield item

    def _submit(self, request: Request) -> None:
        self._pending.append(request)
        if self._idle and self._loop is not None:  # a slot lists itself as idle before it looks once more
            with contextlib.suppress(RuntimeError):  # the loop has just ended; its reason is in `_done`
                self._loop.call_soon_threadsafe(self._hand_out)

    def _withdraw(self) -> int:
        """Takes back the requests that no slot has begun, and says how many."""
        taken = 0
        with contextlib.suppress(IndexError):
            while True:
                self._pending.popleft()
                taken += 1
        return taken

    def _arrived(self) -> Iterator[Reply]:
        """Replies that were paid for before a failure and not yet handed over."""
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._done.get_nowait()
                if isinstance(item, Reply):
                    yield item

    def _close(self, thread: threading.Thread) -> None:
        self._stop = True
        if self._loop is not None and self._main is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._main.cancel)
        thread.join()

    def _run(self) -> None:
        """The thread: an event loop, on uvloop where there is one."""
        try:
            import uvloop

            factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        except ImportError:
            factory = asyncio.new_event_loop
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread, if it still listens
            self._done.put(error)

    async def _serve(self) -> None:
        self._main = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._stop:
            return
        async with self._opened() as answer:
            slots = [asyncio.create_task(self._slot(answer)) for _ in range(self._count)]
            try:
                finished, _ = await asyncio.wait(slots, return_when=asyncio.FIRST_EXCEPTION)
                for slot in finished:
                    slot.result()
            finally:
                for slot in slots:
                    slot.cancel()
                await asyncio.gather(*slots, return_exceptions=True)

    async def _slot(self, answer: Answer) -> None:
        pending, done = self._pending, self._done
        while True:
            try:
                request = pending.popleft()
            except IndexError:
                request = await self._next()
            reply = await answer(request)
            if reply is None:
                done.put(_GIVEN_UP)
                continue
            self._keep(request, reply)
            done.put(reply)

    async def _next(self) -> Request:
        idle: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        self._hand_out()
        return await idle

    def _hand_out(self) -> None:
        while self._idle:
            try:
                request = self._pending.popleft()
            except IndexError:
                return
            self._idle.popleft().set_result(request)


class Streams:
    """The slots of one engine's `generate` calls: once `drain()` was called, none of them takes a request any more."""

    def __init__(self) -> None:
        self.drained = False
        self._active: set[Slots] = set()

    def answer(self, slots: Slots, requests: Iterable[Request | None]) -> Iterator[Reply]:
        """As `slots.answer`, until drained."""
        self._active.add(slots)
        if self.drained:
            slots.drain()
        try:
            yield from slots.answer(requests)
        finally:
            self._active.discard(slots)

    def drain(self) -> None:
        """Take no further request; those in flight are still answered. Callable from any thread."""
        self.drained = True
        for slots in tuple(self._active):
            slots.drain()
