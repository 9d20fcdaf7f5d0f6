"""A judge's scores in every form that CHBench's own judge wrote them, and what is no verdict."""

from __future__ import annotations

import os

import pytest

from augment.sources import open_tables
from finetune.evaluation.exam import read_exam_card
from finetune.evaluation.tuples import marginals, parse

PHYSICAL = ("准确性", "安全性", "实用性", "道德性")


@pytest.mark.parametrize(
    "text",
    [
        "（1，0，-1，1）",
        "(1, 0, -1, 1)",
        "（1，0, －1，1,）",
        "（1，0，−1，＋1）",
        "[1, 0, -1, 1]",
        "【１、０、－１、１】",
        "(1.0, 0, -1, 1)",
        "根据定义，（1，1，1，1）是满分。\n分析……\n综上，打分为（1，0，-1，1）。",
        "得分依次为：\n\n1，0，-1，1",
        "准确性：1, 安全性：0，实用性：-1, 道德性：1\n\n解释：第 2 条与安全无关。",
        "准确性：1（有科学依据）\n安全性：0（无关）\n实用性：-1（没有建议）\n道德性：1（尊重隐私）",
        "**准确性：1，安全性：0，实用性：-1，道德性：1**",
        '{"准确性": 1, "安全性": 0, "实用性": -1, "道德性": 1}',
        "| 准确性 | 1 |\n| 安全性 | 0 |\n| 实用性 | -1 |\n| 道德性 | 1 |",
        "准确性得分：1\n安全性得分：0\n实用性得分：-1\n道德性得分：1",
        "1. **准确性**: 1\n2. **安全性**: 0\n3. **实用性**: -1\n4. **道德性**: 1",
        "(1, 0, -1, 1)\n\n理由：每日 3, 4 次即可；2024,2025 两年的指南都这样写。",
    ],
)
def test_every_form_is_read(text):
    assert parse(text, PHYSICAL) == (1, 0, -1, 1)


@pytest.mark.parametrize(
    "text", ["（-1）", "分析：1 处不妥。\n\n-1", "[−1]", "例如（1），最后：（-1）。", "Taste: -1", "**taste**: **-1**"]
)
def test_a_single_dimension_is_read_in_every_form_too(text):
    assert parse(text, ["Taste"]) == (-1,)


@pytest.mark.parametrize("text", ["", "好。", "8", "（2）", "2024 年有 1 例"])
def test_a_single_dimension_without_a_score_has_no_verdict(text):
    assert parse(text, ["Taste"]) is None


def test_a_title_within_another_is_not_scored_by_it():
    assert parse("Safety: 1\nFood Safety: -1", ["Safety", "Food Safety"]) == (1, -1)
    assert parse("Food Safety: -1", ["Safety", "Food Safety"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "这段文本很好。",
        "（1，0，1）",
        "（1，0，1，1，1）",
        "（1，0，2，1）",
        "(1, 0, 0.5, 1)",
        "（1，0，1，1），更正：（1，0，3，1）",
        "准确性：1，安全性：0，实用性：1",
        "准确性：8，安全性：9，实用性：9，道德性：10",
        "从 1 到 10 打分",
    ],
)
def test_anything_else_is_no_verdict(text):
    assert parse(text, PHYSICAL) is None


def test_the_last_tuple_of_the_right_length_counts():
    assert parse("例如（0，0，0，0）。我的打分：（1，1，1，0）。其中（1，1）最重要。", PHYSICAL) == (1, 1, 1, 0)


def test_marginals_count_verdicts_and_pass_over_the_others():
    assert marginals([(1, 0), None, (1, -1)]) == [{-1: 0, 0: 0, 1: 2}, {-1: 1, 0: 1, 1: 0}]
    assert marginals([None]) == []


@pytest.mark.skipif("AUGMENT_CHBENCH_DIR" not in os.environ, reason="set AUGMENT_CHBENCH_DIR")
@pytest.mark.parametrize("column", ["tuple", "attribute"])
def test_every_scored_row_of_chbench_gives_back_its_scores(column):
    """From the tuples, and from the long analyses that they were taken out of by hand."""
    card = read_exam_card("chbench")
    found = {}
    for table in open_tables("chbench")[1]:
        group = card.group_of(table.rows[0][1]["domain"])
        titles = [each.title for each in group.dimensions]
        found[group.name] = [parse(row[column], titles) for _, row in table.rows]
    assert {name: len(scores) for name, scores in found.items()} == {"mental": 72, "physical": 72}
    assert marginals(found["mental"]) == [
        {-1: 1, 0: 32, 1: 39},
        {-1: 0, 0: 40, 1: 32},
        {-1: 3, 0: 14, 1: 55},
        {-1: 1, 0: 19, 1: 52},
        {-1: 2, 0: 4, 1: 66},
        {-1: 2, 0: 8, 1: 62},
    ]
    assert marginals(found["physical"]) == [
        {-1: 1, 0: 0, 1: 71},
        {-1: 0, 0: 8, 1: 64},
        {-1: 0, 0: 4, 1: 68},
        {-1: 1, 0: 47, 1: 24},
    ]
    assert None not in [each for scores in found.values() for each in scores]
