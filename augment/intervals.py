"""How sure a number is: 95 % intervals of means, of paired differences and of shares.

Resampling and Student's t need scipy, which comes with [evaluate]; all else does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
RESAMPLES = 9_999
BATCH = 2_000_000
"""Numbers drawn at a time: some tens of MB."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean (or a share) of `n` values and the interval that holds the true one 95 times of 100.

    Without two values there is no interval: `low` and `high` are NaN.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def sure(self) -> bool:
        """Whether zero is outside: a difference of this kind is more than chance."""
        return self.low > 0 or self.high < 0


def bootstrap(values: ArrayLike, seed: int = 0) -> Interval:
    """The mean of independent values, with its bootstrap interval (percentile; Efron and Tibshirani, 1993, §13.3)."""
    known = _known(values)
    if len(known) < 2:
        return _single(known)
    if np.ptp(known) == 0:
        return Interval(float(known[0]), float(known[0]), float(known[0]), len(known))
    from scipy import stats

    rng = np.random.default_rng(seed)
    found = stats.bootstrap(
        (known,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // len(known)),
        confidence_level=LEVEL,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return Interval(float(known.mean()), float(found.low), float(found.high), len(known))


def paired(ours: ArrayLike, theirs: ArrayLike, seed: int = 0) -> Interval:
    """The mean of `ours` - `theirs`, pair by pair, with its bootstrap interval; a pair with a NaN is left out.

    The pairs are resampled whole, so that what makes a question hard for both does not widen the interval
    (Koehn, 2004, Statistical Significance Tests for Machine Translation Evaluation).
    """
    return bootstrap(np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float), seed)


def students(values: ArrayLike) -> Interval:
    """The mean of a few values, such as one a random seed, with Student's t interval.

    A bootstrap of ten values is too narrow; t is right for values that are about normal.
    """
    known = _known(values)
    if len(known) < 2:
        return _single(known)
    from scipy import stats

    mean = float(known.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(known) - 1) * stats.sem(known))
    return Interval(mean, mean - half, mean + half, len(known))


def share(hits: int, of: int) -> Interval:
    """A share of independent yes-or-no rows, with Wilson's interval (1927), which holds near 0 and 1 too."""
    if of == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    p, z = hits / of, Z * Z / of
    middle, half = (p + z / 2) / (1 + z), Z * math.sqrt(p * (1 - p) / of + z / (4 * of)) / (1 + z)
    return Interval(p, max(0.0, middle - half) if hits else 0.0, min(1.0, middle + half) if hits < of else 1.0, of)


def normal(values: ArrayLike) -> Interval:
    """The mean of tens of values or more, with the interval of the normal distribution."""
    known = _known(values)
    if len(known) < 2:
        return _single(known)
    mean, half = float(known.mean()), Z * float(known.std(ddof=1)) / math.sqrt(len(known))
    return Interval(mean, mean - half, mean + half, len(known))


def rows_for(bound: float, guess: float = 0.5, population: int | None = None) -> int:
    """How many rows to look at so that a share near `guess` is known to ± `bound`.

    n = z² p (1 - p) / bound², with the finite-population correction where `population` rows are all there are.
    """
    needed = Z * Z * guess * (1 - guess) / (bound * bound)
    if population is not None:
        needed = needed / (1 + (needed - 1) / population) if needed > 1 else needed
        return min(population, math.ceil(needed))
    return math.ceil(needed)


def _known(values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64).ravel()
    return found[~np.isnan(found)]


def _single(known: NDArray[np.float64]) -> Interval:
    mean = float(known[0]) if len(known) else math.nan
    return Interval(mean, math.nan, math.nan, len(known))
