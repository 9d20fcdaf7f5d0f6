"""What is scored without answering: gold answers to other questions, and a canned refusal.

Character cosine gives the first about .55 and the second about .3 on CHBench: a score near them says nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import polars as pl

from augment.language import language_of
from augment.records import seed_for
from finetune.evaluation.exam import Exam
from finetune.scorers import ANSWERS

UNRELATED, REFUSAL, GOLD = "unrelated answers", "canned refusal", "gold answers"
REFUSALS = {
    "zh": "很抱歉，我无法回答这个问题。如果您有健康方面的疑虑，请咨询专业的医生。",
    "en": "I'm sorry, but I can't answer this question. If you have concerns about your health, please see a doctor.",
}


def floor(exam: Exam, seed: int = 0) -> pl.DataFrame:
    """The floor's answers as if two models had given them, a line a row, with the columns of `ANSWERS`.

    A row's unrelated answer is the gold of another row with the same label (of any, where there is no other).
    """
    gold = exam.rows["gold"].to_list()
    others = _others(exam.rows, seed)
    unrelated = [gold[place] if place is not None else None for place in others]
    refusals = [REFUSALS["zh" if language_of(query) == "zh" else "en"] for query in exam.rows["query"]]
    return pl.concat([_as(exam, UNRELATED, unrelated), _as(exam, REFUSAL, refusals)])


def ceiling(exam: Exam) -> pl.DataFrame:
    """The gold answers as if a model had given them: what a judge makes of those."""
    return _as(exam, GOLD, exam.rows["gold"].to_list())


def _as(exam: Exam, name: str, answers: Sequence[str | None]) -> pl.DataFrame:
    return exam.rows.select(
        pl.lit(name).alias("model"),
        pl.col("id", "label", "query", "gold"),
        pl.Series("answer", answers, dtype=pl.String),
        pl.lit("stop").alias("finish"),
        pl.lit(None, dtype=pl.String).alias("error"),
        pl.lit(None, dtype=pl.Int64).alias("tokens_out"),
    ).select(list(ANSWERS))


def _others(rows: pl.DataFrame, seed: int) -> list[int | None]:
    """For each row the place of another one with a gold answer: the next in a seeded circle of its label."""
    places: dict[str | None, list[int]] = {}
    for place, (label, gold) in enumerate(rows.select("label", "gold").iter_rows()):
        if gold is not None:
            places.setdefault(label, []).append(place)
    found: list[int | None] = [None] * len(rows)
    everywhere = [place for circle in places.values() for place in circle]
    for label, circle in places.items():
        order = circle if len(circle) > 1 else everywhere
        order = random.Random(seed_for(str(label), "floor", 0, seed)).sample(order, len(order))
        after = dict(zip(order, order[1:] + order[:1], strict=True))
        for place in circle:
            found[place] = after[place] if after[place] != place else None
    return found
