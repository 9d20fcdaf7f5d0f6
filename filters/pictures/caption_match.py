"""Whether picture and caption still belong together, and changed together, as a CLIP sees it.

Three cosines: of the picture and its caption; of the picture and its parent's; and of what changed in the picture and
what changed in the words (the directional similarity of StyleGAN-NADA, Gal et al. 2022, by which InstructPix2Pix chose
its pairs). What is good enough depends on the model and the captions, so that each bound is what nineteen of twenty of
the user's own real pairs reach.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from filters import Context
from filters.pictures.features import unscored
from filters.pictures.image_band import QUANTILE, SAMPLED
from filters.pictures.models import Twin, remembered

log = logging.getLogger(__name__)

_COSINE = Annotated[float, Field(ge=-1, le=1)]
_BOUNDS = ("text", "image", "direction")


@dataclass(frozen=True)
class CaptionMatch:
    """Drops pairs whose caption a CLIP named by `model` does not find in the picture.

    And those whose picture left its parent altogether, or changed in another direction than the words did. `text`,
    `image` and `direction` are the least cosines, `highest` the greatest one of a picture whose caption changed to its
    parent's; without them they are what nineteen of twenty real pairs of seeds reach.
    """

    model: str = ""
    text: _COSINE | None = None
    image: _COSINE | None = None
    direction: _COSINE | None = None
    highest: _COSINE = 0.995
    name: ClassVar[str] = "caption_match"
    modalities: ClassVar[tuple[str, ...]] = ("paired",)
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "caption_match_text": (">= text",),
        "caption_match_image": (
            ">= image",
            "<= highest",
        ),
        "caption_match_direction": (">= direction",),
    }
    scores: ClassVar[dict[str, Any]] = {
        f"caption_match_{name}{suffix}": pl.Float64 for name in _BOUNDS for suffix in ("", "_least")
    }
    """The three cosines, and what nineteen of twenty real pairs reach of each."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if "parent_image" not in frame.columns or frame.is_empty():
            return unscored(frame, self.scores)
        if not self.model:
            if context.memory.setdefault(self.name, "unasked") == "unasked":
                context.memory[self.name] = "told"
                log.warning(
                    "caption match: nobody looks whether captions fit their pictures; name a CLIP with "
                    "--set caption_match.model=FOLDER"
                )
            return unscored(frame, self.scores)
        twin: Twin = remembered(context.memory, Twin, self.model, "caption_match.model")
        if self.name not in context.memory:
            context.memory[self.name] = least_of_real(twin, context.seeds)
        least: dict[str, float | None] = context.memory[self.name]
        for pictures in ("image", "parent_image"):
            twin.images(frame[pictures].drop_nulls().to_list())  # in full batches; below they are remembered
        for words in ("caption", "parent_caption"):
            twin.texts(frame[words].drop_nulls().to_list())
        found = [_cosines(twin, row) for row in frame.select(*_READ).iter_rows(named=True)]
        return frame.with_columns(
            column
            for name in _BOUNDS
            for column in (
                pl.Series(f"caption_match_{name}", [each[name] for each in found], dtype=pl.Float64),
                pl.Series(
                    f"caption_match_{name}_least",
                    [None if each[name] is None else least[name] for each in found],
                    dtype=pl.Float64,
                ),
            )
        )

    def verdict(self) -> pl.Expr:
        def below(name: str, given: float | None) -> pl.Expr:
            least = pl.col(f"caption_match_{name}_least") if given is None else pl.lit(given)
            return pl.col(f"caption_match_{name}") < least

        unchanged = pl.col("caption_match_direction").is_not_null() & (pl.col("caption_match_image") > self.highest)
        return (
            pl.when(below("text", self.text))
            .then(pl.lit("its caption is not what it shows"))
            .when(below("image", self.image))
            .then(pl.lit("another picture than its parent's"))
            .when(unchanged)
            .then(pl.lit("its caption changed and it did not"))
            .when(below("direction", self.direction))
            .then(pl.lit("changed otherwise than its caption"))
        )


_READ = ("image", "pixels", "caption", "parent_image", "parent_caption")


def least_of_real(twin: Twin, seeds: pl.DataFrame) -> dict[str, float | None]:
    """What nineteen of twenty real pairs reach; None where there are too few.

    Of picture and caption; of two pictures; and of the way from one pair to another in pictures and in words.
    """
    real = seeds.filter(pl.col("image").is_not_null() & pl.col("caption").is_not_null()).sort("id").head(SAMPLED)
    if real.is_empty():
        return dict.fromkeys(_BOUNDS)
    shown, said = twin.images(real["image"].to_list()), twin.texts(real["caption"].to_list())
    one, other = np.triu_indices(len(real), 1)
    found = {
        "text": (shown * said).sum(axis=1),
        "image": (shown[one] * shown[other]).sum(axis=1),
        "direction": _ways(shown[other] - shown[one], said[other] - said[one]),
    }
    return {name: round(float(np.quantile(each, QUANTILE)), 4) if len(each) else None for name, each in found.items()}


def _cosines(twin: Twin, row: dict[str, Any]) -> dict[str, float | None]:
    """The three of one row; None where there is nothing to compare."""
    found: dict[str, float | None] = dict.fromkeys(_BOUNDS)
    if row["image"] is None:
        return found
    shown = twin.images([row["image"]])
    said = None if row["caption"] is None else twin.texts([row["caption"]])
    if said is not None:
        found["text"] = round(float((shown * said).sum()), 4)
    if row["parent_image"] is None or row["pixels"] == row["parent_image"]:
        return found
    before = twin.images([row["parent_image"]])
    found["image"] = round(float((shown * before).sum()), 4)
    if said is not None and row["parent_caption"] is not None and row["caption"] != row["parent_caption"]:
        way = shown - before, said - twin.texts([row["parent_caption"]])
        found["direction"] = round(float(_ways(*way)[0]), 4)
    return found


def _ways(pictures: NDArray[np.float64], words: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(pictures, axis=1) * np.linalg.norm(words, axis=1)
    found: NDArray[np.float64] = (pictures * words).sum(axis=1) / np.maximum(lengths, 1e-12)
    return found
