"""How sure a mean over draws and test rows is, when all draws are tested on nearly the same rows.

Plain Student's t over draws answers for these very rows: with enough draws it is sure of a difference on thirty
questions, however few they are. Whoever asks whether augmenting helps means other rows too, so that rows count as a
sample beside the draws (Clark, 1973, The Language-as-Fixed-Effect Fallacy). Three sources are added up:

* the draws: s²/S, as Student has it;
* the test rows, which the draws share: two-way clustering by draw and family (Cameron, Gelbach and Miller, 2011,
  Robust Inference with Multiway Clustering, equation 2.8), never below what the draws alone give;
* the pool: draws of a share f of the same seeds overlap, so that their mean varies by f / (1 - f) of one draw's
  variance however many they are. That is Nadeau and Bengio's correction (2003, Inference for the Generalization
  Error), put on the training rows that overlap here, and on the part of the variance that is the draws' own.

Their own form, 1/S + test rows / training rows, is made for large training sets and small test sets; with 10 rows to
learn from and 130 to test on it would widen every interval thirteenfold.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augment.intervals import LEVEL, Interval, students


def crossed(scores: NDArray[np.float64], families: NDArray[np.int64], drawn_share: float = 0.0) -> Interval:
    """The mean over draws of their mean over test rows, with its interval.

    Args:
        scores: (draws, rows); NaN where a draw does not test a row.
        families: (rows,) the number of each row's family; rows of a family are no separate evidence.
        drawn_share: f, the share of the pool that a draw takes; 0 for a pool without end, and 1 (every draw is the
            whole pool) says nothing of other seeds.
    """
    scores = scores[:, ~np.isnan(scores).all(axis=0)] if (unused := np.isnan(scores).all(axis=0)).any() else scores
    families = families[~unused]
    tested = ~np.isnan(scores)
    draws = np.nanmean(scores, axis=1)
    plain = students(draws)
    count, kinds = len(draws), len(np.unique(families))
    if count < 2 or kinds < 2:
        return plain
    errors = np.where(tested, scores - draws.mean(), 0.0) / (count * tested.sum(axis=1, keepdims=True))
    member = np.zeros((len(families), families.max() + 1))
    member[np.arange(len(families)), families] = 1.0
    cells = errors @ member  # (draws, families)
    by_draw = count / (count - 1) * float((cells.sum(axis=1) ** 2).sum())
    by_family = kinds / (kinds - 1) * float((cells.sum(axis=0) ** 2).sum())
    both = float((cells**2).sum())
    rows = max(0.0, by_family - both)
    overlap = drawn_share / (1 - drawn_share) if drawn_share < 1 else 0.0
    draw = by_draw + max(0.0, by_draw - both) * count * overlap
    if draw + rows == 0:
        return Interval(plain.mean, plain.mean, plain.mean, count)
    freedom = (draw + rows) ** 2 / (draw**2 / (count - 1) + rows**2 / (kinds - 1))  # Welch and Satterthwaite
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(draw + rows)
    return Interval(plain.mean, plain.mean - half, plain.mean + half, count)
