"""Seeds that are held out to steer by: the exam's twin on the side of training.

Whatever is decided by how well a model does, such as which labels get more variants, is decided on these rows, so that
the exam stays a measure of what nobody has looked at.
"""

from __future__ import annotations

import polars as pl

from augment.records import fingerprint
from filters.fold import fold


def validation_of(seeds: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """About `share` of the questions of each label, with all rows that ask the same; at least one where there are two.

    Which ones depends on the questions and `seed` alone, so that another row changes at most its own label's choice.
    """
    asked = seeds.with_columns(question=fold(seeds["prompt"]))
    chosen: list[str] = []
    for (_,), rows in asked.group_by("label", maintain_order=True):
        questions = sorted(rows["question"].unique().to_list(), key=lambda each: fingerprint("validation", each, seed))
        count = round(share * len(questions))
        chosen += questions[: min(max(1, count), len(questions) - 1)]
    return seeds.filter(asked["question"].is_in(chosen))
