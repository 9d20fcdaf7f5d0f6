"""`label`: new texts under a label, and what is not taken for one."""

from __future__ import annotations

import pytest

from augment.generators.label import Label, names_label
from augment.records import Rejected, Reply, Row
from tests.labelled import accounted, scripted, source
from tests.test_pipeline import variants

ROW = Row("a", "爬两层楼就胸闷，歇几分钟才缓过来。", "先做心电图。", "心内科")
ALIKE = (Row("b", "夜里突然心慌，一分钟一百二十多下。", None, "心内科"),)
TEXT = "我爸搬东西时左肩发紧，坐下就好。"


def made(answer: str, row: Row = ROW) -> Row | Rejected:
    return Label().conclude(row, 0, ALIKE, [Reply("k", answer)])


def test_it_shows_the_record_and_others_of_its_label():
    strange = Row("c", "吃一点就饱。", None, "消化内科")
    asked = Label().ask(ROW, 0, (*ALIKE, strange)).messages[-1][1]
    assert "<label>心内科</label>" in asked
    assert asked.count("<example>") == 2
    assert strange.prompt not in asked


def test_ten_variants_are_asked_for_in_ten_situations():
    assert len({Label().ask(ROW, k, ALIKE).messages for k in range(10)}) == 10


def test_a_row_without_a_label_is_asked_nothing():
    assert Label().ask(Row("r", "最近睡不好"), 0, ()) == Rejected("has no label")


@pytest.mark.parametrize(
    "answer", [f'{{"text": "{TEXT}"}}', f'好的：\n```json\n{{"text": "{TEXT}", "note": 3}}\n```\n希望有用', TEXT]
)
def test_a_new_text_has_the_label_and_no_response(answer):
    assert made(answer) == Row("a", TEXT, None, "心内科")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('{"text": ["x"]}', "not the JSON asked for"),
        ('{"label": "心内科"}', "not the JSON asked for"),
        ('{"text": " 。"}', "empty"),
        ('{"text": "爬两层楼就胸闷，歇几分钟才缓过来！"}', "too like an example"),
        ('{"text": "夜里突然心慌，一分钟一百二十下。"}', "too like an example"),
        ('{"text": "<example>左肩发紧</example>"}', "a tag of the request is in it"),
        ('{"text": "心内科：左肩发紧"}', "names its label"),
        ("抱歉，我无法写这样的内容。", "refused"),
    ],
)
def test_what_is_no_new_text_is_rejected(answer, reason):
    assert made(answer) == Rejected(reason)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("【心内科】左肩发紧", True),
        ("心内科", True),
        ("**心内科**：左肩发紧", True),
        ("心内科挂不上号，左肩发紧", False),
        ("左肩发紧，要挂心内科吗", False),
    ],
)
def test_a_text_names_its_label_where_it_is_headed_by_it(text, named):
    assert names_label(text, ("心内科",)) is named


def test_a_run_makes_new_texts_under_each_label(place):
    done = scripted(source=source(place), generators="label", n="3x")
    rows = variants(done)
    assert accounted(done)
    assert done.summary.counts["kept"] == len(rows) >= 20
    assert rows["response"].null_count() == len(rows)
    assert set(rows["label"]) == {"心内科", "消化内科", "心理科"}
