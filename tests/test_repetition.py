from __future__ import annotations

import pytest

from filters.repetition import Repetition
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

LOOP, SELF, LINES = "repeats a phrase over and over", "repeats itself", "repeats its lines"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("好的" * 20, LOOP),
        ("建议您多休息，" + "哈" * 30, LOOP),
        ("要注意休息，多喝水，" * 10, LOOP),
        ("首先请您务必保持良好的作息习惯并且按时吃药不要熬夜。" * 4, SELF),
        ("。" * 60, SELF),
        ("1. 多喝水\n2. 多喝水\n3. 多喝水\n4. 多喝水", LINES),
        ("哈哈哈哈哈，没事的，多休息", None),
        ("慢慢来，慢慢走，慢慢吃，都不着急。", None),
        ("1. 多喝水\n2. 多休息\n3. 少熬夜\n4. 看医生", None),
        ("", None),
    ],
)
def test_loops_are_dropped_and_emphasis_is_not(text, reason):
    context = context_of([("感冒怎么办", "多休息。")])
    assert reasons(Repetition(), rows(context, ("s0", "感冒怎么办", text)), context) == [reason]


def test_a_loop_does_not_run_from_one_row_into_the_next():
    context = context_of()
    out = scored(Repetition(), rows(context, (None, "啊" * 10, None), (None, "啊" * 12, None)), context)
    assert out["repetition_loop"].to_list() == [10, 12]


def test_an_empty_frame_keeps_the_declared_types():
    context = context_of()
    assert scored(Repetition(), rows(context), context).height == 0


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_comes_near_a_threshold(texts):
    context = context_of()
    out = scored(Repetition(), rows(context, *((None, *each) for each in texts())), context)
    assert out["repetition_loop"].max() <= 8 and out["repetition_ngrams"].max() < 0.15
    assert out["repetition_lines"].max() < 0.2
