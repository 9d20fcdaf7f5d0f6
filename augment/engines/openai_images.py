"""Any server that speaks OpenAI's images API: vLLM-Omni, SGLang, a hosted API. Over HTTP only, as text is asked for.

From words `/images/generations`, from pictures `/images/edits`. Pictures go out on our canvas and come back off it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from augment.engines import EngineOptions, Keep, forget
from augment.engines.chat import Unusable
from augment.engines.http import Asked, Client, Fetch, failed
from augment.engines.images import Dialect, Told, form, withheld
from augment.engines.server import Server
from augment.errors import EngineError, RunError
from augment.images.drawn import picture_reply
from augment.images.inputs import FREE, Inputs, inputs_of
from augment.images.models import entry_of, gate
from augment.images.pictures import Unreadable, decode
from augment.records import UNUSABLE, Reply, Request

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

WORDS, EDITS = "/images/generations", "/images/edits"
ASKEW = 0.05
"""Share by which an edited picture's shape may differ from its canvas and still be the same picture, resized."""


@dataclass(eq=False)
class OpenAIImages:
    """Any server with OpenAI's images API: vLLM-Omni, SGLang, a hosted API; openai-images:MODEL.

    `server` is where it is; `served` lists its models where it has a list, `declared` the fields that it reads where it
    says so. What it learnt about the server stays from one `generate` to the next. After `drain()` it takes no request
    any more.
    """

    name: ClassVar[str] = "openai-images"
    draws: ClassVar[bool] = True
    kinds: ClassVar[frozenset[str]] = frozenset({"text", "image", "inpaint", "instruct", "reference"})
    model: str
    server: Server
    options: EngineOptions = field(default_factory=EngineOptions)
    revision: str = ""
    served: tuple[str, ...] = ()
    declared: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dialects = {path: Dialect(self.model, self.server.key, self.declared.get(path)) for path in (WORDS, EDITS)}
        self._client = Client(self.model, (self.server,), _Images(self.server, dialects), self.options, self.served)

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> OpenAIImages:
        """The engine, after one look at what the server lists; no model given: the only one served.

        Raises:
            EngineError: no server there, the key is refused, or the model is not served.
        """
        server = Server.find(options.base_url, "--engine-url")
        model, revision, served = server.model(model, "--engine openai-images:MODEL")
        if entry_of(model) is not None:
            try:
                gate(model, options.accept_licence)
            except EngineError as error:  # what holds behind a server is the user's matter
                log.warning("%s", error)
        return cls(model, server, options, revision, served, server.declared(WORDS, EDITS))

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """Pictures as they are drawn; at most twice as many requests as slots are drawn and not yet yielded.

        Raises:
            EngineError: key or model refused, the server gone, or a drawing that no such server can make; after the
                replies that had arrived.
        """
        return self._client.generate(requests, keep)

    @classmethod
    def check(cls, kind: str) -> None:
        """Whether such a server can draw a kind at all.

        Raises:
            EngineError: it cannot.
        """
        if kind not in cls.kinds:
            raise EngineError(f"openai-images has no kind {kind}; give --engine diffusers:MODEL for it")

    def drain(self) -> None:
        """Take no further request; those in flight are still answered. Callable from any thread."""
        self._client.drain()


@dataclass(frozen=True, slots=True)
class _Known:
    """What a try was made of: the pictures on their canvas, and what the server was not told."""

    inputs: Inputs
    left_out: list[str]


@dataclass(eq=False)
class _Images:
    """Pictures as the client asks for them. Whatever touches pixels is done beside the event loop."""

    server: Server
    dialects: Mapping[str, Dialect]
    _odd: bool = False

    async def write(self, request: Request) -> Asked | Reply:
        drawing = request.drawing
        if drawing is None:
            return failed(request, "no drawing: openai-images draws, and answers nothing in words")
        OpenAIImages.check(drawing.kind)
        if drawing.adapters:
            raise EngineError("openai-images knows no subjects of yours; give --engine diffusers:MODEL for them")
        if drawing.kind == "inpaint" and drawing.mask is None:
            fix = "give the data masks or boxes, or --engine diffusers:MODEL"
            raise EngineError(f"openai-images cannot find where to inpaint without a mask; {fix}")
        try:
            inputs = await asyncio.to_thread(inputs_of, drawing) if drawing.pictures else inputs_of(drawing)
        except RunError as error:
            return failed(request, f"no picture: {error}")
        if inputs.image is None and drawing.kind != "text":
            return failed(request, f"no picture: there is none to draw from by kind {drawing.kind}")
        path = WORDS if drawing.kind == "text" else EDITS
        dialect = self.dialects[path]
        fields = dialect.fields(request, drawing, inputs)
        known, version = _Known(inputs, dialect.left_out(drawing)), dialect.version
        if path == WORDS:
            return Asked(path, orjson.dumps(fields), version, known)
        body, kind = await asyncio.to_thread(form, fields, inputs, request.key)
        return Asked(path, body, version, known, kind)

    async def read(self, request: Request, asked: Asked, raw: bytes, fetch: Fetch) -> Reply:
        told = self.dialects[asked.path].read(raw)
        if told.url:
            told = dataclasses.replace(told, raw=await fetch(told.url))
        return await asyncio.to_thread(self._reply, request, asked.known, told)

    def refused(self, request: Request, asked: Asked, status: int, raw: bytes, message: str) -> Reply | bool:
        if withheld(raw):
            return Reply(request.key, "", "content_filter")
        return self.dialects[asked.path].adapt(status, raw, message, asked.version)

    def _reply(self, request: Request, known: _Known, told: Told) -> Reply:
        try:
            picture = decode(told.raw)
        except Unreadable as error:
            raise Unusable(f"a picture that is {error}") from None
        if picture.getbbox() is None:  # all black: what a safety checker leaves of a picture
            return Reply(request.key, "", "content_filter", told.tokens_in, told.tokens_out)
        size = picture.size
        fitted = _fitted(picture, known.inputs)
        if fitted is None:
            self._say_odd(size, known.inputs.canvas.size)
            return Reply(request.key, "", UNUSABLE, told.tokens_in, told.tokens_out)
        about: dict[str, Any] = {"resized_from": list(size)} if size != fitted.size else {}
        if known.left_out:
            about["left_out"] = known.left_out
        if "seed" in known.left_out:
            about["reproducible"] = False
        if told.revised and request.drawing is not None and told.revised != request.drawing.prompt:
            about["revised_prompt"] = told.revised
        reply = picture_reply(request, known.inputs.finish(fitted), known.inputs.source, about)
        return dataclasses.replace(reply, tokens_in=told.tokens_in, tokens_out=told.tokens_out)

    def _say_odd(self, size: tuple[int, int], asked: tuple[int, int]) -> None:
        if not self._odd:
            self._odd = True
            log.warning(
                "%s answers an edit of %d × %d with %d × %d: nobody knows where things went, such pictures are lost",
                *(self.server.url, *asked, *size),
            )


def _fitted(picture: Image, inputs: Inputs) -> Image | None:
    """The picture at the size of its canvas: an edit resized, one from words or a reference cut to its shape before.

    None: an edit in another shape, which cannot be laid over its parent.
    """
    from PIL import Image as PILImage
    from PIL import ImageOps

    size = inputs.canvas.size
    if picture.size == size:
        return picture
    if inputs.kind in FREE:
        return ImageOps.fit(picture, size, PILImage.Resampling.LANCZOS)
    if abs(picture.width * size[1] / (picture.height * size[0]) - 1) > ASKEW:
        return None
    return picture.resize(size, PILImage.Resampling.LANCZOS)
