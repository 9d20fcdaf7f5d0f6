"""Pictures that nobody should see, as a classifier finds them; without one nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from augment.errors import RecipeError
from filters import Context
from filters.pictures.features import unscored
from filters.pictures.models import Classifier, remembered


@dataclass(frozen=True)
class UnsafeImage:
    """Drops pictures that a classifier named by `model` takes for unsafe.

    `model` is a folder or owner/name; `labels` are those of its classes that are unsafe, and `threshold` is how likely
    they may be together.
    """

    model: str = ""
    labels: tuple[str, ...] = ("nsfw", "unsafe", "porn", "hentai", "sexy", "explicit")
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    name: ClassVar[str] = "unsafe_image"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    only_when_set: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"unsafe_image_score": ("< threshold",)}
    scores: ClassVar[dict[str, Any]] = {"unsafe_image_score": pl.Float64}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if not self.model or "parent_image" not in frame.columns or frame.is_empty():
            return unscored(frame, self.scores)
        classifier = remembered(context.memory, Classifier, self.model, "unsafe_image.model")
        wanted = {each.casefold() for each in self.labels}
        columns = [at for at, label in enumerate(classifier.labels) if label.casefold() in wanted]
        if not columns:
            raise RecipeError(
                f"unsafe_image.labels: {self.model} has none of them; its classes are "
                f"{', '.join(classifier.labels[:8])}"
            )
        pictured = frame["image"].drop_nulls().to_list()
        found = classifier.probabilities(pictured)[:, columns].sum(axis=1).round(4)
        known = dict(zip(pictured, found.tolist(), strict=True))
        scores = [None if name is None else known[name] for name in frame["image"]]
        return frame.with_columns(pl.Series("unsafe_image_score", scores, dtype=pl.Float64))

    def verdict(self) -> pl.Expr:
        return pl.when(pl.col("unsafe_image_score") >= self.threshold).then(pl.lit("unsafe"))
