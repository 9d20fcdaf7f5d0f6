"""A pilot says what a run will cost, from real answers that the run uses again."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest

from augment.errors import RecipeError
from augment.pilot import LEAST, pilot, piloted, to_text
from augment.pipeline import curate
from augment.plan import Plan
from tests.server import serve
from tests.test_chained import CHAIN, served
from tests.test_pipeline import plan_of, seeds


def requests(plan: Plan) -> set[str]:
    return {ask.request.key for ask in plan.requests(piloted(plan))}


@pytest.mark.parametrize("n", ["1x", "5x", "60x", "7", "130"])
@pytest.mark.parametrize("rows", [1, 3, 40, 120])
def test_the_sample_is_of_the_first_round_and_of_the_size_that_is_told(place, n, rows):
    plan = plan_of(source=seeds(place, rows), n=n, generators="paraphrase,persona")
    shard = piloted(plan)
    share = plan.per_seed or -(-plan.total // len(plan.seeds))
    assert all(0 <= first < share and count == 1 for _, first, count in shard.asks)
    assert len(set(shard.asks)) == len(shard.asks)
    wanted = min(plan.total, max(LEAST, plan.total // 100))
    assert 0.6 * wanted <= shard.size <= max(wanted, -(-plan.total // 100))


def test_every_generator_and_seeds_from_first_to_last_are_in_it(place):
    plan = plan_of(source=seeds(place, 120), n="4x", generators="paraphrase,persona")
    shard = piloted(plan)
    made = [ask.generator.name for ask in plan.requests(shard)]
    assert 0.3 < made.count("persona") / len(made) < 0.7
    assert min(at for at, _, _ in shard.asks) < 10 and max(at for at, _, _ in shard.asks) > 110


def test_the_run_asks_nothing_of_it_again(place):
    source = seeds(place, 60)
    with serve() as server:
        found = pilot(served(server, source, n="4x", filters="default"))
        done = curate(served(server, source, n="4x", filters="default"))
        assert max(server.stats()["by_key"].values()) == 1
    assert found["requests_sent"] == 2 * found["sample"] > 0
    assert done.summary.counts["replies_reused"] == found["requests_sent"]


def test_what_it_says_of_a_run_is_about_what_comes(place):
    source = seeds(place, 120)
    flags = {"n": "10x", "generators": "paraphrase", "filters": "length", "set": {"length": {"max_ratio_prompt": 1.9}}}
    with serve() as server:
        found = pilot(served(server, source, **flags))
        counts = curate(served(server, source, **flags)).summary.counts
    low, high = found["kept"]["low"], found["kept"]["high"]
    assert low <= counts["kept"] / counts["candidates"] <= high
    whole = counts["tokens_in"] + counts["tokens_out"]
    assert 0.8 * found["tokens"]["low"] <= whole <= 1.2 * found["tokens"]["high"]


def test_where_nothing_is_kept_the_cap_is_what_it_costs(place):
    with serve(says="tests.test_chained:nonsense") as server:
        plan = served(server, seeds(place, 30), n="2x", generators="paraphrase", max_attempts="3x")
        found = pilot(plan)
    assert found["kept"]["share"] == 0
    assert found["candidates"]["likely"] == 30 * 6
    assert "most dropped by reply: not the JSON asked for (20)" in to_text(found)


def test_the_command_says_it_and_publishes_nothing(place, augment):
    source = seeds(place, 40)
    flags = ("--source", source, "--llm", "echo", "--generators", CHAIN, "--n", "3x", "--out", "run")
    told = augment("text", *flags, "--pilot")
    assert told.code == 0
    assert "pilot: of 20 candidates" in told.out and "nothing was published" in told.out
    assert not (place / "run").exists()
    found = orjson.loads(augment("text", *flags, "--pilot", "--json").out)
    assert found["sample"] == 20 and found["replies_reused"] == 40, "asked once"


def test_a_long_run_begins_with_one(place, augment):
    source = seeds(place, 100)
    flags = ("--source", source, "--llm", "echo", "--generators", "persona", "--filters", "none")
    assert "pilot: of 21 candidates" in augment("text", *flags, "--n", "21x", "--out", "a").err
    assert "pilot" not in augment("text", *flags, "--n", "2x", "--out", "b").err


def test_without_an_llm_there_is_nothing_to_ask(place, augment):
    with pytest.raises(RecipeError, match="a pilot asks an LLM, and there is none"):
        pilot(plan_of(source=seeds(place, 4), llm=None, generators="rules"))
    ran = augment("text", "--source", "seeds.jsonl", "--pilot")
    assert ran.code == 2 and "leave --pilot out" in ran.err


def test_it_needs_no_more_than_the_base_installs():
    code = "import sys; sys.modules['scipy'] = None; sys.modules['sklearn'] = None; import augment.pilot"
    subprocess.run([sys.executable, "-c", code], check=True)
