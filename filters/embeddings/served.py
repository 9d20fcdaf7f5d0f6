"""Vectors of a server that speaks OpenAI's `/v1/embeddings`: vLLM, SGLang, llama.cpp, TEI, a hosted API.

Texts go in batches over the same client as chat: its queue, pace and retries. A batch that is refused is asked for
once more text by text, so that one text that is too long costs itself and no other.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray

from augment.engines import EngineOptions
from augment.engines.chat import Unusable
from augment.engines.http import Asked, Client, Fetch
from augment.engines.server import Server
from augment.records import Reply, Request
from filters import Context
from filters.embeddings import Keep

log = logging.getLogger(__name__)

PATH = "/embeddings"
BATCH = 32
"""Texts in a request: TEI's limit, and enough that asking costs little beside computing."""
AT_ONCE = 16
"""Requests in flight."""

Floats = NDArray[np.float32]


@dataclass(eq=False)
class Served:
    """A model behind a server's `/v1/embeddings`."""

    model: str
    revision: str
    client: Client
    speech: _Embeddings

    @property
    def identity(self) -> tuple[str, ...]:
        """Kind, model and revision."""
        return ("openai", self.model, self.revision)

    @classmethod
    def open(cls, model: str, base_url: str, setting: str) -> Served:
        """The model, after one look at the server's list; `base_url` "": that of OPENAI_BASE_URL.

        Raises:
            EngineError: no server there, the key is refused, or the model is not served.
        """
        server = Server.find(base_url or None, f"--set {setting.partition('.')[0]}.base_url")
        model, revision, served = server.model(model, f"--set {setting}=openai:MODEL")
        speech = _Embeddings(model)
        return cls(
            model, revision, Client(model, (server,), speech, EngineOptions(concurrency=AT_ONCE), served), speech
        )

    def embed(self, texts: Sequence[str], context: Context, keep: Keep) -> None:
        """Hands the vectors to `keep` as they arrive, before anything else is done with them.

        Raises:
            EngineError: key or model refused, or the server gone; after what had arrived.
        """
        del context  # who asks a server is one process, whoever else works
        batches = [tuple(texts[first : first + BATCH]) for first in range(0, len(texts), BATCH)]
        refused = self._asked(batches, keep)
        alone = self._asked([(text,) for batch in refused for text in batch], keep, final=True)
        if alone:
            log.warning("%s texts have no vector: %s refuses them", f"{len(alone):,}", self.client.servers[0].url)

    def _asked(self, batches: Iterable[tuple[str, ...]], keep: Keep, final: bool = False) -> list[tuple[str, ...]]:
        """The batches without vectors, in the order they were given."""
        requests = {each.key: each for each in (self._request(batch) for batch in batches)}

        def arrived(request: Request, reply: Reply) -> None:
            vectors = self.speech.found.pop(reply.key, None)
            if vectors is not None:
                keep([text for _, text in request.messages], vectors)

        failed = set()
        for reply in self.client.generate(iter(requests.values()), arrived):
            if not reply.text:
                failed.add(reply.key)
                if final:
                    log.info("no vector: %s", reply.error or reply.finish)
        return [tuple(text for _, text in each.messages) for key, each in requests.items() if key in failed]

    def _request(self, texts: tuple[str, ...]) -> Request:
        said = tuple(("input", text) for text in texts)
        return Request("", "embed", 0, said, "embed@1", 0, engine="openai", model=self.model, revision=self.revision)


@dataclass(eq=False)
class _Embeddings:
    """Embeddings as the client asks for them. `found` has vectors by request, until they are kept."""

    model: str
    found: dict[str, Floats] = field(default_factory=dict)
    plain: bool = False

    async def write(self, request: Request) -> Asked | Reply:
        body = {"model": self.model, "input": [text for _, text in request.messages]}
        # servers may answer in base64 where they are not told otherwise; some do not know the field
        return Asked(PATH, orjson.dumps(body if self.plain else {**body, "encoding_format": "float"}), int(self.plain))

    async def read(self, request: Request, asked: Asked, raw: bytes, fetch: Fetch) -> Reply:
        del asked, fetch
        try:
            data = sorted(orjson.loads(raw)["data"], key=lambda each: int(each["index"]))
            vectors = np.stack([_floats(each["embedding"]) for each in data])
        except (ValueError, KeyError, TypeError) as error:
            raise Unusable(f"no embeddings ({error})") from None
        if len(vectors) != len(request.messages) or vectors.ndim != 2 or not vectors.shape[1]:
            raise Unusable(f"{len(vectors)} embeddings for {len(request.messages)} texts")
        if not np.isfinite(vectors).all():
            raise Unusable("an embedding that is not finite")
        self.found[request.key] = vectors
        return Reply(request.key, f"{len(vectors)} vectors")

    def refused(self, request: Request, asked: Asked, status: int, raw: bytes, message: str) -> Reply | bool:
        del request, raw
        if status in (400, 422) and "encoding_format" in message and not asked.version:
            self.plain = True
            return True
        return False


def _floats(embedding: list[float] | str) -> Floats:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)
