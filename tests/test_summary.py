from __future__ import annotations

import dataclasses

import pytest

from augment.quota import Quota
from augment.summary import Tally, summarise
from tests.test_pipeline import plan_of, run, seeds, variants


def test_a_candidate_that_is_unaccounted_for_is_an_error(place):
    with pytest.raises(AssertionError, match="candidates unaccounted"):
        plan = plan_of(source=seeds(place))
        summarise(plan, Tally(candidates=1), Quota.of(plan), 0)


def test_a_source_row_that_is_unaccounted_for_is_an_error(place):
    plan = plan_of(source=seeds(place))
    lost = dataclasses.replace(plan, source=dataclasses.replace(plan.source, rows_in=99))
    with pytest.raises(AssertionError, match="rows unaccounted"):
        summarise(lost, Tally(), Quota.of(plan), 0)


def test_tokens_and_rounds_are_counted(place):
    done = run(source=seeds(place), n="2x")
    counts, rows = done.summary.counts, variants(done)
    assert (counts["tokens_in"], counts["tokens_out"]) == (rows["tokens_in"].sum(), rows["tokens_out"].sum())
    assert counts["rounds"] == 1


def test_what_each_filter_dropped_is_tabled_in_the_readme(place):
    done = run(source=seeds(place), n="1x", filters="length", set={"length": {"max_prompt": 5}})
    assert "| length | prompt too long | 120 |" in (done.path / "README.md").read_text()
