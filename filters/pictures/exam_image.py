"""Pictures of the exam must not come back, nor be seeds: not even scaled, re-encoded, mirrored or recoloured.

Two rules, measured on copies of photographs and digits, and on 1.6 million pairs of different digits. Hashes within 2
bits, and greys that agree once brightness and contrast do: nineteen of twenty such copies, recoloured and brighter ones
too. Hashes within 10 bits, and alike colours in all cells of a grid of 8 × 8: copies cut or turned a little as well. No
two digits meet either; hashes within 10 bits alone would take 3,489 pairs for copies, within 6 still 368.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.pictures.features import features, unscored
from filters.pictures.index import Index, Sameness

_BITS = Annotated[int, Field(ge=0, le=64)]


@dataclass(frozen=True)
class ExamImage:
    """Drops pictures that copy one of the exam, mirrored or not.

    `distance` and `edited` are in bits of 64. Up to `distance` the greys of every cell must be within `light` standard
    deviations, brightness and contrast apart; up to `edited` the colours within `colours` of 255.
    """

    distance: _BITS = 2
    light: Annotated[float, Field(ge=0)] = 0.5
    edited: _BITS = 10
    colours: Annotated[int, Field(ge=0, le=255)] = 24
    name: ClassVar[str] = "exam_image"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "exam_image_distance": (
            "> distance",
            "> edited",
        ),
        "exam_image_light": ("> light",),
        "exam_image_colours": ("> colours",),
    }
    scores: ClassVar[dict[str, Any]] = {
        "exam_image_distance": pl.Int64,
        "exam_image_colours": pl.Int64,
        "exam_image_light": pl.Float64,
        "exam_image_of": pl.String,
    }
    """In how many bits and how much of a colour and of light it differs from the exam's nearest picture, and its id."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if "parent_image" not in frame.columns or context.exam.is_empty():
            return unscored(frame, self.scores)
        if self.name not in context.memory:
            context.memory[self.name] = _index(context.exam)
        index: Index = context.memory[self.name]
        same = Sameness(self.distance, self.colours, self.light, self.edited)
        found = [each and index.nearest(each, same) for each in features(frame["image"].to_list())]
        lines = [
            (each.distance, each.colours, each.light, each.id) if each else (None,) * len(self.scores) for each in found
        ]
        return frame.with_columns(pl.DataFrame(lines, schema=self.scores, orient="row").get_columns())

    def verdict(self) -> pl.Expr:
        bits, alike = pl.col("exam_image_distance"), pl.col("exam_image_colours") <= self.colours
        relit = (bits <= self.distance) & (pl.col("exam_image_light") <= self.light)
        copied = relit | ((bits <= self.edited) & alike)
        return pl.when(copied).then(pl.lit("copy of an exam picture"))


def like_exam(seeds: pl.DataFrame, exam: pl.DataFrame, filter: ExamImage | None = None) -> pl.Series:
    """Which seeds copy a picture of the exam (Boolean, "like_exam"): to be left out before anything is made of them.

    Raises:
        RunError: a picture is not in the store.
    """
    filter = filter or ExamImage()
    working = seeds.with_columns(pl.lit(None, dtype=pl.String).alias("parent_image"))
    scored = filter.score(working, Context(seeds=seeds.clear(), exam=exam))
    return scored.select(filter.verdict().is_not_null().alias("like_exam")).to_series()


def _index(exam: pl.DataFrame) -> Index:
    pictured = exam.filter(pl.col("image").is_not_null())
    return Index.of(pictured["id"].to_list(), features(pictured["image"].to_list()))
