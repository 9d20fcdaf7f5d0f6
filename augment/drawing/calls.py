"""A drawing's fields as the arguments of a pipeline call. What was asked for and cannot be said is an error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augment.drawing.families import Way
from augment.errors import EngineError
from augment.records import Drawing

if TYPE_CHECKING:
    from PIL.Image import Image

    from augment.drawing.found import Model
    from augment.images.inputs import Inputs

SMALLEST = 64
"""Pixels of the shorter side of a picture that is looked at: FLUX.2 takes none below."""
NONE_ASKED = " "
"""The negative prompt where none is asked for and guidance needs one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call is told for all of its drawings; equal ones can be drawn together."""

    way: Way
    size: tuple[int, int]
    steps: int
    guidance: float | None
    strength: float | None
    image_guidance: float | None
    adapters: tuple[str, ...]
    negated: bool
    lone: str | None = None
    words: tuple[int, ...] = ()

    def arguments(self, drawings: Sequence[Drawing], inputs: Sequence[Inputs]) -> dict[str, Any]:
        """The call's arguments but its generators."""
        takes = self.way.takes
        found: dict[str, Any] = {
            "prompt": [each.prompt for each in drawings],
            "num_inference_steps": self.steps,
            "output_type": "pil",
        }
        sized = {"width": self.size[0], "height": self.size[1], "max_area": self.size[0] * self.size[1]}
        found |= {name: value for name, value in sized.items() if name in takes}
        looks = self.image_guidance
        said = {self.way.guidance: self.guidance, "strength": self.strength, "image_guidance_scale": looks}
        found |= {name: value for name, value in said.items() if value is not None}
        if self.negated or needs_negative(self.way):
            found["negative_prompt"] = [each.negative or NONE_ASKED * needs_negative(self.way) for each in drawings]
        if self.way.shown:
            shown = [each.control if self.way.kind == "control" else each.image for each in inputs]
            found[self.way.shown] = _visible(shown[0]) if self.way.lone else shown
        if self.way.kind == "inpaint":
            found["mask_image"] = [each.mask for each in inputs]
        return found


def asked(drawing: Drawing, way: Way, model: Model) -> Asked:
    """What a call is told for this drawing, with the model's own steps and guidance where none are asked for.

    Raises:
        EngineError: it asks for something that the pipeline does not take, or takes and ignores.
    """
    takes: Mapping[str, Any] = way.takes
    entry = model.entry
    distilled = bool(model.index.get("is_distilled"))
    guidance = drawing.guidance
    if guidance is not None and (way.guidance not in takes or distilled):
        raise _cannot(model, way, f"guidance {guidance:g}", "leave out --guidance")
    if guidance is None and way.guidance in takes:
        known = entry.guidance if entry else None
        guidance = known if known is not None else takes[way.guidance]
    if drawing.negative and not _negates(way, guidance, distilled):
        raise _cannot(model, way, f"the negative prompt '{drawing.negative}'", "leave it out, or raise --guidance")
    if drawing.image_guidance is not None and "image_guidance_scale" not in takes:
        raise _cannot(model, way, f"image_guidance {drawing.image_guidance:g}", "leave it out")
    if drawing.strength is not None and "strength" not in takes:
        raise _cannot(model, way, f"strength {drawing.strength:g}", "leave it out")
    strength = drawing.strength if drawing.strength is not None else takes.get("strength")
    return Asked(
        way,
        (drawing.width, drawing.height),
        steps_of(drawing.steps or (entry and entry.steps) or takes.get("num_inference_steps") or 50, strength),
        guidance,
        strength,
        drawing.image_guidance if drawing.image_guidance is not None else takes.get("image_guidance_scale"),
        tuple(sorted(drawing.adapters)),
        bool(drawing.negative),
        drawing.image if way.lone else None,
    )


def wrong(drawing: Drawing) -> str | None:
    """What keeps this drawing alone from being drawn; None if nothing does."""
    if drawing.strength is not None and not 0 < drawing.strength <= 1:
        return f"strength {drawing.strength:g} is not above 0 and up to 1"
    needed = {"image": "image", "instruct": "image", "reference": "image", "inpaint": "image", "control": "control"}
    if drawing.kind in needed and getattr(drawing, needed[drawing.kind]) is None:
        return f"no {needed[drawing.kind]} to draw kind {drawing.kind} from"
    if drawing.kind == "inpaint" and drawing.mask is None and not drawing.before:
        return "no mask to inpaint"
    return None


def _visible(picture: Image | None) -> Image | None:
    """A picture to look at, enlarged where models refuse it as too small."""
    if picture is None or min(picture.size) >= SMALLEST:
        return picture
    from PIL import ImageOps

    return ImageOps.scale(picture, SMALLEST / min(picture.size))


def steps_of(steps: int, strength: float | None) -> int:
    """As many steps as asked for, and more where `strength`, the share of them that is run, would leave none."""
    if not strength or strength > 1:
        return steps
    least = max(steps, math.ceil(1 / strength))
    return least + (int(least * strength) < 1)  # 49 · (1/49) is below 1


def needs_negative(way: Way) -> bool:
    """Whether guidance does nothing without a negative prompt."""
    return way.guidance == "true_cfg_scale"


def _negates(way: Way, guidance: float | None, distilled: bool) -> bool:
    """Whether a negative prompt changes anything: guidance is between two predictions, and there are two."""
    takes: Mapping[str, Any] = way.takes
    if "negative_prompt" not in takes or distilled or guidance is None:
        return False
    embedded = "true_cfg_scale" in takes and not needs_negative(way)  # guidance is an input of the network
    return not embedded and guidance > 1


def _cannot(model: Model, way: Way, what: str, fix: str) -> EngineError:
    return EngineError(f"{model.name} cannot take {what} for kind {way.kind}; {fix}")
