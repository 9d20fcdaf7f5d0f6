from __future__ import annotations

import pytest

from filters.language import Language
from tests.filter_rows import chbench, context_of, reasons, rows, sample

SEEDS = [("布洛芬和对乙酰氨基酚能一起吃吗", None), ("Can I take ibuprofen and paracetamol together?", None)]


@pytest.mark.parametrize(
    ("parent", "text", "reason"),
    [
        ("s0", "Can I take both together?", "not in the language of its parent"),
        ("s1", "布洛芬能一起吃吗", "not in the language of its parent"),
        ("s0", "12345", "not in the language of its parent"),
        ("s0", "布洛芬 and paracetamol can 一起吃 or not", "mixes languages"),
        ("s0", "布洛芬(ibuprofen)可以跟对乙酰氨基酚一块儿吃么", None),
        ("s0", "布洛芬同對乙酰氨基酚可以一齊食嗎", None),
        (None, "Can I take both together?", None),
    ],
)
def test_a_rewrite_keeps_its_parents_language(parent, text, reason):
    context = context_of(SEEDS)
    assert reasons(Language(), rows(context, (parent, text, None)), context) == [reason]


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_answer_next_to_its_own_beginning_is_dropped(texts):
    context = context_of([(question, answer[: len(answer) // 2]) for question, answer in texts()])
    frame = rows(context, *((f"s{at}", *each) for at, each in enumerate(texts())))
    assert set(reasons(Language(), frame, context)) == {None}
