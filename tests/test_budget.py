"""What a run may spend: it stops by itself, keeps what it paid for, and goes on another time."""

from __future__ import annotations

import orjson
import pytest

from augment.budget import Budget
from augment.errors import BudgetSpent, RecipeError
from augment.pipeline import curate
from augment.recipe import read_recipe
from tests.server import serve
from tests.test_chained import served
from tests.test_pipeline import plan_of, seeds


@pytest.mark.parametrize(
    ("written", "tokens", "seconds"),
    [
        ("2M-tokens", 2_000_000, None),
        ("1.5M-tokens", 1_500_000, None),
        ("500k-tokens", 500_000, None),
        ("800-tokens", 800, None),
        ("30min", None, 1800),
        ("2h", None, 7200),
        ("90s", None, 90),
        ("1d", None, 86400),
    ],
)
def test_a_budget_is_tokens_or_time(written, tokens, seconds):
    assert Budget.of(written) == Budget(written, tokens, seconds)


@pytest.mark.parametrize(
    "written", ["", "5x", "0-tokens", "2M", "min", "-3min", "2G-tokens", "1e9-tokens", "30 minutes"]
)
def test_anything_else_is_one_line(written):
    with pytest.raises(RecipeError, match="is no budget; write 2M-tokens, 500k-tokens, 30min or 2h"):
        read_recipe({"source": "sample", "budget": written})


def test_a_run_stops_at_its_tokens_and_goes_on_with_the_next_budget(place):
    source = seeds(place, 40)
    with serve(latency=0.005) as server:
        flags = {"generators": "paraphrase", "n": "2x", "concurrency": 4, "out": place / "run"}
        runs = 0
        while True:
            try:
                done = curate(served(server, source, **flags, budget="9k-tokens"))
                break
            except BudgetSpent as error:
                assert "the budget of 9k-tokens is spent" in str(error)
                assert not (place / "run/manifest.json").exists()
                runs += 1
        stats = server.stats()
    assert runs >= 2
    assert done.summary.counts["kept"] == 80
    assert stats["calls"] == 80 and max(stats["by_key"].values()) == 1


def test_no_more_is_spent_than_what_was_in_flight(place):
    from augment.summary import Tally

    source = seeds(place, 40)
    with serve(latency=0.005) as server:
        tally = Tally()
        with pytest.raises(BudgetSpent):
            curate(
                served(server, source, generators="paraphrase", n="5x", concurrency=4, budget="9k-tokens"), tally=tally
            )
    spent, each = tally.tokens_in + tally.tokens_out, (tally.tokens_in + tally.tokens_out) / tally.requests_sent
    assert 9000 <= spent < 9000 + 10 * each


def test_time_is_up_also_where_nobody_answers(place):
    with serve(latency=30) as server, pytest.raises(BudgetSpent, match="the budget of 1s is spent"):
        curate(served(server, seeds(place, 4), generators="paraphrase", budget="1s", timeout=3.0))


def test_rules_have_time_too(place):
    with pytest.raises(BudgetSpent):
        curate(plan_of(source=seeds(place, 160), llm=None, generators="rules", n="60x", budget="0.01s"))


def test_the_command_says_how_to_go_on_and_that_it_is_not_done(place, augment):
    source = seeds(place, 20)
    flags = ["text", "--source", source, "--llm", "echo", "--n", "2x", "--budget", "2k-tokens", "--out", "run"]
    ran = augment(*flags)
    assert ran.code == 3
    assert "the budget of 2k-tokens is spent" in ran.err and "augment text --source" in ran.err
    assert "Traceback" not in ran.err
    whole = augment(*flags[:-4], "--out", "run", "--json")
    assert whole.code == 0 and orjson.loads(whole.out)["replies_reused"] > 0, "a budget decides nothing about the data"


def test_workers_have_a_budget_too(place, augment):
    flags = ("--source", seeds(place, 40), "--llm", "echo", "--n", "5x", "--filters", "none", "--workers", "1")
    ran = augment("text", *flags, "--budget", "3k-tokens", "--out", "run", "--concurrency", "4")
    assert ran.code == 3, ran.err
    assert "is spent" in ran.err
