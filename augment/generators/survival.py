"""What of a record survives when its picture is drawn anew: one table, and the row that follows from it.

What is not said to survive is dropped: a box, a mask or a caption is never silently wrong. A label that is kept here
and may no longer hold is checked afterwards (`Picturing.keeps_label`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from augment.images.boxes import Box, read_boxes, write_boxes
from augment.images.drawn import Drawn, drawn
from augment.images.store import pictures
from augment.records import Rejected, Reply, Row

FAINT = 0.3
"""The strength up to which what is drawn over a picture leaves the outlines where they are."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of each: "kept" is the parent's (boxes and masks brought to the new size), "asked" is what the
    generator asked for (`Drawing.label`, `Drawing.caption`, its own rectangle), "prompt" the words it was drawn from,
    "faint" kept up to a strength of `FAINT`."""

    label: Literal["kept", "asked"]
    boxes: Literal["kept", "asked", "dropped"]
    mask: Literal["kept", "faint", "dropped"]
    caption: Literal["kept", "asked", "prompt"]


FATES = {
    "text": Fate("kept", "dropped", "dropped", "prompt"),
    "image": Fate("kept", "dropped", "faint", "kept"),
    "edit": Fate("kept", "dropped", "faint", "asked"),
    "background": Fate("kept", "kept", "kept", "prompt"),
    "redrawn": Fate("kept", "dropped", "dropped", "prompt"),
    "object": Fate("asked", "asked", "dropped", "prompt"),
    "control": Fate("kept", "dropped", "dropped", "prompt"),
    "traced": Fate("kept", "kept", "kept", "prompt"),
    "instruct": Fate("kept", "dropped", "dropped", "asked"),
    "reference": Fate("kept", "dropped", "dropped", "prompt"),
    "subject": Fate("kept", "dropped", "dropped", "asked"),
    "mixed": Fate("asked", "dropped", "dropped", "prompt"),
}
"""By what was done: drawn from words for the record's class, over the picture with its words or with changed ones,
around the object, around it as a model finds it, in its place, along edges, along them by a model that is trusted to
follow, by an instruction, in the likeness of the picture, a learned subject from words, from two records' words."""


def survivor(record: Row, reply: Reply, fate: str, boxes: Sequence[Box] = ()) -> Row | Rejected:
    """The record with the picture that `reply` brings and what survives of the rest; `boxes` are those asked for."""
    found = drawn(reply)
    if isinstance(found, Rejected):
        return found
    if found.drawing is None:
        return Rejected("no picture")
    rule = FATES[fate]
    captions = {"kept": record.caption, "asked": found.drawing.caption, "prompt": found.drawing.prompt}
    kept = {"kept": read_boxes(record.boxes), "asked": tuple(boxes), "dropped": ()}[rule.boxes]
    faint = rule.mask == "faint" and (found.drawing.strength or 1.0) <= FAINT
    return dataclasses.replace(
        record,
        image=found.image,
        pixels=found.pixels,
        width=found.width,
        height=found.height,
        prompt=found.drawing.prompt,
        label=record.label if rule.label == "kept" else found.drawing.label,
        caption=captions[rule.caption],
        boxes=write_boxes(_scaled(kept, record, found)),
        mask=_resized(record.mask, found) if rule.mask == "kept" or faint else None,
        negative=None,
        partners=found.drawing.partners,
    )


def _scaled(boxes: Sequence[Box], record: Row, found: Drawn) -> list[Box]:
    """Boxes of the parent's picture in the new one's pixels."""
    if not (record.width and record.height):
        return []
    across, down = found.width / record.width, found.height / record.height
    return [Box(each.label, each.x * across, each.y * down, each.width * across, each.height * down) for each in boxes]


def _resized(mask: str | None, found: Drawn) -> str | None:
    """A mask of the parent's picture at the new one's size: nearest pixels."""
    if mask is None:
        return None
    from PIL import Image as PILImage

    store = pictures()
    picture = store.open(mask)
    size = found.width, found.height
    return mask if picture.size == size else store.add(picture.resize(size, PILImage.Resampling.NEAREST))
