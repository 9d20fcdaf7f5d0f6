"""Whether a text still is what its label says: the filter of variants that train a classifier."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from augment.errors import RecipeError
from filters import Context
from filters.label_judges import Judge, judge_for
from filters.llm import count_silent

log = logging.getLogger(__name__)

QUALITY = "label_kept_quality"
"""Where `Context.memory` has how good the judges are, by the fields that they read (see `filters.label_judges`)."""


@dataclass(frozen=True)
class LabelKept:
    """Drops texts that are no longer what their label says.

    Looked at is what changed of rows with a label. `model` is a classifier that knows the labels, a folder or
    owner/name; `llm` is told the labels and chooses one; without either, teachers learn the labels from the seeds
    (`folds`, and vectors of `embedder`) and each judges what was made of seeds that it did not see. A text is dropped
    when another label is likelier and fewer than `rank` of the seeds are as unlike their own, so that no more than
    that share of real rows would be; the LLM's choice counts as it is. Teachers that find out fewer than `trust` of the
    seeds under a wrong label are not listened to.
    """

    model: str = ""
    llm: str = ""
    base_url: str = ""
    embedder: str = ""
    rank: Annotated[float, Field(ge=0, le=1)] = 0.05
    trust: Annotated[float, Field(ge=0, le=1)] = 0.5
    folds: Annotated[int, Field(ge=2, le=20)] = 10
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    timeout: Annotated[float, Field(gt=0)] = 300.0
    name: ClassVar[str] = "label_kept"
    cost: ClassVar[str] = "model"
    reads_seeds: ClassVar[bool] = True
    scores: ClassVar[dict[str, Any]] = {
        "label_kept_label": pl.String,
        "label_kept_score": pl.Float64,
        "label_kept_rank": pl.Float64,
        "label_kept_right": pl.Boolean,
    }
    """The likeliest label, the probability of the row's own, the share of seeds whose own is no likelier, and whether
    the row's own is the likeliest."""
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"label_kept_rank": (">= rank",)}

    def check(self) -> None:
        """Raises:
        RecipeError: there are two judges.
        """
        if self.model and self.llm:
            raise RecipeError(
                "filter 'label_kept' has a model and an LLM; give one of label_kept.model, label_kept.llm"
            )

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        lines: list[tuple[Any, ...]] = [(None,) * len(self.scores)] * len(frame)
        rows: dict[str, list[tuple[int, str, str, str | None]]] = {}
        columns = ("changed_fields", "changed", "label", pl.col("parents").list.first())
        for at, (fields, text, label, parent) in enumerate(frame.select(columns).iter_rows()):
            if fields and text and label is not None:
                rows.setdefault(fields, []).append((at, text, label, parent))
        for fields, some in rows.items():
            judge = self._judge(fields, context)
            if judge is None:
                continue
            some = [each for each in some if each[2] in judge.columns]
            said = np.round(judge.say([each[1] for each in some], [each[3] for each in some]), 4)
            silent = 0
            for (at, _, label, _), shares in zip(some, said, strict=True):
                if np.isnan(shares[0]):
                    silent += 1
                    continue
                own = float(shares[judge.columns[label]])
                top = int(shares.argmax())
                lines[at] = (judge.labels[top], own, judge.rank(own), bool(own >= shares[top]))
            if judge.kind == "llm":
                count_silent(context, self.name, len(some), silent)
        return frame.with_columns(pl.DataFrame(lines, schema=self.scores, orient="row").get_columns())

    def verdict(self) -> pl.Expr:
        other = ~pl.col("label_kept_right") & (pl.col("label_kept_rank").fill_null(-1) < self.rank)
        return pl.when(other).then(pl.lit("not what its label says"))

    def _judge(self, fields: str, context: Context) -> Judge | None:
        judges: dict[str, Judge | None] = context.memory.setdefault(self.name, {})
        if fields not in judges:
            judges[fields], why = judge_for(self, fields, context)
            if (judge := judges[fields]) is None:
                log.warning("label_kept: %s; name a classifier with --set label_kept.model=FOLDER, or an LLM", why)
            elif judge.quality:
                context.memory.setdefault(QUALITY, {})[fields] = dict(judge.quality)
        return judges[fields]
