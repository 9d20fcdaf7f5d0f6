"""A base with its weights: where it computes, in what precision, its parts brought there one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from augment.drawing.found import Model, one_line
from augment.drawing.loaded import quiet
from augment.errors import FinetuneError


def device_of() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """What the base's weights are held in. "auto": bfloat16 on a GPU that has it, else float32.

    Raises:
        FinetuneError: the device has no bfloat16.
    """
    has = device.type == "cuda" and torch.cuda.is_bf16_supported()
    if precision == "bf16" and not has:
        raise FinetuneError("--precision bf16 needs a GPU that has it; leave it out")
    return torch.bfloat16 if has and precision != "fp32" else torch.float32


def load(model: Model, dtype: torch.dtype) -> Any:
    """The model's own pipeline, on the CPU, silent.

    Raises:
        EngineError: its weights cannot be loaded.
    """
    import diffusers

    quiet()
    with one_line(f"cannot load the weights of {model.name}", "check the folder, or fetch it again"):
        pipe: Any = diffusers.DiffusionPipeline.from_pretrained(  # type: ignore[no-untyped-call]
            model.main.place, revision=model.main.commit, dtype=dtype, use_safetensors=True
        )
    pipe.set_progress_bar_config(disable=True)
    for part in modules(pipe):
        part.requires_grad_(False)
    return pipe


def modules(pipe: Any) -> list[torch.nn.Module]:
    """The parts of a pipeline that have weights."""
    return [each for each in pipe.components.values() if isinstance(each, torch.nn.Module)]


def readers(pipe: Any) -> list[torch.nn.Module]:
    """Its text encoders."""
    found = [getattr(pipe, name, None) for name in ("text_encoder", "text_encoder_2")]
    return [each for each in found if each is not None]


@contextmanager
def at(device: torch.device, *parts: torch.nn.Module) -> Iterator[None]:
    """Parts on `device` while they are needed there; a GPU's memory is given back after."""
    for each in parts:
        each.to(device)
    try:
        yield
    finally:
        if device.type == "cuda":
            for each in parts:
                each.to("cpu")
            torch.cuda.empty_cache()


@contextmanager
def drawing(pipe: Any, device: torch.device) -> Iterator[None]:
    """The pipeline ready to draw: on a GPU each part is there only while it works."""
    pipe.vae.enable_slicing()
    if device.type == "cuda":
        pipe.enable_model_cpu_offload(device=device)
    try:
        yield
    finally:
        if device.type == "cuda":
            pipe.remove_all_hooks()
            pipe.to("cpu")
            torch.cuda.empty_cache()
