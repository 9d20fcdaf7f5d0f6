from __future__ import annotations

import polars as pl
import pytest

from filters.diversity import Diversity
from filters.minhash import Groups
from tests.filter_rows import context_of, reasons, rows, sample, scored

QUESTION = "感冒后干咳两周还没好，晚上躺下咳得更厉害，正常吗"
NOTHING = "adds nothing to an earlier row"


def test_a_row_as_its_sibling_adds_nothing_and_a_reworded_one_does():
    context = context_of([(QUESTION, None)])
    frame = rows(
        context,
        ("s0", "感冒以后一直干咳，两周了没好，夜里更严重，要紧吗", None),
        ("s0", "感冒以后一直干咳，两周了没好，夜里更严重，要紧吗？？", None),
        ("s0", "我干咳半个月了，是上次感冒落下的，躺着更凶", None),
    )
    out = scored(Diversity(), frame, context)
    assert out["reason"].to_list() == [None, NOTHING, None]
    assert out["diversity_of"].to_list() == ["s0", "v0", "s0"]
    assert out["diversity_own"][1] == pytest.approx(0) and out["diversity_own"][2] > 0.4
    assert out["diversity_other"].to_list() == [None] * 3


@pytest.mark.parametrize(
    ("groups", "known", "expected"),
    [
        ("within", (True, False), [NOTHING, None]),
        ("across", (False, True), [None, NOTHING]),
        ("both", (True, True), [NOTHING, NOTHING]),
    ],
)
def test_groups_say_which_rows_count(groups: Groups, known, expected):
    context = context_of([(QUESTION, None), ("失眠怎么办", None)])
    out = scored(
        Diversity(groups=groups), rows(context, ("s0", QUESTION + "？", None), ("s1", QUESTION + "。", None)), context
    )
    assert out["reason"].to_list() == expected
    assert tuple(out[name][0] is not None for name in ("diversity_own", "diversity_other")) == known


@pytest.mark.parametrize("lowest", [0.0, 0.2, 0.5])
def test_the_rows_that_later_ones_are_held_against_are_those_that_are_kept(lowest):
    context = context_of(sample()[:3])
    texts = [(f"s{at % 3}", sample()[at % 3][0][: 6 + at], None) for at in range(40)]
    out = scored(Diversity(lowest=lowest, groups="both"), rows(context, *texts), context)
    kept = set(out.filter(pl.col("reason").is_null())["id"]) | set(context.seeds["id"])
    assert set(out["diversity_of"].drop_nulls()) <= kept
    assert (out["reason"].null_count() < 40) == (lowest > 0)


@pytest.mark.parametrize("size", [1, 13])
def test_scores_do_not_depend_on_batch_sizes(size):
    texts = [(f"s{at // 4}", sample()[at // 4][0] + "呢吗啊吧"[: at % 4], None) for at in range(160)]
    whole, parts = context_of(sample()), context_of(sample())
    frame, each = rows(whole, *texts), Diversity(groups="both")
    cut = [scored(each, frame[at : at + size], parts) for at in range(0, 160, size)]
    assert pl.concat(cut).equals(scored(each, frame, whole))


def test_unrelated_real_questions_are_far_from_each_other():
    context = context_of(sample())
    frame = rows(context, *((None, question, None) for question, _ in sample())).with_columns(
        pl.Series("id", [f"x{at}" for at in range(160)])
    )
    out = scored(Diversity(groups="across"), frame, context)
    assert reasons(Diversity(groups="across"), frame, context_of()) == [None] * 160
    assert out["diversity_other"].to_list() == pytest.approx([0] * 160, abs=1e-6)
