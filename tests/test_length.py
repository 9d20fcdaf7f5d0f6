from __future__ import annotations

import pytest

from filters.length import Length
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

ANSWER = "多喝温水，注意休息，三天不好就去医院看看。"


@pytest.mark.parametrize(
    ("prompt", "response", "reason"),
    [
        ("疼", ANSWER, "prompt too short"),
        ("疼" * 2001, ANSWER, "prompt too long"),
        ("感冒怎么办", "好。", "response too short"),
        ("感冒怎么办", "好" * 8001, "response too long"),
        ("感冒怎么办", None, None),
    ],
)
def test_lengths_are_bounded_both_ways(prompt, response, reason):
    context = context_of()
    assert reasons(Length(), rows(context, (None, prompt, response)), context) == [reason]


def test_a_response_cut_to_a_scrap_is_dropped_and_one_cut_to_a_quarter_is_not():
    context = context_of([("感冒怎么办", ANSWER * 40)])
    frame = rows(context, ("s0", "感冒怎么办", ANSWER * 2), ("s0", "感冒怎么办", ANSWER * 10))
    assert reasons(Length(), frame, context) == ["much shorter than its parent", None]


def test_what_a_row_keeps_of_its_parent_is_not_judged():
    context = context_of([("高血压能喝酒吗", "不能")])
    assert reasons(Length(), rows(context, ("s0", "有高血压的人可以喝酒吗", "不能")), context) == [None]


def test_a_fresh_answer_may_be_ample_however_short_the_parents_is():
    context = context_of([("高血压能喝酒吗", "最好别喝酒。")])
    frame = rows(context, ("s0", "高血压能喝酒吗", "字" * 350), ("s0", "高血压能喝酒吗", "字" * 2000))
    assert reasons(Length(), frame, context) == [None, "much longer than its parent"]


def test_a_short_question_may_grow_into_a_persona_but_not_into_an_essay():
    context = context_of([("高血压能喝酒吗", ANSWER)])
    persona = "我今年52岁，查出高血压三年，一直按时吃药，周末朋友聚会，能不能稍微喝点酒？"
    frame = rows(context, ("s0", persona, ANSWER), ("s0", persona * 4, ANSWER))
    assert reasons(Length(), frame, context) == [None, "much longer than its parent"]


def test_ratios_are_null_for_what_did_not_change():
    context = context_of([("高血压能喝酒吗", ANSWER)])
    out = scored(Length(), rows(context, ("s0", "高血压可以喝酒吗", ANSWER)), context)
    assert out["length_ratio_response"].to_list() == [None] and out["length_ratio_prompt"][0] > 1


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_is_dropped(texts):
    context = context_of()
    assert set(reasons(Length(), rows(context, *((None, *each) for each in texts())), context)) == {None}


def test_a_response_may_not_grow_fivefold():
    context = context_of([("感冒怎么办", ANSWER * 5)])
    frame = rows(context, ("s0", "感冒怎么办", ANSWER * 25))
    assert reasons(Length(), frame, context) == ["much longer than its parent"]


def test_a_long_question_may_not_shrink_to_a_tenth():
    context = context_of([("感冒怎么办" * 20, ANSWER)])
    frame = rows(context, ("s0", "感冒怎么办", ANSWER))
    assert reasons(Length(), frame, context) == ["much shorter than its parent"]
