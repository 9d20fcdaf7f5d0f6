"""Intervals against what is known of them: coverage on drawn data, closed forms, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from augment.intervals import Interval, bootstrap, normal, paired, rows_for, share, students


def test_the_bootstrap_agrees_with_the_normal_interval_of_a_large_sample():
    values = np.random.default_rng(1).normal(3.0, 2.0, 4000)
    found = bootstrap(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(4000)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(2).random(50)
    assert bootstrap(values, 7) == bootstrap(values, 7)
    assert bootstrap(values, 7) != bootstrap(values, 8)


def test_pairing_takes_out_what_is_common_to_both():
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 10, 200)
    ours, theirs = hard + 1 + rng.normal(0, 0.5, 200), hard
    assert paired(ours, theirs).sure
    assert not bootstrap(ours).low > bootstrap(theirs).high


def test_a_pair_with_a_missing_side_is_left_out():
    assert paired([1.0, math.nan, 3.0], [0.0, 5.0, math.nan]).n == 1
    assert paired([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]) == Interval(1.0, 1.0, 1.0, 3)


def test_a_students_interval_covers_95_times_of_100():
    rng = np.random.default_rng(4)
    hits = sum((found := students(rng.normal(1, 1, 6))).low <= 1 <= found.high for _ in range(2000))
    assert 0.93 < hits / 2000 < 0.97


def test_wilsons_interval_of_a_share():
    found = share(8, 10)  # 0.4902, 0.9433 in the literature
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert share(0, 20).low == 0 and share(0, 20).high > 0.1
    assert math.isnan(share(0, 0).mean)


@pytest.mark.parametrize(("bound", "population", "rows"), [(0.05, None, 385), (0.05, 1000, 278), (0.05, 100, 80)])
def test_the_sample_size_for_a_bound(bound, population, rows):
    assert rows_for(bound, 0.5, population) == rows


def test_nothing_and_one_value_have_no_interval():
    assert math.isnan(bootstrap([]).mean)
    assert bootstrap([2.0]).mean == 2.0 and math.isnan(bootstrap([2.0]).low)
    assert not bootstrap([2.0]).sure


@pytest.mark.parametrize(("hits", "of"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 7), (411, 900)])
def test_a_shares_interval_is_wilsons(hits, of):
    found = stats.binomtest(hits, of).proportion_ci(0.95, method="wilson")
    assert (share(hits, of).low, share(hits, of).high) == pytest.approx((found.low, found.high), abs=1e-12)


def test_a_mean_of_many_has_the_normal_interval():
    values = np.random.default_rng(0).gamma(2.0, size=200)
    found = normal(values)
    low, high = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
