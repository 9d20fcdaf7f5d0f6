"""Inpainting keeps every pixel outside the mask: a pipeline that passes all of them through its VAE does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import orjson
import polars as pl

from augment.images.canvas import canvas_for
from augment.images.store import pictures
from filters import Context
from filters.pictures.features import unscored

_WHITE = 128  # from this value on a mask's pixel is drawn into


@dataclass(frozen=True)
class OutsideMask:
    """Drops inpainted pictures that differ from their parent where the mask says that nothing is drawn.

    The parent is scaled as it was when it was drawn into; `allowed` is the greatest difference of a channel, of 255.
    """

    allowed: int = 0
    name: ClassVar[str] = "outside_mask"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"outside_mask_difference": ("<= allowed",)}
    scores: ClassVar[dict[str, Any]] = {"outside_mask_difference": pl.Int64}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if "parent_image" not in frame.columns:
            return unscored(frame, self.scores)
        found = [
            None if image is None else _difference(image, _drawing(params))
            for image, params in frame.select("image", "params").iter_rows()
        ]
        return frame.with_columns(pl.Series("outside_mask_difference", found, dtype=pl.Int64))

    def verdict(self) -> pl.Expr:
        changed = pl.col("outside_mask_difference") > self.allowed
        return pl.when(changed).then(pl.lit("changed outside its mask"))


def _drawing(params: str | None) -> dict[str, Any] | None:
    """What was drawn, where it was drawn into a mask."""
    if params is None:
        return None
    told = orjson.loads(params)
    return told if told.get("kind") == "inpaint" and told.get("mask") and told.get("image") else None


def _difference(image: str, drawing: dict[str, Any] | None) -> int | None:
    """The greatest difference of a channel outside the mask; 255 if the picture has another size."""
    if drawing is None:
        return None
    store = pictures()
    parent, mask = store.open(drawing["image"]), store.open(drawing["mask"])
    canvas = canvas_for(*parent.size, longest=max(drawing["width"], drawing["height"]))
    before = np.asarray(canvas.cut(canvas.place(parent)), dtype=np.int16)
    inside = np.asarray(canvas.cut(canvas.place_mask(mask)).convert("L")) >= _WHITE
    after = store.array(image)
    if after.shape != before.shape:
        return 255
    outside = np.abs(after - before)[~inside]
    return int(outside.max()) if outside.size else 0
