"""Trains every arm of every draw, scores it on the draw's test rows, and keeps all scores side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.errors import RunError
from finetune.lift.arms import Arm, Design, Draw

SCORES: dict[str, Any] = {
    "draw": pl.Int64,
    "seed": pl.Int64,
    "arm": pl.String,
    "id": pl.String,
    "label": pl.String,
    "score": pl.Float64,
}


class Task(Protocol):
    """Trains on an arm and scores each of a draw's test rows; NaN where a row cannot be scored."""

    @property
    def metric(self) -> str:
        """What a score is called: accuracy, loss, …"""

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better."""

    def settings(self) -> dict[str, Any]:
        """What decides the scores, for the record."""

    def __call__(self, draw: Draw, arm: Arm, work: Path) -> NDArray[np.float64]:
        """A score for each row of `draw.test`, of a model that learned `arm`; `work` is a folder for what it needs."""


@dataclass(frozen=True)
class Measured:
    """All scores. `scores` are (draws, rows) an arm, NaN where a draw does not test a row; `families` number the rows'.

    `sizes` are the rows that an arm learns, a number a draw; `frame` has a line a draw, arm and test row (`SCORES`).
    """

    scores: dict[str, NDArray[np.float64]]
    families: NDArray[np.int64]
    sizes: dict[str, list[int]]
    frame: pl.DataFrame


def measure(
    design: Design,
    task: Task,
    seeds: Sequence[int],
    work: Path,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> Measured:
    """Every arm of a draw for each of `seeds`, trained and scored; `tell` hears how many of how many are done.

    Raises:
        RunError: a draw leaves no row to test on, or none that can be scored.
    """
    real = pl.concat([design.pool.seeds, design.pool.exam]).unique("id", keep="first", maintain_order=True)
    place = {key: number for number, key in enumerate(real["id"])}
    scores: dict[str, NDArray[np.float64]] = {}
    sizes: dict[str, list[int]] = {}
    parts = [pl.DataFrame(schema=SCORES)]
    for draw in design.draws(seeds):
        if draw.test.is_empty():
            raise RunError(f"draw {draw.number} leaves no real row to test on; lower --shots, or hold out an exam")
        at = [place[key] for key in draw.test["id"]]
        for turn, arm in enumerate(draw.arms):
            found = task(draw, arm, work)
            if np.isnan(found).all():
                raise RunError(f"no test row of draw {draw.number} can be scored: all are over the length")
            scores.setdefault(arm.name, np.full((len(seeds), len(real)), np.nan))[draw.number, at] = found
            sizes.setdefault(arm.name, []).append(len(arm.rows))
            parts.append(_lines(draw, arm, found))
            tell(draw.number * len(draw.arms) + turn + 1, len(seeds) * len(draw.arms))
    families = real["family"].rank("dense").to_numpy().astype(np.int64) - 1
    return Measured(scores, families, sizes, pl.concat(parts))


def _lines(draw: Draw, arm: Arm, scores: NDArray[np.float64]) -> pl.DataFrame:
    return draw.test.select(
        pl.lit(draw.number, pl.Int64).alias("draw"),
        pl.lit(draw.seed, pl.Int64).alias("seed"),
        pl.lit(arm.name).alias("arm"),
        "id",
        "label",
        pl.Series("score", scores, dtype=pl.Float64).fill_nan(None),
    )
