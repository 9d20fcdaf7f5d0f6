from __future__ import annotations

import pytest

from augment.forecast import forecast, to_text
from augment.language import tokens_of
from augment.quota import Quota
from tests.test_pipeline import plan_of, seeds


def test_the_tokens_forecast_are_those_of_the_prompts(place):
    plan = plan_of(source=seeds(place), n="2x", generators="persona,paraphrase")
    shard = next(Quota.of(plan).next_round(0).shards)
    asked = sum(tokens_of(text) for ask in plan.requests(shard) for _, text in ask.request.messages)
    assert forecast(plan)["tokens_in"] == pytest.approx(asked, rel=0.1)


def test_a_dry_run_says_how_many_requests_there_are_at_least_and_at_most(augment, place):
    ran = augment("text", "--source", seeds(place), "--n", "3x", "--dry-run")
    assert "120 if all are kept, 360 at most" in ran.out


def test_an_incremental_dry_run_says_that_it_counts_what_is_carried_over(place):
    source = seeds(place, 4)
    assert "not asked again" in to_text(forecast(plan_of(source=source, n="2x", incremental=True)))
    assert "not asked again" not in to_text(forecast(plan_of(source=source, n="2x")))


@pytest.mark.parametrize(("generators", "each"), [("paraphrase+answer", 2), ("backtranslate", 2), ("paraphrase", 1)])
def test_all_steps_of_a_candidate_are_counted(place, generators, each):
    source = seeds(place, 20)
    found = forecast(plan_of(source=source, n="3x", generators=generators))
    assert found["requests"] == 60 * each
    assert found["requests_at_most"] == 180 * each
    alone = forecast(plan_of(source=source, n="3x", generators="paraphrase"))
    assert each == 1 or found["tokens_in"] > 1.5 * alone["tokens_in"]
