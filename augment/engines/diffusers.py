"""A diffusion model in this process, on the CPU or a GPU: drawings, edits and inpaintings in batches of one size.

What is drawn for a request depends on its own seed, prompt and pictures alone: every call is padded to the full batch,
so that neither neighbours nor order nor where a run ends changes a pixel. Another batch size may, by rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from augment.drawing.calls import Asked, asked, wrong
from augment.drawing.families import Way, way_of, ways
from augment.drawing.found import Model, find
from augment.drawing.groups import Waiting
from augment.engines import EngineOptions, Keep, forget
from augment.errors import EngineError, RunError, needs
from augment.images.drawn import picture_reply
from augment.images.inputs import Inputs, inputs_of
from augment.images.store import pictures
from augment.records import Reply, Request, fingerprint

if TYPE_CHECKING:
    from PIL.Image import Image

    from augment.drawing.loaded import Loaded

log = logging.getLogger(__name__)

BATCHES = 4
"""Batches' worth of requests that are drawn ahead, so that groups fill."""


@dataclass(eq=False)
class Diffusers:
    """A diffusion model in this process, CPU or GPU: diffusers:MODEL, MODEL+CONTROLNET, MODEL+ADAPTER.safetensors."""

    name: ClassVar[str] = "diffusers"
    draws: ClassVar[bool] = True
    model: str
    revision: str
    found: Model
    dtype: str
    options: EngineOptions = field(default_factory=EngineOptions)

    def __post_init__(self) -> None:
        self._drained = False
        self._loaded: Loaded | None = None
        self._ways: dict[str, Way] = {}
        self._drawn_at: set[int] = set()
        self._least: dict[tuple[str, tuple[int, int]], int] = {}

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> Diffusers:
        """The engine of a folder or of `owner/name` on the hub; its configuration is read, of a folder every byte.

        Raises:
            RecipeError: torch or diffusers is not installed.
            EngineError: there is no such model, or its licence is not cleared (see `augment.images.models`).
        """
        found = find(model, options.accept_licence)
        with needs("torch", "image"):
            import torch
        dtype = options.dtype
        if dtype == "auto":
            dtype = "bfloat16" if torch.cuda.is_available() else "float32"
        return cls(found.name, fingerprint(found.identity, dtype)[:16], found, dtype, options)

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """Replies batch by batch; a batch is drawn as soon as one is full, or no more may be waited for.

        Raises:
            EngineError: the model cannot be loaded, or cannot do what is asked for.
        """
        source, waiting, more = iter(requests), Waiting(), True
        while not self._drained and (more or waiting):
            group, batch = None, 1
            while more and group is None and (not waiting or len(waiting) < self._room(batch)):
                request = next(source, None)
                if request is None:
                    more = False
                elif (why := _wrong(request)) is not None:
                    reply = Reply(request.key, "", "error", error=why)
                    keep(request, reply)
                    yield reply
                else:
                    each = self._asked(request)
                    batch = self._batch(each)
                    if waiting.add(each, request) >= batch:
                        group = each
            if waiting:
                group = group or waiting.fullest()
                for request, reply in self._answered(group, waiting.take(group, self._batch(group))):
                    keep(request, reply)
                    yield reply

    def release(self) -> None:
        """Let go of the weights, so that another model has room; the next `generate` loads them again."""
        self._loaded = None

    def drain(self) -> None:
        """Begin no further batch. Callable from any thread."""
        self._drained = True

    def check(self, kind: str) -> None:
        """Whether the model can draw a kind at all, before anything is loaded.

        Raises:
            EngineError: it cannot; the line names the kinds that it can.
        """
        self._way(kind)

    def _way(self, kind: str) -> Way:
        if not self._ways:
            with needs("diffusers", "image"):
                self._ways = ways(
                    self.found.pipeline, controlled=self.found.control is not None, looks=self.found.look is not None
                )
        return way_of(self._ways, kind, self.found)

    def _room(self, batch: int) -> int:
        """How many requests may wait: more than that may never come before a reply is kept."""
        concurrency = max(1, self.options.concurrency)
        return max(concurrency, min(BATCHES * batch, 2 * concurrency))

    def _batch(self, group: Asked) -> int:
        if group.way.lone:
            return 1
        return self._least.get((group.way.kind, group.size)) or self.options.batch or self._load().batch(group)

    def _load(self) -> Loaded:
        if self._loaded is None:
            from augment.drawing.loaded import load

            self._loaded = load(self.found, _dtype(self.dtype), dict(self.options.adapters))
        return self._loaded

    def _asked(self, request: Request) -> Asked:
        """What a call is told for this request."""
        drawing = request.drawing
        assert drawing is not None
        way = self._way(drawing.kind)
        found = asked(drawing, way, self.found)
        loaded = self._load()
        return replace(found, words=(loaded.tokens(way, drawing.prompt), loaded.tokens(way, drawing.negative)))

    def _answered(self, group: Asked, requests: list[Request]) -> Iterator[tuple[Request, Reply]]:
        """Replies to requests of one group, at most a batch of them."""
        ready: list[tuple[Request, Inputs]] = []
        for request in requests:
            assert request.drawing is not None
            try:
                inputs = inputs_of(request.drawing)
            except RunError as error:
                yield request, Reply(request.key, "", "error", error=f"no picture: {error}")
                continue
            if inputs.canvas.size != group.size:
                shape = f"{inputs.canvas.width} × {inputs.canvas.height}"
                yield request, Reply(request.key, "", "error", error=f"wrong size: the parent's canvas is {shape}")
                continue
            if group.way.kind == "inpaint" and inputs.mask is None:
                inputs = replace(inputs, mask=self._difference(request, inputs))
                if inputs.mask is None:
                    yield request, Reply(request.key, "", "error", error="no difference: the words mean the same here")
                    continue
            ready.append((request, inputs))
        while ready:
            batch = self._batch(group)
            drawn = self._drawn(group, ready[:batch], batch)
            if drawn is not None:
                ready = ready[batch:]
                yield from drawn

    def _difference(self, request: Request, inputs: Inputs) -> Image | None:
        """Where the model sees the words of an inpainting without a mask differ.

        Raises:
            EngineError: it never draws over a picture, so that it cannot be asked.
        """
        from augment.drawing.difference import difference

        assert request.drawing is not None and inputs.image is not None
        if "image" not in self._ways:
            fix = "give the data masks or boxes, or choose a model that draws kind image"
            raise EngineError(f"{self.model} cannot find where to inpaint without a mask; {fix}")
        return difference(self._load(), self._way("image"), request.drawing, request.seed, inputs.image)

    def _drawn(
        self, group: Asked, ready: list[tuple[Request, Inputs]], batch: int
    ) -> list[tuple[Request, Reply]] | None:
        """Up to a batch drawn, padded to a whole one; None if the GPU is too small: half as many from then on."""
        import torch

        padded = [*ready, *[ready[-1]] * (batch - len(ready))]
        try:
            made = self._load().draw(group, [each for each, _ in padded], [each for _, each in padded])
        except torch.OutOfMemoryError:
            self._halve(group, batch)
            return None
        except ValueError as error:
            if not group.way.lone:
                raise
            request = ready[0][0]  # it alone is at fault: no model looks at a picture of such a shape
            return [(request, Reply(request.key, "", "error", error=f"not drawn: {error}"))]
        self._drawn_at.add(batch)
        about = {**self.environment(), "batch": batch, "steps": group.steps, "guidance": group.guidance}
        return [
            (request, self._reply(request, inputs, picture, refused, about))
            for (request, inputs), (picture, refused) in zip(ready, made, strict=False)
        ]

    def _halve(self, group: Asked, batch: int) -> None:
        import torch

        if batch == 1:
            what = f"a picture of {group.size[0]} × {group.size[1]}"
            raise EngineError(f"{self.model} has no room on the GPU for {what}; give a smaller --size") from None
        self._least[group.way.kind, group.size] = batch // 2
        log.warning("the GPU has no room for %d pictures at once: %d from now on", batch, batch // 2)
        torch.cuda.empty_cache()

    def _reply(
        self, request: Request, inputs: Inputs, picture: Image, refused: bool | None, about: dict[str, Any]
    ) -> Reply:
        if refused:
            return Reply(request.key, "", "content_filter")
        try:
            finished = inputs.finish(picture.convert("RGB"))
        except ValueError as error:
            raise EngineError(f"{self.model}: {error}; give another --size") from None
        if inputs.mask is not None and request.drawing is not None and request.drawing.mask is None:
            about = {**about, "mask": pictures().add(inputs.canvas.cut(inputs.mask))}
        return picture_reply(request, finished, inputs.source, about)

    def environment(self) -> dict[str, Any]:
        """What besides the requests decides the pixels; `batch` is that of what was drawn here, or None so far."""
        import diffusers
        import torch
        import transformers

        return {
            "batch": max(self._drawn_at, default=self.options.batch),
            "dtype": self.dtype,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        }


def _wrong(request: Request) -> str | None:
    if request.drawing is None:
        return "no drawing: diffusers draws, and answers nothing in words"
    return wrong(request.drawing)


def _dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)
