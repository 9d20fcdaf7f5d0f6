from __future__ import annotations

import pytest

from filters.special_chars import SpecialChars
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

ODD, SYMBOLS, SPECIAL = "control or private-use characters", "too many symbols", "too many special characters"
QUESTION = "感冒后干咳两周还没好，正常吗"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("感冒后干咳两周😭😭😭😭😭😭😭😭", SYMBOLS),
        ("干咳两周★★★★★★正常吗￥￥￥$$$", SYMBOLS),
        ("——————————————干咳两周，正常吗？？？？", SPECIAL),
        ("干咳...........两周!!!!!!!!!!", SPECIAL),
        ("感冒后干咳\x08两周还没好", ODD),
        ("感冒后干咳\ue123两周还没好", ODD),
        ("感冒后干咳\ufffd两周还没好", ODD),
        ("感冒后干咳两周😭，正常吗？！", None),
        ("疼？！", None),
        ("- 多喝水\n- 多休息\n\t- 少熬夜\r\n", None),
        ("一上士二下土三中王", None),
        ("血压≥140/90mmHg，BMI>28，体温38.5℃±0.3", None),
        ("| 药 | 量 |\n|---|---|\n| 布洛芬缓释胶囊 | 一次一粒，一天两次 |", None),
        ("ที่นี่ नमस्ते", None),
        ("", None),
    ],
)
def test_symbols_are_dropped_and_punctuation_is_not(text, reason):
    context = context_of([(QUESTION, None)])
    assert reasons(SpecialChars(), rows(context, ("s0", text, None)), context) == [reason]


def test_a_parent_over_the_limit_may_have_a_rewrite_like_it():
    context = context_of([("★☆★☆★☆干咳两周★☆★☆", None), ("干咳\ue123两周", None)])
    frame = rows(
        context, ("s0", "★☆★☆干咳十四天★☆", None), ("s0", "★☆★☆★☆★★★★咳★☆★☆", None), ("s1", "咳了\ue123两周", None)
    )
    assert reasons(SpecialChars(), frame, context) == [None, SYMBOLS, None]


def test_shares_are_of_all_but_blanks():
    context = context_of()
    out = scored(SpecialChars(), rows(context, (None, "一二三四五 六七八九十\n甲乙丙丁戊，己庚★★★", None)), context)
    assert out.row(0, named=True)["special_chars_share"] == 4 / 21
    assert out.row(0, named=True)["special_chars_symbols"] == 3 / 21
    assert out["special_chars_parent_share"].to_list() == [None]


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_comes_near_a_threshold(texts):
    context = context_of()
    pairs = [(None, text, None) for row in texts() for text in row]
    out = scored(SpecialChars(), rows(context, *pairs), context)
    assert out["special_chars_share"].max() < 0.3 and out["special_chars_symbols"].max() < 0.05
    assert set(out["reason"]) == {None}
