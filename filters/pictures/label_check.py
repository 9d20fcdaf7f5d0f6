"""Whether a picture still is what its label says: the filter that decides whether drawing pictures helps at all.

Of handwritten digits drawn over by a model only two in three keep their label, and training on them does harm; without
those that a teacher turns away, it helps (see `tests/benchmarks/digits.py`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.pictures.features import unscored
from filters.pictures.judges import LEAST_SEEDS, Judge, appointed, judged

log = logging.getLogger(__name__)

QUALITY = "label_check_quality"
"""Where `Context.memory` has the judge's false rejects (see `filters.pictures.judges.false_rejects`)."""


@dataclass(frozen=True)
class LabelCheck:
    """Drops pictures that are no longer what their label says.

    Looked at are rows with a label, of generators that may change what is seen. `model` is a classifier that knows the
    labels, a folder or owner/name; else teachers learn the classes from the seeds (`folds`, `side` in pixels) and each
    judges what was made of seeds that it did not see; else, where there are too few seeds for that, `clip` is told
    `prompt` with each label. A picture is accepted when its label is the likeliest and at least `threshold` likely.
    Teachers that would drop more than 1 − `trust` of real seeds are not listened to.
    """

    model: str = ""
    clip: str = ""
    prompt: str = "a photo of a {label}"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    trust: Annotated[float, Field(ge=0, le=1)] = 0.5
    folds: Annotated[int, Field(ge=2, le=20)] = 10
    side: Annotated[int, Field(ge=16, le=256, multiple_of=8)] = 32
    name: ClassVar[str] = "label_check"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"label_check_score": (">= threshold",)}
    scores: ClassVar[dict[str, Any]] = {
        "label_check_label": pl.String,
        "label_check_score": pl.Float64,
        "label_check_right": pl.Boolean,
    }
    """The likeliest label, the probability of the row's own, and whether the two are one."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if "parent_image" not in frame.columns:
            return unscored(frame, self.scores)
        may_differ = ~pl.col("generator").fill_null("").is_in(list(context.keeps_label))
        as_before = (pl.col("pixels") == pl.col("parent_image")) & (pl.col("label") == pl.col("parent_label"))
        asked = pl.col("image").is_not_null() & pl.col("label").is_not_null() & may_differ & ~as_before.fill_null(False)
        rows = frame.with_row_index("_at").filter(asked)
        lines: list[tuple[Any, ...]] = [(None, None, None)] * len(frame)
        if len(rows):
            if self.name not in context.memory:
                context.memory[self.name], context.memory[QUALITY] = appointed(self, context)
            judge: Judge | None = context.memory[self.name]
            if judge is not None:
                _tell(judge, set(rows["label"]), context.memory)
            rows = rows.filter(pl.col("label").is_in(list(judge.columns) if judge else []))
            if judge is not None:
                parents = [each[0] if each is not None and len(each) else None for each in rows["parents"].to_list()]
                said = judged(judge, rows["image"].to_list(), parents, rows["label"].to_list())
                for at, each in zip(rows["_at"], said, strict=True):
                    lines[at] = (each.label, each.score, each.right)
        return frame.with_columns(pl.DataFrame(lines, schema=self.scores, orient="row").get_columns())

    def verdict(self) -> pl.Expr:
        return (
            pl.when(~pl.col("label_check_right"))
            .then(pl.lit("not what its label says"))
            .when(pl.col("label_check_score") < self.threshold)
            .then(pl.lit("hardly what its label says"))
        )


def _tell(judge: Judge, labels: set[str], memory: dict[str, Any]) -> None:
    """Say, once of each, which labels the judge does not know: pictures of those are kept, and nobody has looked."""
    told: set[str] = memory.setdefault("label_check_unknown", set())
    unknown = sorted(labels - set(judge.columns) - told)
    if unknown:
        told.update(unknown)
        shown = ", ".join(unknown[:5]) + (f", and {len(unknown) - 5:,} more" if len(unknown) > 5 else "")
        why = f" (fewer than {LEAST_SEEDS} seeds)" if judge.kind == "teacher" else ""
        log.warning(
            "label check: the %s does not know %s%s: pictures of it are kept unchecked; name a classifier that does "
            "with --set label_check.model=FOLDER",
            *(judge.kind, shown, why),
        )
