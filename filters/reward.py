"""What a reward model, or a classifier's probability of one class, says of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from augment.errors import RecipeError
from filters import Context
from filters.models import Rewards, Shares, labels_in
from filters.own_seeds import LEAST, rank, some_seeds
from filters.spread import spread_over


@dataclass(frozen=True)
class Reward:
    """Drops texts that a reward model likes less than nearly all seeds, or a classifier's class less than a bound.

    `model` is a sequence classifier, a folder or owner/name. With one output it is a reward model and reads prompt and
    response as a conversation, where there are both. With `label`, one of its classes, it reads what changed, and the
    value is that class's probability. Rewards have no scale of their own: a row is dropped when fewer than `rank` of
    the seeds have one as low (of 20 seeds or more). `lowest` and `highest` are values, and take the seeds' place.
    """

    model: str = ""
    label: str = ""
    rank: Annotated[float, Field(ge=0, le=1)] = 0.02
    lowest: float | None = None
    highest: float | None = None
    name: ClassVar[str] = "reward"
    cost: ClassVar[str] = "model"
    reads_seeds: ClassVar[bool] = True
    only_when_set: ClassVar[bool] = True
    scores: ClassVar[dict[str, Any]] = {"reward_value": pl.Float64, "reward_rank": pl.Float64}
    """The reward or probability, and the share of seeds whose own is no higher."""
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "reward_value": (">= lowest", "<= highest"),
        "reward_rank": (">= rank", "lowest", "highest"),
    }

    def check(self) -> None:
        """Raises:
        RecipeError: there is no model.
        """
        if not self.model:
            raise RecipeError("filter 'reward' needs a model; add --set reward.model=FOLDER or owner/name")

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        lines: list[tuple[float | None, float | None]] = [(None, None)] * len(frame)
        kinds: list[str] = frame["changed_fields"].to_list()
        texts = self._texts(frame)
        asked = [(at, text) for at, text in enumerate(texts) if text is not None and kinds[at]]
        if self.model and asked:
            said = self._values([text for _, text in asked], context)
            for (at, _), value in zip(asked, said, strict=True):
                lines[at] = (value, rank(value, self._scale(kinds[at], context)))
        return frame.with_columns(pl.DataFrame(lines, schema=self.scores, orient="row").get_columns())

    def verdict(self) -> pl.Expr:
        value, place = pl.col("reward_value"), pl.col("reward_rank")
        none = pl.lit(None, dtype=pl.Boolean)
        above = none if self.highest is None else value > self.highest
        below = none if self.lowest is None else value < self.lowest
        if self.lowest is None and self.highest is None:
            below = place < self.rank
        return pl.when(below).then(pl.lit("scored too low")).when(above).then(pl.lit("scored too high"))

    def _texts(self, frame: pl.DataFrame) -> list[tuple[str, str | None] | None]:
        if self.label:
            return [(each, None) if each else None for each in frame["changed"].to_list()]
        return [
            (each[0], each[1]) if each[0] and each[1] else None for each in frame.select("prompt", "response").rows()
        ]

    def _values(self, texts: Sequence[tuple[str, str | None]], context: Context) -> list[float]:
        if not self.label:
            said = spread_over(context.spread, Rewards(self.model, "reward.model"), texts)
            return [round(each, 4) for each in said]
        known = context.memory.setdefault(self.name, {})
        if "labels" not in known:
            known["labels"] = labels_in(self.model, "reward.model")
            if self.label not in known["labels"]:
                listed = ", ".join(known["labels"][:10])
                raise RecipeError(f"reward.label: {self.model} has no class '{self.label}'; its classes are {listed}")
        at = known["labels"].index(self.label)
        said = spread_over(context.spread, Shares(self.model, "reward.model"), texts)
        return [round(each[at], 4) for each in said]

    def _scale(self, fields: str, context: Context) -> list[float]:
        """The seeds' own values in order: of the same fields where those are what is read."""
        known = context.memory.setdefault(self.name, {}).setdefault("scales", {})
        fields = fields if self.label else "prompt+response"
        if fields not in known:
            seeds = some_seeds(context, fields)
            texts = [each for each in self._texts(seeds) if each is not None] if len(seeds) >= LEAST else []
            known[fields] = sorted(self._values(texts, context))
        found: list[float] = known[fields]
        return found
