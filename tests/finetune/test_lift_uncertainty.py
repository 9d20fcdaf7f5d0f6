"""The interval of a lift holds the truth about as often as it says, where draws share rows; Student's does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from augment.intervals import students
from finetune.lift.uncertainty import crossed

ALONE = np.arange(60)


def effects(rng, draws=12, rows=60, *, draw=0.03, row=0.15, noise=0.3):
    """Scores around .05 that vary by draw and by row, as those of shared test rows do."""
    return (
        0.05 + draw * rng.normal(size=(draws, 1)) + row * rng.normal(size=rows) + noise * rng.normal(size=(draws, rows))
    )


def test_it_holds_the_truth_nineteen_times_of_twenty():
    rng = np.random.default_rng(0)
    hits = {"crossed": 0, "students": 0}
    for _ in range(400):
        scores = effects(rng)
        for name, interval in (("crossed", crossed(scores, ALONE)), ("students", students(scores.mean(axis=1)))):
            hits[name] += interval.low <= 0.05 <= interval.high
    assert 0.92 <= hits["crossed"] / 400 <= 0.98
    assert hits["students"] / 400 < 0.9, "the rows are many draws' rows: draws alone are too sure"


def test_where_rows_do_not_matter_it_is_students():
    rng = np.random.default_rng(1)
    scores = np.repeat(rng.normal(size=(12, 1)), 60, axis=1)
    ours, plain = crossed(scores, ALONE), students(scores[:, 0])
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high))


def test_more_draws_do_not_make_sixty_rows_certain():
    rng = np.random.default_rng(2)
    many = effects(rng, draws=2000, draw=0.0)
    interval = crossed(many, ALONE)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * 0.15 / math.sqrt(60), rel=0.3)
    plain = students(many.mean(axis=1))
    assert (plain.high - plain.low) < (interval.high - interval.low) / 4


def test_rows_of_a_family_are_one_piece_of_evidence():
    rng = np.random.default_rng(3)
    scores = effects(rng)
    tripled = np.repeat(scores, 3, axis=1)
    once = crossed(scores, ALONE)
    kin = crossed(tripled, np.repeat(ALONE, 3))
    apart = crossed(tripled, np.arange(180))
    assert (kin.low, kin.high) == pytest.approx((once.low, once.high))
    assert apart.high - apart.low < 0.9 * (once.high - once.low)


def test_draws_that_overlap_say_less():
    rng = np.random.default_rng(4)
    scores = effects(rng, draw=0.1, row=0.0)
    widths = [crossed(scores, ALONE, share) for share in (0.0, 0.2, 0.6)]
    found = [interval.high - interval.low for interval in widths]
    assert found[0] < found[1] < found[2]
    by_draw = scores.mean(axis=1).var(ddof=1)
    assert (found[2] / found[0]) ** 2 == pytest.approx((by_draw / 12 + by_draw * 0.6 / 0.4) / (by_draw / 12), rel=0.2)


def test_a_row_that_is_drawn_now_and_tested_then_is_not_assumed_to_cancel_out():
    rng = np.random.default_rng(6)
    scores = effects(rng, draws=400, draw=0.1, row=0.6)
    none, some = (
        (interval.high - interval.low) / 2 / 1.97 for interval in (crossed(scores, ALONE), crossed(scores, ALONE, 0.5))
    )
    rows, pool = 0.6 / math.sqrt(60), math.sqrt(0.1**2 + 0.01 / 60)
    assert none == pytest.approx(rows, rel=0.2)
    assert some == pytest.approx(rows + pool, rel=0.15)


def test_a_draw_counts_once_however_many_rows_it_tests():
    rng = np.random.default_rng(5)
    scores = effects(rng)
    scores[0, 10:] = np.nan
    scores[:, 50] = np.nan  # a row that no draw tests
    assert crossed(scores, ALONE).mean == pytest.approx(np.mean([np.nanmean(draw) for draw in scores]))


def test_equal_scores_are_certain_and_one_draw_is_not():
    same = crossed(np.zeros((5, 60)), ALONE, 0.5)
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    assert not same.sure
    one = crossed(np.ones((1, 60)), ALONE)
    assert one.mean == 1
    assert math.isnan(one.low)
