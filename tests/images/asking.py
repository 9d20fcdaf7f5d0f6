"""Requests to draw, for tests of the engine `diffusers`: a parent of 70 × 50 with a mask, small models, few steps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from augment.engines import EngineOptions, open_engine
from augment.engines.diffusers import Diffusers
from augment.images.canvas import canvas_for
from augment.images.pictures import decode
from augment.images.store import pictures
from augment.records import Drawing, Reply, Request
from tests.images import models

SIZE = 64
PARENT = (70, 50)
"""Width and height: no multiples of anything."""
INNER = (64, 46)
"""Its size on a canvas of `SIZE`."""
PROMPTS = (
    "a dog",
    "a photo of a cat",
    "red",
    "a drawing of a large house beside a lake, " * 5,
    "two birds",
    "a car",
    "x",
)
"""Of quite different lengths: that of one must not change what is drawn for its neighbours."""


def make(folder: Path) -> dict[str, str]:
    """What to call each model, saved below `folder`."""
    sd, control = models.save_sd(folder / "sd"), models.save_controlnet(folder / "control")
    look = models.save_ip_adapter(folder / "look") / "models" / "ip-adapter.safetensors"
    return {
        "sd": f"{sd}+{control}+{look}",
        "plain": str(sd),
        "instruct": str(models.save_instruct(folder / "instruct")),
        "z": str(models.save_z_image(folder / "z")),
        "klein": str(models.save_klein(folder / "klein")),
        "qwen": str(models.save_qwen(folder / "qwen")),
    }


def opened(model: str, **options: Any) -> Diffusers:
    engine = open_engine(f"diffusers:{model}", EngineOptions(**{"accept_licence": True, **options}), "--engine")
    assert isinstance(engine, Diffusers)
    return engine


def parent(shade: int = 0) -> str:
    """A picture in the store: a gradient, another for each shade."""
    rows, columns = np.mgrid[0 : PARENT[1], 0 : PARENT[0]]
    values = np.stack([rows * 5, columns * 3, np.full_like(rows, 10 + shade % 240)], axis=-1).astype(np.uint8)
    return pictures().add(Image.fromarray(values))


def mask() -> str:
    """White in the middle of the parent."""
    white = Image.new("RGB", PARENT)
    white.paste("white", (20, 10, 50, 40))
    return pictures().add(white)


def ask(kind: str, seed: int, **more: Any) -> Request:
    """A request for a drawing of `kind`, its prompt and its parent another for each seed."""
    canvas = canvas_for(*PARENT, longest=SIZE)
    free = kind in ("text", "reference")
    told: dict[str, Any] = {
        "width": SIZE if free else canvas.width,
        "height": 48 if free else canvas.height,
        "steps": 2,
        "prompt": PROMPTS[seed % len(PROMPTS)],
    }
    if kind == "control":
        told["control"] = parent(40 * seed)
    elif kind != "text":
        told["image"] = parent(40 * seed)
    told |= {"inpaint": {"mask": mask()}, "image": {"strength": 0.6}}.get(kind, {})
    return Request(
        f"r{seed}", "g", seed, (), "t@1", seed, engine="diffusers", drawing=Drawing(kind, **{**told, **more})
    )


def answered(engine: Diffusers, requests: Iterable[Request]) -> dict[str, Reply]:
    """The replies by key."""
    return {reply.key: reply for reply in engine.generate(requests)}


def pixels(reply: Reply) -> np.ndarray[Any, Any]:
    assert reply.error is None and reply.picture, reply
    return np.asarray(decode(reply.picture)).astype(int)
