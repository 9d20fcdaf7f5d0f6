"""How sure a mean over draws and test rows is, when all draws come from the same rows and are tested on them.

Plain Student's t over draws answers for these very rows: with enough draws it is sure of a difference on thirty
questions, however few they are. Whoever asks whether augmenting helps means other rows too, so that rows count as a
sample beside the draws (Clark, 1973, The Language-as-Fixed-Effect Fallacy). Three variances make one:

* the draws': s²/S, as Student has it;
* the test rows', which the draws share: two-way clustering by draw and family (Cameron, Gelbach and Miller, 2011,
  Robust Inference with Multiway Clustering, equation 2.8), never less than the draws' own;
* the pool's: draws of a share f of the same seeds overlap, so that however many there are, their mean varies by
  f / (1 - f) of the variance that draws have beyond their test rows'. That is Nadeau and Bengio's correction (2003,
  Inference for the Generalization Error), put on what overlaps here, the training rows. A row that is drawn now and
  tested then can pull the same way both times, so the last two add up as standard errors, not as variances.

Their own form, 1/S + test rows / training rows, is for large training sets and small test sets; with 10 rows to
learn from and 130 to test on it widens an interval sixteenfold. `python -m tests.benchmarks.lift` counts how often
each of these intervals holds the truth on pools from a population that is known.
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
        drawn_share: f, the share of the pool that a draw takes: 0 for a pool without end. At 1, where every draw is
            the whole pool, nothing is said about other seeds.
    """
    seen = ~np.isnan(scores).all(axis=0)
    scores, families = scores[:, seen], families[seen]
    draws = np.nanmean(scores, axis=1)
    plain = students(draws)
    count, kinds = len(draws), len(np.unique(families))
    if count < 2 or kinds < 2:
        return plain
    tested = ~np.isnan(scores)
    errors = np.where(tested, scores - draws.mean(), 0.0) / (count * tested.sum(axis=1, keepdims=True))
    member = np.zeros((len(families), int(families.max()) + 1))
    member[np.arange(len(families)), families] = 1.0
    cells = errors @ member  # (draws, families)
    by_draw = count / (count - 1) * float((cells.sum(axis=1) ** 2).sum())
    by_family = kinds / (kinds - 1) * float((cells.sum(axis=0) ** 2).sum())
    both = float((cells**2).sum())
    rows = max(0.0, by_family - both)
    overlap = drawn_share / (1 - drawn_share) if drawn_share < 1 else 0.0
    noise = max(0.0, both - by_family / count)  # what is neither the draw's nor the row's
    pool = count * overlap * max(0.0, by_draw - noise)
    rest = by_draw + pool + 2 * math.sqrt(rows * pool)
    if rest + rows == 0:
        return Interval(plain.mean, plain.mean, plain.mean, count)
    freedom = (rest + rows) ** 2 / (rest**2 / (count - 1) + rows**2 / (kinds - 1))  # Welch and Satterthwaite
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(rest + rows)
    return Interval(plain.mean, plain.mean - half, plain.mean + half, count)
