"""Pictures that repeat a seed or an earlier picture; and how near each is to the seeds.

Measured on re-encoded, halved, blurred and noisy copies of photographs and digits: nine in ten have a hash within 2
bits, and all cells of a grid of 8 × 8 within 22 of their colours. Of 1.6 million pairs of different digits 3 are within
2 bits, and a cell of those differs by 49 or more. Colours count since hashes are blind to them: a car painted blue is
new.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.fold import fold
from filters.pictures.features import Features, features, unscored
from filters.pictures.index import Index, Sameness

NEAR = 10
"""Bits up to which a picture counts as an edited copy of a seed."""


@dataclass(frozen=True)
class ImageDup:
    """Drops copies of a seed's or an earlier picture, exact or in look; edited copies are only counted.

    `distance` is in bits of 64, `colours` how far the colours of a cell may differ (of 255). A mirrored copy is a copy
    where a model made it, not where a rule did that keeps the label. A row that only says something new of its parent's
    picture is a copy of those that say the same.
    """

    distance: Annotated[int, Field(ge=0, le=64)] = 2
    colours: Annotated[int, Field(ge=0, le=255)] = 24
    name: ClassVar[str] = "image_dup"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "image_dup_distance": ("> distance",),
        "image_dup_colours": ("> colours",),
    }
    scores: ClassVar[dict[str, Any]] = {
        "image_dup_of": pl.String,
        "image_dup_of_seed": pl.Boolean,
        "image_dup_distance": pl.Int64,
        "image_dup_colours": pl.Int64,
        "image_dup_nearest_seed": pl.Int64,
    }
    """The picture that it is a copy of, or else the nearest by hash, whether that is a seed's, in how many bits and how
    much of a colour they differ; and in how many bits it differs from the nearest seed's, mirrored or not."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if "parent_image" not in frame.columns:
            return unscored(frame, self.scores)
        if self.name not in context.memory:
            context.memory[self.name] = _Seen.of(context.seeds)
        seen: _Seen = context.memory[self.name]
        found = features(frame["image"].to_list())
        same = Sameness(self.distance, self.colours)
        caption = fold(frame["caption"]).fill_null("")
        said_anew = (pl.col("pixels") == pl.col("parent_image")) & pl.col("caption").ne_missing(
            pl.col("parent_caption")
        )
        rows = frame.select("id", "pixels", "generator", caption.alias("said"), said_anew.alias("anew")).rows()
        lines = []
        for each, (id, pixels, generator, said, anew) in zip(found, rows, strict=True):
            if each is None:
                lines.append((None,) * len(self.scores))
            elif anew:
                lines.append(seen.words(id, pixels, said))
            else:
                lines.append(seen.picture(id, pixels, each, same, generator not in context.keeps_label))
        return frame.with_columns(pl.DataFrame(lines, schema=self.scores, orient="row").get_columns())

    def verdict(self) -> pl.Expr:
        near = (pl.col("image_dup_distance") <= self.distance) & (pl.col("image_dup_colours") <= self.colours)
        return (
            pl.when(near & pl.col("image_dup_of_seed"))
            .then(pl.lit("copy of a seed"))
            .when(near)
            .then(pl.lit("copy of an earlier picture"))
        )


def memorisation(frame: pl.DataFrame, near: int = NEAR) -> tuple[int, int]:
    """How many of the rows are near copies of a seed's picture (`near` bits at most), and of how many.

    A model that was fitted on few pictures gives them back. Ask for rows that a model drew: what rules change is near
    its parent on purpose.
    """
    known = frame["image_dup_nearest_seed"].drop_nulls()
    return int((known <= near).sum()), len(known)


@dataclass
class _Seen:
    """What came before: seeds and the pictures that were kept."""

    seeds: Index
    kept: Index
    first: dict[Hashable, str] = field(default_factory=dict)

    @classmethod
    def of(cls, seeds: pl.DataFrame) -> _Seen:
        pictured = seeds.filter(pl.col("image").is_not_null())
        seen = cls(Index.of(pictured["id"].to_list(), features(pictured["image"].to_list())), Index())
        for id, pixels, said in pictured.select(
            "id", "pixels", fold(pictured["caption"]).fill_null("").alias("said")
        ).rows():
            seen.first.setdefault(pixels, id)
            seen.first.setdefault((pixels, said), id)
        return seen

    def words(self, id: str, pixels: str, said: str) -> tuple[Any, ...]:
        owner = self.first.setdefault((pixels, said), id)
        return (None, None, None, None, None) if owner == id else (owner, owner in self.seeds, 0, 0, None)

    def picture(self, id: str, pixels: str, each: Features, same: Sameness, mirrors: bool) -> tuple[Any, ...]:
        seed, kept = self.seeds.nearest(each, same, mirrors), self.kept.nearest(each, same, mirrors)
        nearest = seed and seed.nearest
        owner = self.first.get(pixels)
        if owner is not None:
            return owner, owner in self.seeds, 0, 0, nearest
        alike = [one for one in (seed, kept) if one]
        closest = min(alike, key=lambda one: (not one.within(same), one.distance), default=None)
        if closest is None or not closest.within(same):
            self.first[pixels] = id
            self.kept.add(id, each)
        if closest is None:
            return None, None, None, None, nearest
        return closest.id, closest is seed, closest.distance, closest.colours, nearest
