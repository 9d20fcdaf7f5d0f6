"""Generators in chains: each candidate goes from question to question by itself, and every one is accounted for."""

from __future__ import annotations

from pathlib import Path

import orjson
import polars as pl
import pytest

from augment.engines.slots import Slots
from augment.errors import Interrupted, RecipeError
from augment.pipeline import curate
from augment.plan import Plan, Shard, open_plan
from augment.recipe import read_recipe
from augment.records import Request
from augment.replies import ReplyStore
from tests.finetune.bases import save_base
from tests.server import Served, content, serve
from tests.test_pipeline import curated, plan_of, run, seeds, variants

CHAIN = "paraphrase+answer"


def served(server: Served, source: str, **flags: object) -> Plan:
    flags = {"source": source, "n": "1x", "filters": "none", "generators": CHAIN, **flags}
    return open_plan(read_recipe({"llm": "openai:test-model", "base_url": server.url, **flags}))


def key(request: Request) -> str:
    """What the server calls a request."""
    return content({"messages": [{"content": text} for _, text in request.messages], "seed": request.seed})


def steps_of(plan: Plan, place: Path) -> list[list[Request]]:
    """The requests of each candidate, once all is answered."""
    from augment.asking import walk

    asks = [ask.steps for ask in plan.requests(Shard(1, 0, tuple((at, 0, 1) for at in range(len(plan.seeds)))))]
    with ReplyStore(place / "home/replies.sqlite") as store:
        walk(asks, store.answered)
    return [steps.asked for steps in asks]


def by_key(server: Served) -> dict[str, int]:
    return server.stats()["by_key"]


def test_the_second_step_of_a_row_begins_while_others_are_in_their_first(place):
    with serve(latency=0.05) as server:
        plan = served(server, seeds(place, 20), concurrency=4)
        curate(plan)
        begun = {key: begun for key, begun, _, _ in server.log()}
    firsts, seconds = zip(*((begun[key(each)] for each in asked) for asked in steps_of(plan, place)), strict=True)
    assert sum(second < max(firsts) for second in seconds) >= 12  # with a barrier it would be none
    assert all(first < second for first, second in zip(firsts, seconds, strict=True))


def test_a_row_holds_what_the_last_part_made_of_what_the_first_made(place):
    done = run(source=seeds(place, 8), n="2x", generators=CHAIN)
    alone = run(source="seeds.jsonl", n="2x", generators="paraphrase")
    rows, first = variants(done), variants(alone)
    kept = rows.filter(pl.col("variant") == 0)  # every other one of `answer` puts the question another way again
    assert kept["prompt"].to_list() == first.filter(pl.col("variant") == 0)["prompt"].to_list()
    assert not set(rows["response"]) & set(curated(alone)["response"])
    assert set(rows["generator"]) == {CHAIN}
    assert rows["template"].str.contains("^paraphrase.zh@.* > answer.*zh@").all()
    assert (rows["tokens_in"] > first["tokens_in"]).all()
    assert alone.summary.counts["replies_reused"] == 16, "a part alone asks what it asked in the chain"


def test_every_candidate_of_a_chain_is_accounted_for(place):
    with serve(fail_400_share=0.15, truncate_share=0.15, filter_share=0.1, garble_share=0.1) as server:
        done = curate(served(server, seeds(place, 40), max_attempts="1x"))
    counts = done.summary.counts
    rejected = sum(sum(each.values()) for each in counts["rejected"].values())
    assert counts["candidates"] == 40 == counts["kept"] + rejected + counts["failed"]
    assert counts["failures"].keys() == {"HTTP 400"}
    assert counts["rejected"]["reply"].keys() >= {"truncated", "ended by content_filter", "unusable answer"}
    assert 0 < counts["kept"] < 30


def test_a_first_step_that_is_rejected_asks_no_second(place):
    with serve(says="tests.test_chained:nonsense") as server:
        done = curate(served(server, seeds(place, 10), max_attempts="1x"))
        assert server.stats()["calls"] == 10
    assert done.summary.counts["rejected"] == {"reply": {"not the JSON asked for": 10}}


def nonsense(messages, schema, seed) -> str:
    return "{"


def test_a_stopped_chain_goes_on_where_each_row_was(place):
    source = seeds(place, 30)
    with serve(latency=0.02) as server:
        plan = served(server, source, concurrency=4, out=place / "a")
        asked, whole = 0, plan.engine.generate

        def some(requests, keep):
            nonlocal asked
            for reply in whole(requests, keep):
                asked += 1
                if asked == 25:
                    plan.engine.drain()
                yield reply

        plan.engine.generate = some
        with pytest.raises(Interrupted):
            curate(plan)
        done = curate(served(server, source, concurrency=4, out=place / "a"))
        assert max(by_key(server).values()) == 1 and len(by_key(server)) == 60
    assert done.summary.counts["kept"] == 30


def test_an_engine_that_answers_in_batches_answers_chains_too(place):
    base = save_base(place / "base", initializer_range=0.3, max_position_embeddings=1024)
    plan = open_plan(
        read_recipe(
            {"source": seeds(place, 6), "n": "1x", "filters": "none", "generators": CHAIN, "max_tokens": 8}
            | {"llm": f"transformers:{base}", "concurrency": 4, "max_attempts": "1x"}
        )
    )
    counts = curate(plan).summary.counts
    assert counts["candidates"] == 6 and counts["failed"] == 0


@pytest.mark.parametrize("llm", ["echo", "transformers"])
def test_workers_answer_chains(place, augment, llm):
    source = seeds(place, 6)
    if llm == "transformers":
        llm = f"transformers:{save_base(place / 'base', max_position_embeddings=1024)}"
    flags = ["--source", source, "--n", "1x", "--filters", "none", "--generators", CHAIN, "--llm", llm, "--json"]
    flags += ["--max-tokens", "2048" if llm == "echo" else "8", "--max-attempts", "1x", "--concurrency", "4"]
    there = augment("text", *flags, "--workers", "1", "--out", "there")
    here = augment("text", *flags, "--out", "here")
    assert there.code == here.code, there.err
    counts = [orjson.loads(ran.out) for ran in (there, here)]
    assert [each["candidates"] for each in counts] == [6, 6]
    assert counts[0]["kept"] == counts[1]["kept"] == (6 if llm == "echo" else 0)
    if llm == "echo":
        assert (place / "there/curated/train.parquet").read_bytes() == (
            place / "here/curated/train.parquet"
        ).read_bytes()


def test_rules_may_come_first(place):
    done = run(source=seeds(place, 6), n="1x", generators="rules+answer")
    rows = variants(done)
    assert len(rows) == 6 and not set(rows["prompt"]) & set(
        curated(done).filter(pl.col("generator") == "seed")["prompt"]
    )


@pytest.mark.parametrize(
    ("generators", "said"),
    [
        ("rules+rules", "nothing of it asks an LLM"),
        ("paraphrase+nobody", "no generator called 'nobody'"),
        ("+paraphrase", "no generator called ''"),
    ],
)
def test_a_chain_that_cannot_be_is_one_line(place, generators, said):
    with pytest.raises(RecipeError, match=said):
        plan_of(source=seeds(place, 4), generators=generators)


def test_a_pause_that_nothing_would_end_is_a_defect_that_shows():
    async def answer(request):
        raise AssertionError

    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened():
        yield answer

    with pytest.raises(AssertionError, match="pause"):
        list(Slots(2, opened, lambda request, reply: None).answer(iter([None])))
