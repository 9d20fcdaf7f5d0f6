"""A diffusion model in memory: the weights once, and a pipeline for each kind that shares them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from augment.drawing.calls import Asked
from augment.drawing.families import Way
from augment.drawing.found import Model, Part, one_line
from augment.drawing.memory import CPU_BATCH, batch_for, place_for, sizes
from augment.drawing.worn import Worn
from augment.errors import EngineError, needs

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from augment.images.inputs import Inputs
    from augment.records import Request

log = logging.getLogger(__name__)

TILED = 2**20
"""Pixels above which the VAE works tile by tile: it changes what is drawn, so smaller pictures are left alone."""


@dataclass(eq=False)
class Loaded:
    """The weights in memory, on `device`; `free` bytes there are left beside them."""

    base: Any
    control: Any
    worn: Worn
    dtype: torch.dtype
    device: torch.device
    place: str
    free: int
    _pipes: dict[str, Any] = field(default_factory=dict)
    _hooked: Any = None

    def batch(self, asked: Asked) -> int:
        """How many such pictures are drawn at once, where nobody says how many."""
        return CPU_BATCH if self.device.type == "cpu" else batch_for(self.free, *asked.size)

    def tokens(self, way: Way, words: str) -> int:
        """How long a prompt is to the model, rounded as it pads; 0 where all are padded alike."""
        if not way.words or not words:
            return 0
        tokenizer = getattr(self.base, "tokenizer", None)
        if tokenizer is None:
            return len(words)
        if getattr(tokenizer, "chat_template", None):
            turn = [{"role": "user", "content": words}]
            words = tokenizer.apply_chat_template(
                turn, tokenize=False, add_generation_prompt=True, enable_thinking=True
            )
        return -(-len(tokenizer(words)["input_ids"]) // way.words) * way.words

    def draw(
        self, asked: Asked, requests: Sequence[Request], inputs: Sequence[Inputs]
    ) -> list[tuple[Image, bool | None]]:
        """A picture for each request on its canvas, and whether a safety checker refuses it. One pipeline call.

        Raises:
            EngineError: an adapter cannot be worn.
            torch.OutOfMemoryError: so many do not fit on the GPU at once.
        """
        import torch

        pipe = self.ready(asked.way, asked.adapters, asked.size)
        # on the CPU, so that a seed draws the same noise on every device
        generators = [torch.Generator("cpu").manual_seed(each.seed) for each in requests]
        arguments = asked.arguments([each.drawing for each in requests if each.drawing is not None], inputs)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            made = pipe(**arguments, generator=generators)
        refused = getattr(made, "nsfw_content_detected", None) or [None] * len(requests)
        return list(zip(made.images, refused, strict=True))

    def ready(self, way: Way, adapters: Sequence[str], size: tuple[int, int]) -> Any:
        """The pipeline that draws so, with its adapters on, where it computes.

        Raises:
            EngineError: an adapter cannot be worn.
        """
        pipe = self._pipe(way)
        changed = self.worn.wear(pipe, tuple(adapters), way.shown == "ip_adapter_image")
        self._hook(pipe, changed)
        _tile(pipe, size[0] * size[1] > TILED)
        return pipe

    def _pipe(self, way: Way) -> Any:
        import diffusers

        if way.pipeline not in self._pipes:
            kind = getattr(diffusers, way.pipeline)
            more = {} if self.control is None else {"controlnet": self.control}
            found = self.base if type(self.base) is kind else _sibling(self.base, kind, **more)
            found.set_progress_bar_config(disable=True)
            self._pipes[way.pipeline] = found
        return self._pipes[way.pipeline]

    def _hook(self, pipe: Any, changed: bool) -> None:
        """Where models take turns on the GPU, in the order of this pipeline; loading an adapter hooks the base's."""
        if self.place == "models" and (changed or self._hooked is not pipe):
            for each in {id(self.base): self.base, id(self._hooked): self._hooked}.values():
                if each is not None:
                    each.remove_all_hooks()
            pipe.enable_model_cpu_offload(device=self.device)
            self._hooked = pipe


def load(model: Model, dtype: torch.dtype, folders: dict[str, str]) -> Loaded:
    """The model's weights, on the GPU if there is one and as much of them as it has room for.

    Raises:
        RecipeError: diffusers is not installed.
        EngineError: the weights cannot be read, or need a package that is not there.
    """
    with needs("diffusers", "image"):
        import diffusers
    import torch

    quiet()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = _weights(diffusers.DiffusionPipeline, model.main, dtype)
    control = _weights(diffusers.AutoModel, model.control, dtype) if model.control else None
    for each in (control, getattr(base, "unet", None), getattr(base, "transformer", None)):
        if each is not None:
            each.eval()
    if hasattr(getattr(base, "vae", None), "enable_slicing"):
        base.vae.enable_slicing()
    place, free = _put(base, control, device)
    return Loaded(base, control, Worn(base, folders, model.look), dtype, device, place, free)


def quiet() -> None:
    """Keep off the terminal what diffusers and transformers say to their developers."""
    from finetune.model import quiet as quieter

    quieter()
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()


def _weights(kind: Any, part: Part, dtype: torch.dtype) -> Any:
    with one_line(f"cannot load {part.name}", "check the folder, or fetch it again; only safetensors are read"):
        return kind.from_pretrained(part.place, dtype=dtype, revision=part.commit, use_safetensors=True)


def _put(base: Any, control: Any, device: torch.device) -> tuple[str, int]:
    """Puts the models where there is room; where that is, and the bytes left beside them."""
    import torch

    if device.type == "cpu":
        if control is not None:
            control.to(device)
        return "whole", 0
    more = sum(each.numel() * each.element_size() for each in control.parameters()) if control is not None else 0
    (weights, largest), free = sizes(base), torch.cuda.mem_get_info(device)[0]
    place = place_for(weights + more, max(largest, more), free)
    if place == "whole":
        base.to(device)
        if control is not None:
            control.to(device)
        return place, free - weights - more
    if place == "layers":
        there = {"onload_device": device, "offload_device": torch.device("cpu"), "offload_type": "leaf_level"}
        base.enable_group_offload(**there, use_stream=True)
        if control is not None:
            control.enable_group_offload(**there, use_stream=True)
        return place, free
    return place, free - max(largest, more)


def _sibling(base: Any, kind: Any, **more: Any) -> Any:
    """A pipeline of class `kind` with the models of `base`.

    `from_pipe` would cast the shared weights, so that what one kind draws would depend on another having been asked.
    """
    has = {**{name: value for name, value in base.config.items() if name[0] != "_"}, **base.components, **more}
    wanted = list(inspect.signature(kind.__init__).parameters.values())[1:]
    for each in wanted:
        if each.name not in has and each.default is inspect.Parameter.empty:
            raise EngineError(f"{kind.__name__} needs a {each.name}, which the model does not have")
    return kind(**{each.name: has[each.name] for each in wanted if each.name in has})


def _tile(pipe: Any, tiled: bool) -> None:
    vae: Any = getattr(pipe, "vae", None)
    if hasattr(vae, "enable_tiling"):
        vae.enable_tiling() if tiled else vae.disable_tiling()
