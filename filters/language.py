"""The language of a rewrite is that of what it rewrites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from augment.language import SCRIPTS, WEIGHTS
from filters import Context
from filters.characters import characters

_CHINESE = list(SCRIPTS).index("zh")


@dataclass(frozen=True)
class Language:
    """Drops rewrites in another language than their parent's, and Chinese ones mixed with another.

    Mixed is a rewrite whose share of Han among all letters falls below `min_chinese` times its parent's
    (`language_chinese_kept`), so that a parent full of drug names and units may have a rewrite like it.
    """

    min_chinese: Annotated[float, Field(ge=0, le=1)] = 0.6
    name: ClassVar[str] = "language"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"language_chinese_kept": (">= min_chinese",)}
    scores: ClassVar[dict[str, Any]] = {
        "language_changed": pl.String,
        "language_parent": pl.String,
        "language_chinese": pl.Float64,
        "language_chinese_kept": pl.Float64,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        names = list(self.scores)
        changed, parent = (_told(frame[name], context) for name in ("changed", "parent_changed"))
        kept = pl.when(parent[0] == "zh").then(changed[1] / parent[1])
        return frame.with_columns(
            changed[0].alias(names[0]), parent[0].alias(names[1]), changed[1].alias(names[2]), kept.alias(names[3])
        )

    def verdict(self) -> pl.Expr:
        other = pl.col("language_changed") != pl.col("language_parent")
        return (
            pl.when((pl.col("language_parent") != "") & other)
            .then(pl.lit("not in the language of its parent"))
            .when(pl.col("language_chinese_kept") < self.min_chinese)
            .then(pl.lit("mixes languages"))
        )


def _told(texts: pl.Series, context: Context) -> tuple[pl.Series, pl.Series]:
    """The language of each text as `augment.language` has it, null for null, and the share of Han among its letters."""
    found = characters(texts, context.memory)
    scripts = found.scripts()
    letters = found.group("letter")
    share = pl.Series(scripts[:, _CHINESE] / np.maximum(letters, 1))
    said = pl.Series(_languages(scripts), dtype=pl.String)
    missing, wordless = texts.is_null(), pl.Series(letters == 0)
    frame = pl.select(
        pl.when(~missing).then(said).alias("language"),
        pl.when(~missing & ~wordless).then(share).alias("share"),
    )
    return frame["language"], frame["share"]


def _languages(scripts: NDArray[np.int64]) -> list[str]:
    weighed = scripts * np.array([WEIGHTS[name] for name in SCRIPTS])
    best = np.where(weighed.any(axis=1), weighed.argmax(axis=1), len(SCRIPTS))
    said: list[str] = np.array([*SCRIPTS, ""], dtype=object)[best].tolist()
    return said
