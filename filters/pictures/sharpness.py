"""Pictures that came out blurred or full of noise, beside their parent.

Never an absolute threshold: what is sharp for an X-ray is blurred for a street. Both are compared at the same size,
since a picture that is drawn larger is softer at its own pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.pictures.features import LONGEST, sharpness, unscored

_FLAT = 1.0  # variance of the Laplacian of a parent without edges: nothing to compare with


@dataclass(frozen=True)
class Sharpness:
    """Drops pictures much blurrier or much noisier than their parent, by the variance of the Laplacian.

    `lowest` and `highest` are multiples of the parent's, both scaled down to the size of the smaller one, 256 pixels at
    most.
    """

    lowest: Annotated[float, Field(ge=0)] = 0.1
    highest: Annotated[float, Field(gt=0)] = 10.0
    name: ClassVar[str] = "sharpness"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "sharpness_ratio": (
            ">= lowest",
            "<= highest",
        )
    }
    scores: ClassVar[dict[str, Any]] = {"sharpness_ratio": pl.Float64}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if "parent_image" not in frame.columns:
            return unscored(frame, self.scores)
        sizes = _longest(context.seeds)
        pairs = frame.select("image", "parent_image", pl.max_horizontal("width", "height").alias("side")).rows()
        side = [min(LONGEST, own or LONGEST, sizes.get(parent, LONGEST)) for _, parent, own in pairs]
        ours = sharpness([image for image, _, _ in pairs], side)
        theirs = sharpness([parent for _, parent, _ in pairs], side)
        ratio = [
            None if one is None or other is None or other < _FLAT else one / other
            for one, other in zip(ours, theirs, strict=True)
        ]
        return frame.with_columns(pl.Series("sharpness_ratio", ratio, dtype=pl.Float64))

    def verdict(self) -> pl.Expr:
        return (
            pl.when(pl.col("sharpness_ratio") < self.lowest)
            .then(pl.lit("blurred beside its parent"))
            .when(pl.col("sharpness_ratio") > self.highest)
            .then(pl.lit("noisy beside its parent"))
        )


def _longest(seeds: pl.DataFrame) -> dict[str | None, int]:
    """The longer side of each seed's picture, in pixels."""
    sized = seeds.select("image", pl.max_horizontal("width", "height").alias("side")).drop_nulls()
    return dict(sized.iter_rows())
