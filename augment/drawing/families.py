"""Which diffusers pipeline draws which kind, by the class that a model's own index names.

Drawing from words, SDEdit and inpainting are in diffusers' auto maps; what they lack, and which pipelines look at a
picture instead of starting from it, is said here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from augment.errors import EngineError

if TYPE_CHECKING:
    from augment.drawing.found import Model

EDITORS = {
    "StableDiffusionInstructPix2PixPipeline": False,
    "StableDiffusionXLInstructPix2PixPipeline": False,
    "FluxKontextPipeline": True,
    "QwenImageEditPipeline": True,
    "QwenImageEditPlusPipeline": True,
    "Flux2Pipeline": True,
    "Flux2KleinPipeline": True,
}
"""Pipelines that look at a picture while they draw; True: a list of pictures is several references of each drawing."""
INPAINTERS = {"Flux2KleinPipeline": "Flux2KleinInpaintPipeline", "FluxKontextPipeline": "FluxKontextInpaintPipeline"}
"""Those for inpainting that are in no auto map."""
CLASSIFIER_FREE = {"QwenImage": "true_cfg_scale"}
"""By how a class begins: the argument that is a drawing's guidance, where it is not `guidance_scale`."""
PADDED = {"StableDiffusion": 0, "Flux": 0, "ZImage": 32}
"""By how a class begins: to a multiple of how many tokens prompts are padded; 0: always to the same number.

Others pad to the longest prompt of a batch, which changes the pixels of its neighbours.
"""
FIXES = {"control": "add a ControlNet: MODEL+CONTROLNET", "reference": "add an IP-Adapter: MODEL+FILE.safetensors"}
"""What makes a model draw a kind that it does not draw by itself."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a kind is drawn: by the diffusers class `pipeline`, whose argument `shown` takes the picture of a drawing.

    `lone`: one picture a call. `takes` are the arguments of a call with their defaults.
    """

    kind: str
    pipeline: str
    shown: str = ""
    lone: bool = False
    takes: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def words(self) -> int:
        """What the lengths of prompts are rounded up to before they decide which are drawn together; 0: all are."""
        return next((found for prefix, found in PADDED.items() if self.pipeline.startswith(prefix)), 1)

    @property
    def guidance(self) -> str:
        """The argument for a drawing's guidance."""
        return next(
            (found for prefix, found in CLASSIFIER_FREE.items() if self.pipeline.startswith(prefix)), "guidance_scale"
        )


def ways(pipeline: str, *, controlled: bool = False, looks: bool = False) -> dict[str, Way]:
    """The kinds that a model of class `pipeline` can draw. `controlled`: with a ControlNet; `looks`: an IP-Adapter.

    Raises:
        EngineError: diffusers has no such class.
    """
    from finetune.model import quiet

    quiet()  # on its way in, transformers tells of every processor what it would rather have

    import diffusers
    from diffusers.pipelines import auto_pipeline as auto

    if not hasattr(diffusers, pipeline):
        raise EngineError(f"diffusers {diffusers.__version__} has no {pipeline}; pip install -U diffusers")
    own = pipeline.replace("ControlNet", "")
    found: dict[str, Way] = {}

    def add(kind: str, name: str | None, shown: str = "", lone: bool = False, needs: str = "prompt") -> None:
        if name is not None and hasattr(diffusers, name):
            takes = _takes(getattr(diffusers, name))
            if needs in takes:
                shown = shown if shown in takes else "image" if shown else ""
                found[kind] = Way(kind, name, shown, lone, takes)

    if "Inpaint" in own or own.endswith("FillPipeline"):  # its network takes a mask besides
        add("inpaint", own, "image", needs="mask_image")
        return found
    if own.endswith("ControlPipeline"):
        add("control", own, "control_image")
        return found
    tables = (
        auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
        auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        auto.AUTO_INPAINT_PIPELINES_MAPPING,
    )
    known = [key for each in tables for key, kind in each.items() if kind.__name__ == own]
    listed = [each[known[0]].__name__ if known and known[0] in each else None for each in tables]
    add("text", listed[0])
    add("image", listed[1], "image", needs="strength")
    add("inpaint", INPAINTERS.get(own, listed[2]), "image", needs="mask_image")
    if own in EDITORS:
        add("instruct", own, "image", EDITORS[own])
        if EDITORS[own]:
            add("reference", own, "image", lone=True)
    if looks:
        add("reference", listed[0], "ip_adapter_image", lone=True, needs="ip_adapter_image")
    if controlled or own != pipeline:
        add("control", own.replace("Pipeline", "ControlNetPipeline"), "control_image")
    return found


def _takes(kind: Any) -> dict[str, Any]:
    return {name: each.default for name, each in inspect.signature(kind.__call__).parameters.items()}


def way_of(found: Mapping[str, Way], kind: str, model: Model) -> Way:
    """How a kind of drawing is drawn.

    Raises:
        EngineError: it is a kind that the model cannot draw; the line names those that it can.
    """
    if kind not in found:
        fuller = ways(model.pipeline, controlled=True, looks=True)
        can = ", ".join(sorted(found)) or "no kind of ours"
        fix = "choose generators of those" if kind not in fuller else FIXES[kind]
        raise EngineError(f"{model.name} cannot draw kind {kind}, only {can}; {fix}")
    return found[kind]
