"""Any server that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp, a hosted API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from augment.engines import EngineOptions, Keep, forget
from augment.engines.chat import Dialect, blind
from augment.engines.http import Asked, Client, Fetch, failed
from augment.engines.server import Away, Server
from augment.errors import EngineError, RunError
from augment.records import Reply, Request

log = logging.getLogger(__name__)

PATH = "/chat/completions"


@dataclass(eq=False)
class OpenAI:
    """Any OpenAI-compatible server: vLLM, SGLang, llama.cpp, a hosted API.

    `servers` are where it is, one or several of the same model; `served` lists its models where it has a list.

    One engine may answer several `generate` calls, one after the other: what it learnt about the server's
    limits and dialect stays. After `drain()` it takes no request any more.
    """

    name: ClassVar[str] = "openai"
    model: str
    servers: tuple[Server, ...]
    options: EngineOptions = field(default_factory=EngineOptions)
    revision: str = ""
    served: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._dialect = Dialect(self.model, self.servers[0].key)
        speech = _Chat(self.servers[0], self._dialect)
        self._client = Client(self.model, self.servers, speech, self.options, self.served)

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> OpenAI:
        """The engine, after one look at each server's list of models; no model given: the only one served.

        Of several servers some may be away, and be asked once they are there.

        Raises:
            EngineError: no server there, the key is refused, or the model is not served, or not the same by all.
        """
        urls = [each for each in map(str.strip, (options.base_url or "").split(",")) if each] or [""]
        servers = tuple(Server.find(each or None, options.url_flag) for each in dict.fromkeys(urls))
        found: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        away: Away | None = None
        for server in servers:
            try:
                found[server.url] = server.model(model, options.model_flag)
            except Away as error:
                away = error
                if len(servers) > 1:
                    log.warning("%s does not answer; asking the others until it does", server.url)
        if not found:
            assert away is not None
            raise away
        (first, (name, revision, served)), *others = found.items()
        for url, (other, its, _) in others:
            if (other, its) != (name, revision):
                told = f"'{name}' ({revision or 'no revision'}) and '{other}' ({its or 'no revision'})"
                raise EngineError(f"{first} and {url} serve {told}; give {options.url_flag} servers of one model")
        return cls(name, servers, options, revision, served)

    @property
    def structured(self) -> bool:
        """Whether schemas go to the server's decoder (else into the prompt)."""
        return self._dialect.structured

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """Replies as they finish; at most twice as many requests as slots are drawn and not yet yielded.

        Raises:
            EngineError: key or model refused, or the server gone; after the replies that had arrived.
        """
        return self._client.generate(requests, keep)

    def drain(self) -> None:
        """Take no further request; those in flight are still answered. Callable from any thread."""
        self._client.drain()


@dataclass(frozen=True, slots=True)
class _Chat:
    """Chat completions as the client asks for them."""

    server: Server
    dialect: Dialect

    async def write(self, request: Request) -> Asked | Reply:
        version, structured = self.dialect.version, self.dialect.structured
        if not request.pictures:
            return Asked(PATH, self.dialect.encode(request), version, structured)
        try:
            return Asked(PATH, await asyncio.to_thread(self.dialect.encode, request), version, structured)
        except RunError as error:
            return failed(request, f"no picture: {error}")

    async def read(self, request: Request, asked: Asked, raw: bytes, fetch: Fetch) -> Reply:
        return self.dialect.read(request, raw, asked.known)

    def refused(self, request: Request, asked: Asked, status: int, raw: bytes, message: str) -> bool:
        if blind(request, status, message):
            raise EngineError(
                f"{self.server.url} does not look at pictures (HTTP {status}: {message}); give a model that does, "
                "with --llm"
            )
        return self.dialect.adapt(request, status, message, asked.version)
