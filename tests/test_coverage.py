from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from augment.errors import RecipeError
from filters.chain import chain_of
from filters.coverage import Coverage
from filters.embeddings.clusters import kmeans
from filters.embeddings.ngrams import hashed
from tests.filter_rows import chbench, context_of, rows, sample, scored

SEEDS = [("失眠怎么办", None), ("高血压能喝酒吗", None), ("饭后反酸怎么办", None)]
TEXTS = [*("失眠了怎么办呢" + "呀" * n for n in range(6)), "高血压能不能喝啤酒", "吃完饭总反酸", "膝盖疼还能跑步吗"]
COVERED = "its ground is covered"


def kept(each, texts, context):
    out = scored(each, rows(context, *((None, text, None) for text in texts)), context)
    return out.filter(pl.col("reason").is_null()).sort("coverage_place")["prompt"].to_list()


def test_what_is_far_from_every_seed_comes_first_and_then_what_is_far_from_that_too():
    found = kept(Coverage(keep=4), [*TEXTS, "膝盖疼还能跑步呢"], context_of(SEEDS))
    assert found[0].startswith("膝盖疼") and sum("膝盖" in text for text in found) == 1
    assert sum("失眠" in text for text in found) == 1, "one of six that are alike"


def test_fewer_are_the_beginning_of_more():
    context = context_of(sample()[:40])
    texts = [question for question, _ in sample()[20:]]
    assert kept(Coverage(keep=60), texts, context)[:25] == kept(Coverage(keep=25), texts, context)


def test_the_exam_s_topics_count_unless_they_are_left_out():
    exam = [(f"膝盖疼还能跑步吗{mark}", None) for mark in "啊呢吧呀哦嘛"]
    texts = [*TEXTS, "胃镜之前能不能喝水", "The quick brown fox"]
    assert kept(Coverage(keep=1), texts, context_of(SEEDS[:1], exam)) == ["膝盖疼还能跑步吗"]
    assert kept(Coverage(keep=1, exam=False), texts, context_of(SEEDS[:1], exam)) != ["膝盖疼还能跑步吗"]
    few = context_of(SEEDS[:1], exam[:4])
    assert kept(Coverage(keep=1), texts, few) == kept(Coverage(keep=1, exam=False), texts, few)


def test_a_topic_is_never_a_single_exam_row():
    exam = [(f"膝盖疼还能跑步吗{mark}", None) for mark in "啊呢吧呀哦嘛"]
    odd = [("The quick brown fox jumps", None), ("做胃镜之前能不能喝水", None)]
    number, centres = kmeans(hashed(pl.Series([text for text, _ in exam + odd])), 2, [f"e{at}" for at in range(8)])
    assert len(centres) == 2 and min(Counter(number.tolist()).values()) < 5, "a cluster of a few is there"
    assert len(Coverage(keep=1)._topics(context_of(SEEDS, exam + odd))) == 1


def test_nothing_of_the_exam_is_in_the_scores():
    seeds, exam = chbench()[:70], chbench()[70:]
    context = context_of(seeds, exam)
    out = scored(Coverage(keep=20), rows(context, *(("s1", question, None) for question, _ in sample())), context)
    assert set(Coverage.scores) == {"coverage_place", "coverage_distance"}
    told = "".join(str(each) for each in out.select(list(Coverage.scores)).rows())
    assert not any(question in told for question, _ in exam) and Coverage.reads_exam


def test_the_choice_does_not_depend_on_the_order_of_rows():
    context = context_of(sample()[:30], chbench()[:60])
    frame = rows(context, *((None, question, None) for question, _ in sample()))
    out = scored(Coverage(keep=50), frame, context)
    mixed = context_of(sample()[:30], chbench()[:60])
    mixed.seeds, mixed.exam = (each.sample(fraction=1, shuffle=True, seed=1) for each in (mixed.seeds, mixed.exam))
    again = scored(Coverage(keep=50), frame.sample(fraction=1, shuffle=True, seed=2), mixed)
    assert again.sort("id").equals(out.sort("id"))


def test_what_is_not_chosen_says_how_near_it_is():
    context = context_of(SEEDS)
    frame = rows(context, *((None, text, None) for text in [*TEXTS, SEEDS[0][0], ""]))
    out = scored(Coverage(keep=4), frame, context)
    assert out["coverage_place"].drop_nulls().sort().to_list() == [1, 2, 3, 4]
    dropped = out.filter(pl.col("reason") == COVERED)
    assert len(dropped) == len(TEXTS) + 1 - 4 and dropped["coverage_distance"].null_count() == 0
    assert dropped.filter(prompt=SEEDS[0][0])["coverage_distance"][0] == pytest.approx(0, abs=1e-6)
    assert out.filter(prompt="").select("coverage_place", "coverage_distance", "reason").row(0) == (None, None, None)


def test_more_than_there_are_keeps_all_and_an_empty_frame_its_types():
    context = context_of(SEEDS)
    assert len(kept(Coverage(keep=100), TEXTS, context)) == len(TEXTS)
    assert scored(Coverage(keep=3), rows(context), context).height == 0
    assert len(kept(Coverage(keep=5), TEXTS, context_of())) == 5


def test_without_a_number_of_rows_it_is_refused():
    with pytest.raises(RecipeError, match="filter 'coverage' needs a number of rows; add --set coverage.keep=1000"):
        chain_of(["coverage"])
