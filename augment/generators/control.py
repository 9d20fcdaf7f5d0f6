"""`control`: the outlines of the picture, filled anew.

ControlNet (Zhang et al. 2023, "Adding conditional control to text-to-image diffusion models"): a control picture says
where things are, the words of a scene what they look like. The control picture is the edges of the parent, its mask,
or its depth as another model estimates it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from augment.errors import RecipeError
from augment.generators.drawing import NO_LABEL, NO_PICTURE, asked
from augment.generators.survival import survivor
from augment.generators.written import ask_for_scenes, scene
from augment.images.canvas import canvas_for
from augment.images.control import edges
from augment.images.depth import depth
from augment.images.masks import object_mask
from augment.images.stamp import plain
from augment.images.store import Pictures, pictures
from augment.records import Rejected, Reply, Request, Row, fingerprint

NO_MASK = Rejected("no mask to steer by")


@dataclass(frozen=True)
class Control:
    """The picture's edges, mask or depth, filled anew in the words of a scene (ControlNet)."""

    name: ClassVar[str] = "control"
    modalities: ClassVar[tuple[str, ...]] = ("image",)
    kind: ClassVar[str] = "control"
    looks_at: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ("label",)
    needs_llm: ClassVar[bool] = False
    keeps_label: ClassVar[bool] = False
    adds_facts: ClassVar[bool] = False
    seed: int = 0
    size: int = 512
    steps: int | None = None
    guidance: float | None = None
    map: Literal["edges", "mask", "depth"] = "edges"
    strong: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Of the edges: the higher, the fewer. A pale object before a busy background keeps its outlines at this one."""
    depth_model: str = ""
    """A model that estimates depth, for map "depth": "depth-anything/Depth-Anything-V2-Small-hf"."""
    keep_places: bool = False
    """Carry boxes and mask over as they are: the model is trusted to fill the outlines where they are."""
    form: str = ""
    """How a prompt begins, with {label} in it; else "a photo of a …"."""

    def __post_init__(self) -> None:
        if self.map == "depth" and not self.depth_model:
            raise RecipeError(
                "control.map 'depth' needs a model that estimates it; add "
                "--set control.depth_model=depth-anything/Depth-Anything-V2-Small-hf, or use map edges"
            )

    def draft(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """Ask for scenes of the record's class: a page of them, once for all its records."""
        return ask_for_scenes(self, record, record.label, k) if record.label else NO_LABEL

    def drafted(self, record: Row, k: int, exemplars: Sequence[Row], draft: Reply | None) -> Request | Rejected:
        """The k-th scene as a drawing along the control picture, which is put into the picture store."""
        if not record.label:
            return NO_LABEL
        found = scene(self, record, record.label, k, draft)
        if isinstance(found, Rejected):
            return found
        control = _control(self, record, pictures())
        return control if isinstance(control, Rejected) else asked(self, record, k, *found, control=control)

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """The k-th scene from a template, as a drawing along the control picture."""
        return self.drafted(record, k, exemplars, None)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The record with the new picture, its label to be checked, the scene as caption; boxes and mask if asked."""
        return survivor(record, reply, "traced" if self.keep_places else "control")


@lru_cache(maxsize=4096)
def _control(generator: Control, record: Row, store: Pictures) -> str | Rejected:
    """The name in the store of the control picture, of the size that the parent has on its canvas."""
    if record.image is None or not record.width or not record.height:
        return NO_PICTURE
    from PIL import Image as PILImage

    inner = canvas_for(record.width, record.height, generator.size).inner
    if generator.map == "mask":
        mask = object_mask(record)
        return store.add(mask.resize(inner, PILImage.Resampling.NEAREST)) if mask else NO_MASK
    parent = store.open(record.image).resize(inner, PILImage.Resampling.LANCZOS)
    if generator.map == "edges":
        return store.add(edges(parent, generator.strong))
    name = fingerprint(
        "depth", generator.depth_model, record.image, inner
    )  # another machine's bits may differ: the first ones stay
    if name not in store:
        store.put(name, plain(depth(parent, generator.depth_model)))
    return name
