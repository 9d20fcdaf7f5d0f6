"""What is scored without answering: gold answers to other questions, and a canned refusal.

Character cosine gives the first about .55 and the second about .3 on CHBench: a score near them says nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import polars as pl

from augment.language import language_of
from augment.records import seed_for
from finetune.evaluation.exam import Exam
from finetune.scorers import ANSWERS

UNRELATED, REFUSAL, GOLD = BESIDE = "unrelated answers", "canned refusal", "gold answers"
REFUSALS = {
    "zh": "很抱歉，我无法回答这个问题。如果您有健康方面的疑虑，请咨询专业的医生。",
    "en": "I'm sorry, but I can't answer this question. If you have concerns about your health, please see a doctor.",
}


def floor(exam: Exam, seed: int = 0) -> pl.DataFrame:
    """The floor's answers as if two models had given them, a line a row, with the columns of `ANSWERS`.

    A row's unrelated answer is the gold of another row with the same label (of any, where there is no other); where
    there is none at all, the row is left out.
    """
    gold = exam.rows["gold"].to_list()
    others = _others(exam.rows, seed)
    unrelated = [gold[place] if place is not None else None for place in others]
    refusals = [REFUSALS["zh" if language_of(query) == "zh" else "en"] for query in exam.rows["query"]]
    return pl.concat([_as(exam, UNRELATED, unrelated), _as(exam, REFUSAL, refusals)])


def few_of(exam: Exam, size: int, seed: int = 0) -> list[str]:
    """The ids of about `size` rows, of each group of the card its share: those whose floor a judge sees."""
    groups: dict[str, list[str]] = {}
    for key, label in exam.rows.select("id", "label").unique("id", maintain_order=True).iter_rows():
        group = exam.card.group_of(label)
        if group is not None:
            groups.setdefault(group.name, []).append(key)
    share = min(1.0, size / max(1, sum(map(len, groups.values()))))
    return [
        key
        for name, keys in groups.items()
        for key in random.Random(seed_for(name, "judged", 0, seed)).sample(keys, max(1, round(len(keys) * share)))
    ]


def ceiling(exam: Exam) -> pl.DataFrame:
    """The gold answers as if a model had given them: what a judge makes of those."""
    return _as(exam, GOLD, exam.rows["gold"].to_list())


def _as(exam: Exam, name: str, answers: Sequence[str | None]) -> pl.DataFrame:
    return (
        exam.rows.select(
            pl.lit(name).alias("model"),
            pl.col("id", "label", "query", "gold"),
            pl.Series("answer", answers, dtype=pl.String),
            pl.lit("stop").alias("finish"),
            pl.lit(None, dtype=pl.String).alias("error"),
            pl.lit(None, dtype=pl.Int64).alias("tokens_out"),
        )
        .select(list(ANSWERS))
        .drop_nulls("answer")
    )


def _others(rows: pl.DataFrame, seed: int) -> list[int | None]:
    """For each row the place of one with another question and gold answer: the next in a seeded circle of its label."""
    places: dict[str | None, list[int]] = {}
    told = rows.select("query", "gold").rows()
    for place, (label, gold) in enumerate(rows.select("label", "gold").iter_rows()):
        if gold is not None:
            places.setdefault(label, []).append(place)
    found: list[int | None] = [None] * len(rows)
    everywhere = [place for circle in places.values() for place in circle]
    for label, circle in places.items():
        order = circle if _several(told, circle) else everywhere
        order = random.Random(seed_for(str(label), "floor", 0, seed)).sample(order, len(order))
        if not _several(told, order):
            continue
        mine = set(circle)
        for start, place in enumerate(order):
            if place in mine:
                found[place] = next(
                    (other for other in _round(order, start) if _unlike(told[place], told[other])), None
                )
    return found


def _several(told: Sequence[tuple[str, str]], circle: Sequence[int]) -> bool:
    return any(_unlike(told[circle[0]], told[place]) for place in circle)


def _unlike(one: tuple[str, str], other: tuple[str, str]) -> bool:
    return one[0] != other[0] and one[1] != other[1]


def _round(order: Sequence[int], start: int) -> Iterator[int]:
    """The others in a circle, the next first."""
    yield from order[start + 1 :]
    yield from order[:start]
