"""`--balance label`: how a total is spread so that the labels come out equally many."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray


def even(total: int, among: int) -> NDArray[np.int64]:
    """A total spread evenly, the first ones one more."""
    return total // among + (np.arange(among) < total % among).astype(np.int64)


def labelled(labels: pl.Series) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The labels in order, and each seed's as its number; of a seed without one the number after the last."""
    names = tuple(sorted(labels.drop_nulls().unique().to_list()))
    number = {name: at for at, name in enumerate(names)}
    return names, np.array([number.get(each, len(names)) for each in labels.to_list()], dtype=np.int64)


def balanced(
    groups: NDArray[np.int64], labels: int, total: int, attempts: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each seed's share of `total` and its cap, so that seeds and variants of each label come out equally many.

    The total goes to the labels with the fewest rows until they have as many as the next, and so on, as water fills a
    vessel; a label that has more than that gets none. Within a label it is spread evenly. Seeds of the group after the
    last label have no share. The cap is `attempts` times a label's largest share, and at least 1 where it has one.
    """
    share, cap = np.zeros(len(groups), dtype=np.int64), np.zeros(len(groups), dtype=np.int64)
    for group, wanted in enumerate(levelled(np.bincount(groups, minlength=labels)[:labels], total).tolist()):
        own = np.flatnonzero(groups == group)
        share[own] = even(wanted, len(own))
        cap[own] = max(1, round(-(-wanted // len(own)) * attempts)) if wanted else 0
    return share, cap


def levelled(have: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """What each gets of `total` so that, with what they have, they come as near to one level as it reaches."""
    order = np.argsort(have, kind="stable")
    ordered = have[order]
    needed = np.arange(1, len(have) + 1) * ordered - np.cumsum(ordered)  # to raise all before to each one's level
    filled = int(np.searchsorted(needed, total, side="right"))
    gets = np.zeros_like(have)
    raised = order[:filled]
    level, left = divmod(total + int(ordered[:filled].sum()), filled)
    gets[raised] = level - have[raised]
    gets[np.sort(raised)[:left]] += 1
    return gets
