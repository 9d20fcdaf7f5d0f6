"""Requests go where variants are kept and say something new, and every choice can be told and repeated."""

from __future__ import annotations

import polars as pl
import pytest

from augment.allocate import LEAST, Bandit
from augment.engines.echo import answer
from augment.errors import RecipeError
from augment.pipeline import curate
from tests.server import serve
from tests.test_chained import served
from tests.test_pipeline import curated, plan_of, seeds, variants

TEXTS = ["头疼怎么办", "孩子咳嗽三天了要不要去医院", "血压高能不能喝酒", "夜里总是醒怎么调整", "膝盖疼可以跑步吗"]


def wave(bandit: Bandit, kept: dict[str, list[str]], lost: dict[str, int], tokens: int = 100) -> None:
    rows = [(name, None, text) for name, texts in kept.items() for text in texts]
    rows += [(name, "facts", "丢了") for name, count in lost.items() for _ in range(count)]
    frame = pl.DataFrame(rows, schema=["generator", "dropped_by", "prompt"], orient="row")
    none = {"response": pl.lit(None, dtype=pl.String), "tokens_in": pl.lit(tokens), "tokens_out": pl.lit(0)}
    bandit.add(frame.with_columns(**none))
    bandit.close()


def test_the_first_wave_is_shared_equally_and_turns_are_spread():
    turns = Bandit(("a", "b", "c"), 0).turns(9).tolist()
    assert turns == [0, 1, 2] * 3


def test_a_generator_that_is_kept_gets_most_and_the_others_their_least():
    bandit = Bandit(("good", "bad"), 0)
    for round in range(4):
        wave(bandit, {"good": [f"{text}第{round}次{at}" for at, text in enumerate(TEXTS)]}, {"bad": 5})
    good, bad = bandit.shares()
    assert good > 0.9
    assert bad >= LEAST / 2


def test_one_that_repeats_what_is_known_earns_nothing():
    bandit = Bandit(("new", "same"), 0)
    bandit.know(TEXTS)
    new = ["胃里反酸吃什么好", "体检说甲状腺有结节", "老人跌倒后腰痛", "皮肤起红疹发痒", "眼睛干涩看屏幕久"]
    for round in range(3):
        wave(bandit, {"new": [f"{each}{round}{each[::-1]}" for each in new], "same": TEXTS}, {})
    assert bandit.shares()[0] > 0.9
    assert bandit.told[0]["same"] == {"asked": 5, "kept": 5, "new": 0.0, "tokens": 500}


def test_what_is_as_good_and_costs_less_gets_more():
    bandit = Bandit(("dear", "cheap"), 0)
    for round in range(4):
        for name, tokens in (("dear", 1000), ("cheap", 100)):
            rows = [(name, None, f"{text}{name}{round}{text[::-1]}") for text in TEXTS]
            frame = pl.DataFrame(rows, schema=["generator", "dropped_by", "prompt"], orient="row")
            bandit.add(frame.with_columns(response=pl.lit(None), tokens_in=pl.lit(tokens), tokens_out=pl.lit(0)))
        bandit.close()
    assert bandit.shares()[1] > 0.9


def test_what_was_learnt_wears_off():
    bandit = Bandit(("first", "later"), 0)
    wave(bandit, {"first": TEXTS}, {"later": 20})
    for round in range(8):
        wave(bandit, {"later": [f"{text}{round}{text[::-1]}" for text in TEXTS]}, {"first": 5})
    assert bandit.shares()[1] > 0.8


def test_every_turn_of_a_wave_is_given_whatever_its_size():
    bandit = Bandit(("a", "b", "c"), 3)
    wave(bandit, {"a": TEXTS}, {"b": 3, "c": 1})
    for size in (1, 2, 7, 100):
        assert len(bandit.turns(size)) == size


def test_no_letters_are_no_news():
    bandit = Bandit(("a", "b"), 0)
    wave(bandit, {"a": ["", "!", "嗯"]}, {"b": 1})
    assert bandit.told[0]["a"]["kept"] == 3


def sabotaged(messages, schema, seed) -> str:
    """Echoes, but to personas: those get broken JSON."""
    persona = any("提问人" in text for _, text in messages)
    return "{" if persona else answer(messages, schema, seed)


def test_a_run_asks_the_one_that_is_kept_and_tells_so(place):
    with serve(says="tests.test_allocate:sabotaged") as server:
        flags = {"n": "8x", "generators": "paraphrase,persona", "allocate": "adaptive", "max_attempts": "9x"}
        done = curate(served(server, seeds(place, 12), **flags))
        again = curate(served(server, "seeds.jsonl", **flags, out=place / "again"))
    counts = done.summary.counts
    assert counts["kept"] == 96 == len(variants(done))
    waves = counts["allocation"]
    assert sum(each["asked"] for line in waves for each in line.values()) == counts["candidates"]
    late = [line["persona"]["asked"] / sum(each["asked"] for each in line.values()) for line in waves[3:]]
    assert waves[0]["persona"]["asked"] == 6, "at first both have their share"
    assert sum(late) / len(late) < 0.2
    assert again.summary.counts["requests_sent"] == 0, "the same choices again"
    assert curated(again).equals(curated(done))
    asked = variants(done).group_by(pl.col("parents").list.first(), "generator", "variant").len()
    assert set(asked["len"]) == {1}


def test_the_plain_order_is_still_the_default(place):
    plan = plan_of(source=seeds(place, 4), generators="paraphrase,persona")
    assert "allocate" not in plan.recipe.decisive()
    assert (
        "allocate"
        in plan_of(source="seeds.jsonl", generators="paraphrase,persona", allocate="adaptive").recipe.decisive()
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [({"generators": "persona"}, "nobody to choose from"), ({"incremental": True}, "leave it out with --incremental")],
)
def test_where_there_is_nothing_to_choose_it_is_one_line(place, flags, said):
    with pytest.raises(RecipeError, match=said):
        plan_of(source=seeds(place, 4), **{"generators": "paraphrase,persona", **flags}, allocate="adaptive")
