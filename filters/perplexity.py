"""How likely a language model finds a text: broken text is far less likely than the seeds, boilerplate far more.

Perplexity is the exponential of the mean negative log-likelihood of a text's tokens. It differs by orders of magnitude
between models and kinds of text, so that bounds are the seeds' own by default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from augment.errors import RecipeError
from filters import Context
from filters.models import Losses
from filters.own_seeds import LEAST, some_seeds
from filters.spread import spread_over


@dataclass(frozen=True)
class Perplexity:
    """Drops texts that a language model finds much less likely, or much more, than the seeds.

    `model` is any causal language model, a folder or owner/name. `reads` says what is scored: the changed text alone,
    or the response given the prompt. The seeds' `quantile` and 1 − `quantile` are their range, for prompts and for
    responses by themselves; a text may be `factor` times beyond it. `lowest` and `highest` are perplexities: each
    takes the place of the seeds' bound on its side. With fewer than 20 seeds only those two count.
    """

    model: str = ""
    reads: Literal["changed", "response"] = "changed"
    quantile: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    factor: Annotated[float, Field(ge=1)] = 2.0
    lowest: Annotated[float | None, Field(ge=1)] = None
    highest: Annotated[float | None, Field(ge=1)] = None
    name: ClassVar[str] = "perplexity"
    cost: ClassVar[str] = "model"
    reads_seeds: ClassVar[bool] = True
    only_when_set: ClassVar[bool] = True
    scores: ClassVar[dict[str, Any]] = {
        "perplexity_value": pl.Float64,
        "perplexity_over": pl.Float64,
        "perplexity_under": pl.Float64,
    }
    """The perplexity, how many times the upper end of the seeds' range it is, and how many times it is under the
    lower end; four digits."""
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "perplexity_value": (">= lowest", "<= highest"),
        "perplexity_over": ("<= factor", "highest"),
        "perplexity_under": ("<= factor", "lowest"),
    }

    def check(self) -> None:
        """Raises:
        RecipeError: there is no model, or no text is between the bounds.
        """
        if not self.model:
            raise RecipeError("filter 'perplexity' needs a model; add --set perplexity.model=FOLDER or owner/name")
        if self.lowest is not None and self.highest is not None and self.lowest > self.highest:
            raise RecipeError(f"perplexity.lowest={self.lowest:g} is above perplexity.highest={self.highest:g}")

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        lines: list[tuple[float | None, ...]] = [(None, None, None)] * len(frame)
        answered = self.reads == "response"
        kinds: list[str | None] = frame["changed_fields"].to_list()
        texts: list[tuple[str | None, str] | None] = [
            (prompt, response)
            if answered and response and "response" in fields
            else (None, changed)
            if not answered and changed
            else None
            for prompt, response, changed, fields in frame.select(
                "prompt", "response", "changed", "changed_fields"
            ).iter_rows()
        ]
        asked = [(at, text) for at, text in enumerate(texts) if text is not None]
        if self.model and asked:
            said = self._values([text for _, text in asked], context)
            for (at, _), value in zip(asked, said, strict=True):
                low, high = self._range("response" if answered else kinds[at] or "", context)
                if value is not None:
                    over = _digits(value / high) if high else None
                    lines[at] = (_digits(value), over, _digits(low / value) if low else None)
        return frame.with_columns(pl.DataFrame(lines, schema=self.scores, orient="row").get_columns())

    def verdict(self) -> pl.Expr:
        value, over, under = (pl.col(name) for name in self.scores)
        above = over > self.factor if self.highest is None else value > self.highest
        below = under > self.factor if self.lowest is None else value < self.lowest
        unlikely, likely = pl.lit("less likely than real text"), pl.lit("likelier than real text")
        return pl.when(above).then(unlikely).when(below).then(likely)

    def _values(self, texts: Sequence[tuple[str | None, str]], context: Context) -> list[float | None]:
        """Each text's perplexity; None for one without tokens."""
        said = spread_over(context.spread, Losses(self.model, "perplexity.model"), texts)
        return [math.exp(min(loss / tokens, 700.0)) if tokens else None for loss, tokens in said]

    def _range(self, fields: str, context: Context) -> tuple[float | None, float | None]:
        """The ends of the range of the seeds' own texts of those fields; None twice where there are too few."""
        known = context.memory.setdefault(self.name, {})
        if fields not in known:
            seeds = some_seeds(context, fields)
            known[fields] = (None, None)
            if len(seeds) >= LEAST:
                answered = self.reads == "response"
                texts = [
                    (prompt, response) if answered else (None, changed)
                    for prompt, response, changed in seeds.select("prompt", "response", "changed").iter_rows()
                ]
                values = [math.log(each) for each in self._values(texts, context) if each is not None]
                ends = np.quantile(values, [self.quantile, 1 - self.quantile])
                known[fields] = (math.exp(ends[0]), math.exp(ends[1]))
        found: tuple[float | None, float | None] = known[fields]
        return found


def _digits(value: float) -> float:
    """Four significant digits: what models that compute in single precision agree on."""
    return float(f"{value:.4g}")
