"""The two rates, their intervals, and how far reviewers agree."""

from __future__ import annotations

import numpy as np
import pytest

from augment.intervals import share
from augment.review.decisions import Decision
from augment.review.rates import Stratum, agreement, bound_of, lines, proposed, rate, rates
from augment.review.sample import Population, split
from augment.review.verdicts import resolved

SEEN = {"generator": "persona"}
NEAR = {"generator": "persona", "dropped_by": "near_dup", "reason": "nearly"}
LONG = {"generator": "persona", "dropped_by": "length", "reason": "too long"}


def decided(verdict: str, rows: int, seen: dict = SEEN, first: int = 0, by: str = "ann") -> list[Decision]:
    return [
        Decision(f"{seen}{i}", verdict, by, f"2026-01-01T00:00:{i % 60:02}+00:00", "r", seen)
        for i in range(first, first + rows)
    ]


@pytest.mark.parametrize(("good", "n"), [(0, 10), (7, 10), (10, 10), (93, 96), (1, 1)])
def test_of_one_large_stratum_it_is_wilsons(good, n):
    ours, theirs = rate([Stratum(good, n, 10**9)]), share(good, n)
    assert (ours.mean, ours.low, ours.high) == pytest.approx((theirs.mean, theirs.low, theirs.high), abs=1e-6)


def test_rows_that_were_all_looked_at_leave_no_doubt():
    found = rate([Stratum(7, 10, 10)])
    assert (found.mean, found.low, found.high) == pytest.approx((0.7, 0.7, 0.7))


def test_strata_are_weighed_by_their_rows():
    found = rate([Stratum(10, 10, 100), Stratum(0, 10, 900)])
    assert found.mean == pytest.approx(0.1)
    assert found.low < 0.1 < found.high
    assert found.n == 20


def test_a_stratum_that_nobody_looked_at_stays_out():
    assert rate([Stratum(5, 10, 100), Stratum(0, 0, 900)]).mean == 0.5
    assert rate([Stratum(0, 0, 900)]).n == 0


def test_the_interval_holds_the_true_rate_about_95_times_of_100():
    rng = np.random.default_rng(5)
    sizes, chances = (3000, 300, 60), (0.9, 0.4, 0.7)
    rows = [rng.random(size) < chance for size, chance in zip(sizes, chances, strict=True)]
    truth = sum(each.sum() for each in rows) / sum(sizes)
    hits = 0
    for _ in range(600):
        strata = [Stratum(int(rng.choice(each, 25, replace=False).sum()), 25, len(each)) for each in rows]
        found = rate(strata)
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / 600 <= 1.0


def test_a_kept_row_that_had_to_be_edited_was_not_good_as_it_stood():
    people = Population({"persona": 100}, {})
    made = [*decided("accept", 6), *decided("edit", 3, first=6), *decided("reject", 1, first=9)]
    kept = rates(people, resolved(made))["kept"]
    assert (kept["rate"], kept["accepted"], kept["edited"], kept["rejected"]) == (0.6, 6, 3, 1)


def test_each_filter_and_generator_has_its_rate_where_there_are_enough():
    people = Population({"persona": 100, "answer": 50}, {("length", "too long"): 300, ("near_dup", "nearly"): 100})
    made = [*decided("accept", 5), *decided("accept", 3, {"generator": "answer"})]
    made += [*decided("accept", 4, LONG), *decided("reject", 4, LONG, 4), *decided("reject", 8, NEAR)]
    found = rates(people, resolved(made))
    assert list(found["kept"]["by_generator"]) == ["persona"]
    assert found["rejected"]["by_filter"]["length"]["rate"] == 0.5
    assert found["rejected"]["by_filter"]["near_dup"]["rate"] == 0.0
    assert found["rejected"]["rate"] == pytest.approx(0.5 * 300 / 400)
    assert found["rejected"]["low"] < 0.375 < found["rejected"]["high"]
    told = lines(found)
    assert told[0].startswith("kept rows accepted: 100.0% (")
    assert told[2].startswith("rejected rows a person would keep: 37.5% (")


def test_reasons_that_nobody_looked_at_are_told():
    people = Population({}, {("length", "too long"): 300, ("near_dup", "nearly"): 100})
    found = rates(people, resolved(decided("accept", 2, NEAR)))
    assert found["rejected"]["unseen"] == 300
    assert "300 rows of reasons not looked at yet" in lines(found)[0]


def test_nothing_decided_is_no_rate():
    found = rates(Population({"persona": 3}, {}), {})
    assert found["kept"]["rate"] is None
    assert lines(found) == ["kept rows accepted: none of 3 looked at"]


def test_agreement_is_cohens_kappa_over_the_rows_that_both_decided():
    ann = [*decided("accept", 25), *decided("reject", 25, first=25)]
    bob = [*decided("accept", 20, by="bob"), *decided("reject", 5, by="bob", first=20)]
    bob += [*decided("accept", 10, by="bob", first=25), *decided("reject", 15, by="bob", first=35)]
    (pair,) = agreement([*ann, *bob, *decided("accept", 9, by="cyd", first=80)])
    assert (pair["reviewers"], pair["rows"], pair["agreed"], pair["kappa"]) == (["ann", "bob"], 50, 0.7, 0.4)


def test_where_nothing_could_differ_there_is_no_kappa():
    (pair,) = agreement([*decided("accept", 4), *decided("accept", 4, by="bob")])
    assert (pair["agreed"], pair["kappa"]) == (1.0, None)
    assert "kappa" not in lines(rates(Population({}, {}), {}), [pair])[0]


@pytest.mark.parametrize("sizes", [(10**6, 10**6), (640, 105), (640, 0), (3, 1)])
@pytest.mark.parametrize("bound", [0.1, 0.03])
def test_the_proposed_sample_gives_the_bound_that_was_asked_for(sizes, bound):
    for n, size in zip(proposed(sizes, bound), sizes, strict=True):
        if size:
            found = rate([Stratum(n // 2, n, size)])
            assert (found.high - found.low) / 2 <= bound * 1.01
            assert bound_of(n, size) <= bound
            assert n == 1 or bound_of(n - 1, size) > bound


@pytest.mark.parametrize(
    ("size", "sizes", "shares"),
    [(200, (640, 446), (100, 100)), (201, (640, 446), (101, 100)), (200, (640, 20), (180, 20)),
     (200, (30, 446), (30, 170)), (200, (30, 20), (30, 20)), (1, (640, 446), (1, 0)), (10, (640, 0), (10, 0))],
)  # fmt: skip
def test_a_sample_is_half_kept_and_half_rejected_as_far_as_there_are(size, sizes, shares):
    assert split(size, sizes) == shares
