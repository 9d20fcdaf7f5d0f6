"""Asking servers over HTTP, in words or for pictures: a queue, a pace for each, retries, and what ends a run.

A work queue over one aiohttp session: each slot has one request out, so a slow answer holds its own slot. Of several
servers the one that should answer first is asked. Only what can succeed is tried again; a refused row costs that row; a
refused key or model ends the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Protocol

import aiohttp
from yarl import URL

from augment.engines import EngineOptions, Keep, forget
from augment.engines.chat import Unusable, complaint
from augment.engines.limits import Limits
from augment.engines.pace import Pace
from augment.engines.rota import Rota
from augment.engines.server import PATIENCE, Server
from augment.engines.slots import Answer, Slots, Streams
from augment.errors import EngineError
from augment.records import UNUSABLE, Reply, Request

log = logging.getLogger(__name__)

FATAL = frozenset({301, 302, 307, 308, 401, 402, 403, 404})
SLOW_DOWN = frozenset({429, 503})
UNUSABLE_TRIES = 3
LOOK_AGAIN = 0.1
"""Seconds, at most, after which several servers are looked over again: one may have come back."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the first retry, and at most between two; a Retry-After may ask for more."""

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets what is at a path of the same server, or at an address on its host."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One try at a request: the body that goes to `path`, and what its speech wants to know when the answer comes.

    `version` is the dialect's when it was written; a body that is not JSON says so in `content_type`.
    """

    path: str
    body: bytes
    version: int = 0
    known: Any = None
    content_type: str = ""


class Speech(Protocol):
    """What is said to a server and what is understood of it; the same from one try to the next, but for its dialect."""

    async def write(self, request: Request) -> Asked | Reply:
        """What to send; or at once the reply to a request that cannot be sent.

        Raises:
            EngineError: it can be sent to no server of this kind, nor could others like it.
        """
        ...

    async def read(self, request: Request, asked: Asked, raw: bytes, fetch: Fetch) -> Reply:
        """The reply in the body of a 200.

        Raises:
            Unusable: it holds none.
            EngineError: nor will any other.
        """
        ...

    def refused(self, request: Request, asked: Asked, status: int, raw: bytes, message: str) -> Reply | bool:
        """What a refusal is: a reply, a reason to ask again in another way (True), or neither.

        Raises:
            EngineError: whatever else is asked like it will be refused too.
        """
        ...


@dataclass(slots=True)
class _Fault:
    """Why a try failed and whether the server was there to say so; `wait` in seconds if it said how long."""

    what: str
    reached: bool
    wait: float | None = None
    late: bool = False


@dataclass(eq=False)
class Client:
    """Asks `servers`, of one model, what `speech` says.

    Several `generate` calls, one after the other, share what was learnt of them.

    After `drain()` it takes no request any more.
    """

    model: str
    servers: tuple[Server, ...]
    speech: Speech
    options: EngineOptions = field(default_factory=EngineOptions)
    served: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        slots = -(-max(1, self.options.concurrency) // len(self.servers))
        self._paces = [Pace(slots) for _ in self.servers]
        self._rota = Rota(len(self.servers))
        self._limits = Limits(self.options.rpm, self.options.tpm)
        self._proxies = [each.proxy for each in self.servers]
        self._streams = Streams()
        self._answered = 0
        self._wait = 0.0
        self._urls: dict[tuple[int, str], URL] = {}

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """Replies as they finish; at most twice as many requests as slots are drawn and not yet yielded.

        `requests` is iterated in the calling thread. Closing the iterator abandons what is in flight;
        after `drain()` requests that no slot had begun get no reply.

        Raises:
            EngineError: key or model refused, or the server gone; after the replies that had arrived.
        """
        return self._streams.answer(Slots(max(1, self.options.concurrency), self._opened, keep), requests)

    def drain(self) -> None:
        """Take no further request; those in flight are still answered. Callable from any thread."""
        self._streams.drain()

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Answer]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "augment"}
        if key := self.servers[0].key:
            headers["Authorization"] = f"Bearer {key}"
        session = aiohttp.ClientSession(
            # uvicorn (vLLM) closes an idle connection after 5 s; let go of it before, not while asking
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self.options.timeout),
        )
        gate = asyncio.Lock()

        async def answer(request: Request) -> Reply | None:
            return await self._answer(session, gate, request)

        async with session:
            yield answer

    async def _turn(self, gate: asyncio.Lock, cost: float, failed: Sequence[int]) -> tuple[int, float]:
        """Waits for limits and pace, first come first served; which server is asked, at what time (monotonic)."""
        if gate.locked() or (found := self._free(cost, failed)) is None:
            async with gate:
                while (found := self._free(cost, failed)) is None:
                    await asyncio.sleep(min(self._wait, LOOK_AGAIN if len(self.servers) > 1 else LONGEST_DELAY))
        place, now = found
        self._paces[place].sent(now)
        self._limits.sent(now, cost)
        self._rota.asked(place)
        return place, now

    def _free(self, cost: float, failed: Sequence[int]) -> tuple[int, float] | None:
        """A server that may be asked now, and now; None: `_wait` says for how long."""
        now, place = time.monotonic(), 0
        if len(self.servers) > 1:
            held = [each for each, pace in enumerate(self._paces) if pace.wait(now) > 0]
            place = self._rota.choose(now, (*failed, *held))
        self._wait = max(self._paces[place].wait(now), self._limits.wait(now, cost))
        return (place, now) if self._wait <= 0 else None

    async def _answer(self, session: aiohttp.ClientSession, gate: asyncio.Lock, request: Request) -> Reply | None:
        """Asks until there is an answer, a refusal, or no try left; None where it would try again after `drain()`."""
        speech, rota = self.speech, self._rota
        tries = unusable = 0
        answered = self._answered
        cost = self._limits.cost(request)
        failed_at: list[int] = []
        while True:
            asked = await speech.write(request)
            if isinstance(asked, Reply):
                return asked
            headers = {"Content-Type": asked.content_type} if asked.content_type else None
            place, now = await self._turn(gate, cost, failed_at)
            server = self.servers[place]
            try:
                async with session.post(
                    self._url(place, asked.path),
                    data=asked.body,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxies[place],
                ) as response:
                    raw, status = await response.read(), response.status
            except TimeoutError:
                fault = _Fault(f"no answer within {self.options.timeout:g} s", reached=False, late=True)
            except (aiohttp.ClientError, OSError) as error:
                fault = _Fault(f"{type(error).__name__}: {error}"[:200], reached=False)
            except BaseException:
                rota.left(place)
                raise
            else:
                if rota.answered(place, time.monotonic() - now) and len(self.servers) > 1:
                    log.warning("%s answers again", server.url)
                if status == 200:
                    try:
                        reply = await speech.read(request, asked, raw, partial(self._fetch, session, place))
                    except Unusable as error:
                        unusable += 1
                        fault = _Fault(f"unusable answer: {error}", reached=True)
                    else:
                        self._answered += 1
                        self._limits.answered(time.monotonic(), cost, reply)
                        return reply
                else:
                    message = complaint(raw, server.key)
                    if status in FATAL or (status == 429 and b"insufficient_quota" in raw):
                        where = response.headers.get("Location", "")
                        raise server.refusal(status, raw, self.model, self.served, where, asked.path)
                    what = speech.refused(request, asked, status, raw, message)
                    if isinstance(what, Reply):
                        return what
                    if what:
                        continue
                    if status not in (408, 429) and status < 500:
                        return failed(request, f"HTTP {status}: {message}")
                    fault = _Fault(f"HTTP {status}: {message}", True, _retry_after(response))
                    if status in SLOW_DOWN:
                        self._paces[place].refused(time.monotonic(), 1.0 if fault.wait is None else fault.wait, now)
            if not fault.reached:
                if rota.failed(place, time.monotonic(), now) and len(self.servers) > 1:
                    log.warning("%s does not answer (%s); asking the others until it does", server.url, fault.what)
                failed_at.append(place)
            if self._streams.drained:
                return None
            tries += 1
            if unusable >= UNUSABLE_TRIES:  # paid for three times: an answer, and the end of asking
                log.info("%s", fault.what)
                return Reply(request.key, "", UNUSABLE)
            if tries > self.options.retries:
                if not fault.reached and self._answered == answered and not await self._there(session):
                    advice = "raise --timeout or lower --concurrency" if fault.late else "start it again"
                    raise EngineError(f"{server.url} has gone ({fault.what}); {advice}, then run again")
                return failed(request, fault.what)
            if fault.reached or not (rota.alive and len(set(failed_at)) < len(self.servers)):
                await asyncio.sleep(self._delay(tries, fault, server))
                if self._streams.drained:
                    return None

    def _url(self, place: int, path: str) -> URL:
        return self._urls.setdefault((place, path), URL(self.servers[place].at(path), encoded=True))

    async def _fetch(self, session: aiohttp.ClientSession, place: int, address: str) -> bytes:
        """What is at an address of the server itself: its key goes nowhere else, and nobody is sent elsewhere.

        Raises:
            EngineError: the address is another server's.
            Unusable: there is nothing.
        """
        here = URL(self.servers[place].url)
        try:
            url = here.join(URL(address))
            own = url.origin() == here.origin()
        except ValueError:
            raise Unusable("an address that is none") from None
        if not own:
            raise EngineError(
                f"{here} answers with addresses at {url.host}, and only its own are fetched: "
                "have it answer with b64_json"
            )
        async with session.get(url, allow_redirects=False, proxy=self._proxies[place]) as response:
            if response.status != 200:
                raise Unusable(f"HTTP {response.status} where the answer should be")
            return await response.read()

    async def _there(self, session: aiohttp.ClientSession) -> bool:
        """Whether any server answers at all, whatever it says: if so, the fault lies with one request."""
        patience = aiohttp.ClientTimeout(total=PATIENCE)
        for place, proxy in enumerate(self._proxies):
            url = self._url(place, "/models")
            try:
                async with session.get(url, allow_redirects=False, timeout=patience, proxy=proxy):
                    return True
            except (aiohttp.ClientError, OSError):  # a TimeoutError is an OSError
                continue
        return False

    def _delay(self, tries: int, fault: _Fault, server: Server) -> float:
        """Seconds before the next try: never less than the server asks for, and never all at once.

        Raises:
            EngineError: the server asks for more time than we wait for an answer (a daily quota).
        """
        if fault.wait is not None and fault.wait > self.options.timeout:
            raise EngineError(f"{server.url} wants {fault.wait:g} s of silence ({fault.what}); run again then")
        backoff = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (tries - 1)) * random.uniform(0.5, 1.0)
        log.debug("try %d failed: %s", tries, fault.what)
        if fault.wait is None:
            return backoff
        return fault.wait + random.uniform(0.0, 0.1) * min(fault.wait, 1.0)


def failed(request: Request, why: str) -> Reply:
    """The reply to a request that failed for good."""
    return Reply(request.key, "", "error", error=why)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds that Retry-After asks for, given as a number or an HTTP date."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
