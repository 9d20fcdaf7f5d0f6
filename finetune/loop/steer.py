"""Where the next round's variants go: to the labels on which the adapters of this round do worst.

What is looked at is the validation rows, which nothing was made of and nothing has learnt; never the exam.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

PRIOR = 4
"""Rows of the mean that are added to each label's: with three rows a label, half of a difference is luck."""
MOST = 3.0
"""What a seed may get in one round, in units of the recipe's n."""


@dataclass(frozen=True)
class Label:
    """One label: `score` is the mean of `rows` validation rows, the more the better; `seeds` can be made more of."""

    name: str
    rows: int
    score: float
    seeds: int


def shrunk(labels: list[Label]) -> dict[str, float]:
    """Each label's score drawn towards the mean of all rows, the more the fewer rows it has (additive smoothing)."""
    rows = sum(each.rows for each in labels)
    mean = sum(each.score * each.rows for each in labels) / rows
    return {each.name: (each.score * each.rows + mean * PRIOR) / (each.rows + PRIOR) for each in labels}


def steered(labels: list[Label], n: int) -> dict[str, int]:
    """How many more variants each seed of a label gets, of a budget of `n` for every seed.

    Labels below the mean share the budget by how far they are below it; none gets more than `MOST` times n a seed, and
    what one cannot take goes to the others. Labels at or above the mean get none; where none is below, all get n.
    """
    labels = [each for each in labels if each.rows and each.seeds]
    if not labels:
        return {}
    scores = shrunk(labels)
    mean = sum(each.score * each.rows for each in labels) / sum(each.rows for each in labels)
    lack = {each.name: max(0.0, mean - scores[each.name]) for each in labels}
    if not any(lack[name] > 1e-12 for name in lack):
        return {each.name: n for each in labels}
    return _filled({each.name: each.seeds for each in labels}, lack, n)


def _filled(seeds: Mapping[str, int], lack: Mapping[str, float], n: int) -> dict[str, int]:
    left = float(n * sum(seeds.values()))
    most = max(1, math.floor(MOST * n))
    got: dict[str, float] = dict.fromkeys(seeds, 0.0)
    while left > 0.5:
        able = [name for name in seeds if lack[name] > 1e-12 and got[name] < most - 1e-9]
        weight = sum(lack[name] * seeds[name] for name in able)
        if not able:
            break  # every weak label has all it may have: what is left is not spent
        spent = 0.0
        for name in able:
            more = min(most - got[name], left * lack[name] / weight)
            got[name] += more
            spent += more * seeds[name]
        left -= spent
    return {name: round(value) for name, value in got.items()}
