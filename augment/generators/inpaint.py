"""`inpaint`: the background drawn anew around the object, or another object in its place.

Where to draw is known from the data's own masks and boxes. Outside of it the parent's pixels stay, exactly: a new
background leaves label, box and mask as they were; a new object has a new label and a rectangle for its box. For data
without masks the model may say where (DiffEdit, Couairon et al. 2023); then nothing is sure, and labels are checked.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from augment.generators.drawing import NO_LABEL, NO_WORDS, asked, template_of
from augment.generators.scenes import exchanged, photo_of
from augment.generators.survival import survivor
from augment.generators.written import ask_for_scenes, scene
from augment.images.boxes import Box, read_boxes, write_boxes
from augment.images.drawn import Drawn, drawn
from augment.images.masks import background_mask, box_mask, object_mask
from augment.images.store import Pictures, pictures
from augment.records import Rejected, Reply, Request, Row, seed_for

NO_MASK = Rejected("no mask to draw in")
NO_CLASS = Rejected("no other class")


@dataclass(frozen=True)
class Inpaint:
    """A new background around the object, or another object in its place, drawn within the data's masks and boxes."""

    name: ClassVar[str] = "inpaint"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    kind: ClassVar[str] = "inpaint"
    looks_at: ClassVar[str] = "corpus"
    needs: ClassVar[tuple[str, ...]] = ()
    needs_llm: ClassVar[bool] = False
    adds_facts: ClassVar[bool] = False
    seed: int = 0
    size: int = 512
    steps: int | None = None
    guidance: float | None = None
    what: Literal["background", "object"] = "background"
    labels: tuple[str, ...] = ()
    """Classes that may be drawn in an object's place; else those of the corpus."""
    mask: Literal["data", "difference"] = "data"
    """Draw where the data's masks and boxes say; or, for data without any, where the model sees the words differ."""
    margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """Around an object, as a share of the longer side: kept with a new background, drawn over with a new object."""
    form: str = ""
    """How a prompt begins, with {label} in it; else "a photo of a …"."""

    @property
    def keeps_label(self) -> bool:
        """Whether the object's own pixels stay."""
        return self.what == "background" and self.mask == "data"

    def draft(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected | None:
        """Ask for scenes of the record's class, whose places are drawn around it; for a new object nothing."""
        if self.what == "object":
            return None
        label = _label(record)
        return ask_for_scenes(self, record, label, k) if label else NO_LABEL

    def drafted(self, record: Row, k: int, exemplars: Sequence[Row], draft: Reply | None) -> Request | Rejected:
        """A scene around the object, or another object, as a drawing into the record's picture."""
        if self.what == "object":
            return self._object(record, k, exemplars)
        label = _label(record)
        if label is None:
            return NO_LABEL
        found = scene(self, record, label, k, draft, views=False)
        if isinstance(found, Rejected):
            return found
        return self._asked(record, k, *found, record.label, photo_of(label, self.form))

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """A scene of a template around the object, or another object, as a drawing into the record's picture."""
        return self.drafted(record, k, exemplars, None)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The record with the new picture and its words as caption; boxes and mask as they were, or a new rectangle."""
        if self.what == "background":
            return survivor(record, reply, "background" if self.mask == "data" else "redrawn")
        found = drawn(reply)
        place = _place(record, self.margin) if self.mask == "data" else _place_in(found, record)
        if isinstance(found, Rejected) or found.drawing is None or not found.drawing.label or place is None:
            return Rejected("no picture")
        others = [each for each in read_boxes(record.boxes) if _apart(each, place)] if self.mask == "data" else []
        return survivor(record, reply, "object", [dataclasses.replace(place, label=found.drawing.label), *others])

    def _object(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """Another class, drawn from those there are by the seed; the caption says it if it said the old one."""
        found = {*self.labels} or {each.label for each in exemplars if each.label}
        classes = sorted(found - {record.label, _label(record)})
        if not classes:
            return NO_CLASS
        label = random.Random(seed_for(record.id, self.name, k, self.seed)).choice(classes)
        old = _label(record)
        said = exchanged(record.caption, old, label) if record.caption and old and not self.form else None
        template = template_of(self.name, "exchanged or photo", self.form)
        before = record.caption if said or not old else photo_of(old, self.form)
        return self._asked(record, k, template, said or photo_of(label, self.form), label, before)

    def _asked(
        self, record: Row, k: int, template: str, prompt: str, label: str | None, before: str | None
    ) -> Request | Rejected:
        if self.mask == "difference":
            if not before:
                return NO_WORDS
            return asked(self, record, k, template, prompt, image=record.image, label=label, before=before)
        mask = _mask(record, self.what, self.margin, pictures())
        if isinstance(mask, Rejected):
            return mask
        return asked(self, record, k, template, prompt, image=record.image, mask=mask, label=label)


@lru_cache(maxsize=4096)
def _mask(record: Row, what: str, margin: float, store: Pictures) -> str | Rejected:
    """The name in the store of the mask to draw in, of the parent's size."""
    if what == "object":
        place = _place(record, margin)
        found = box_mask(dataclasses.replace(record, boxes=write_boxes([place]))) if place else None
    else:
        found = background_mask(record, round(margin * max(record.width or 0, record.height or 0)))
    return store.add(found) if found is not None else NO_MASK


def _place(record: Row, margin: float) -> Box | None:
    """The rectangle that another object is drawn in: around the largest box of the class, else around the mask."""
    if not record.width or not record.height:
        return None
    boxes = read_boxes(record.boxes)
    own = [each for each in boxes if each.label == record.label] or boxes
    if own:
        largest = max(own, key=lambda each: each.width * each.height)
        (left, top), _, (right, bottom), _ = largest.corners
    else:
        mask = object_mask(record)
        edges = mask.getbbox() if mask else None
        if edges is None:
            return None
        left, top, right, bottom = map(float, edges)
    grow = margin * max(record.width, record.height)
    left, top = max(0.0, left - grow), max(0.0, top - grow)
    right, bottom = min(float(record.width), right + grow), min(float(record.height), bottom + grow)
    return Box("", left, top, right - left, bottom - top)


def _place_in(found: Drawn | Rejected, record: Row) -> Box | None:
    """The rectangle around the mask that an engine found, in the parent's pixels."""
    if isinstance(found, Rejected) or not record.width or not record.height:
        return None
    name = found.about.get("mask")
    if not isinstance(name, str) or not name.isalnum() or name not in pictures():
        return None
    edges = pictures().open(name).getbbox()
    if edges is None:
        return None
    across, down = record.width / found.width, record.height / found.height
    left, top, right, bottom = edges
    return Box("", left * across, top * down, (right - left) * across, (bottom - top) * down)


def _apart(box: Box, place: Box) -> bool:
    """Whether nothing of a box is drawn over."""
    beside = box.x >= place.x + place.width or place.x >= box.x + box.width
    return beside or box.y >= place.y + place.height or place.y >= box.y + box.height


def _label(record: Row) -> str | None:
    """What the record's object is: its class, else that of its largest box."""
    boxes = read_boxes(record.boxes)
    return record.label or (max(boxes, key=lambda each: each.width * each.height).label if boxes else None)
