"""`mix`: a blend of two texts and the share of each label."""

from __future__ import annotations

import json

import pytest

from augment.errors import RecipeError
from augment.generators.mix import Mix, shares_of
from augment.records import Rejected, Reply, Row
from tests.labelled import accounted, scripted, source
from tests.test_pipeline import plan_of, variants

ROW = Row("a", "爬两层楼就胸闷，歇几分钟才缓过来。", "先做心电图。", "心内科")
PARTNER = (Row("b", "一进考场就手抖出汗，脑子一片空白。", None, "心理科"),)
TEXT = "每次开大会前我都胸口发紧、手心冒汗。"


def made(**answer: object) -> Row | Rejected:
    return Mix().conclude(ROW, 0, PARTNER, [Reply("k", json.dumps(answer))])


def blend(**shares: object) -> Row | Rejected:
    return made(text=TEXT, label="心理科", shares=shares)


def test_a_blend_has_shares_a_label_and_two_parents():
    row = blend(心内科=0.3, 心理科=0.7)
    assert (row.prompt, row.response, row.label, row.partners) == (TEXT, None, "心理科", ("b",))
    assert json.loads(row.soft_label) == {"心内科": 0.3, "心理科": 0.7}


def test_the_label_is_the_one_with_the_largest_share_whatever_is_said():
    assert blend(心内科=0.6, 心理科=0.4).label == "心内科"
    assert blend(心内科=0.5, 心理科=0.5).label == "心理科"  # of equals the one that is said


@pytest.mark.parametrize(
    ("told", "shares"),
    [
        ({"甲": 30, "乙": 70}, {"甲": 0.3, "乙": 0.7}),
        ({"甲": 1, "乙": 2, "丙": 5}, {"甲": 0.3333, "乙": 0.6667}),
        ({"甲": 0, "乙": 0.4}, {"甲": 0.0, "乙": 1.0}),
        ({"甲": 0.5}, None),
        ({"甲": "0.5", "乙": 0.5}, None),
        ({"甲": True, "乙": 0.5}, None),
        ({"甲": -1, "乙": 2}, None),
        ({"甲": 0, "乙": 0}, None),
        ({"甲": float("inf"), "乙": 1}, None),
        ({"甲": float("nan"), "乙": 1}, None),
        ({"甲": 1e308, "乙": 1e308}, None),
        ([0.5, 0.5], None),
        (None, None),
    ],
)
def test_shares_add_up_to_one_over_the_labels_asked_about(told, shares):
    found = shares_of(told, ("甲", "乙"))
    assert found == shares
    assert found is None or sum(found.values()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"text": TEXT, "label": "心理科"}, "no share of each label"),
        ({"text": 3, "shares": {}}, "not the JSON asked for"),
        ({"text": " ", "shares": {}}, "empty"),
        ({"text": ROW.prompt, "shares": {"心内科": 1, "心理科": 1}}, "too like an example"),
        ({"text": PARTNER[0].prompt, "shares": {"心内科": 1, "心理科": 1}}, "too like an example"),
        ({"text": "心理科：手心冒汗", "shares": {"心内科": 1, "心理科": 1}}, "names its label"),
        ({"text": "<text>手心冒汗</text>", "shares": {"心内科": 1, "心理科": 1}}, "a tag of the request is in it"),
    ],
)
def test_what_is_no_blend_is_rejected(answer, reason):
    assert made(**answer) == Rejected(reason)


@pytest.mark.parametrize("text", ["", "null", "一段话", "[1]", '"x"'])
def test_an_answer_that_is_no_object_is_rejected(text):
    assert Mix().conclude(ROW, 0, PARTNER, [Reply("k", text)]) == Rejected("not the JSON asked for")


def test_fenced_json_with_words_around_it_is_read():
    text = f'好：\n```json\n{{"text": "{TEXT}", "label": "心理科", "shares": {{"心内科": 40, "心理科": 60}}}}\n```\n完'
    assert Mix().conclude(ROW, 0, PARTNER, [Reply("k", text)]).label == "心理科"


def test_a_partner_of_the_same_label_gives_all_to_it():
    same = (Row("c", "夜里突然心慌。", None, "心内科"),)
    answer = json.dumps({"text": TEXT, "label": "心内科", "shares": {"心内科": 0.9}})
    assert json.loads(Mix().conclude(ROW, 0, same, [Reply("k", answer)]).soft_label) == {"心内科": 1.0}


def test_rows_without_labels_are_asked_nothing():
    assert Mix().ask(Row("r", "睡不好"), 0, PARTNER) == Rejected("has no label")
    assert Mix().ask(ROW, 0, (Row("r", "睡不好"),)) == Rejected("its partner has no label")
    assert Mix().ask(ROW, 0, ()) == Rejected("its partner has no label")


def test_six_variants_are_blended_in_six_manners():
    assert len({Mix().ask(ROW, k, PARTNER).messages for k in range(6)}) == 6


def test_a_source_with_one_label_is_refused_in_one_line(place):
    rows = [("胸闷", "心内科"), ("心慌", "心内科")]
    with pytest.raises(RecipeError, match="one label, '心内科'") as refused:
        plan_of(source=source(place, rows), generators="mix")
    assert "\n" not in str(refused.value)


def test_a_run_blends_and_publishes_the_shares(place):
    done = scripted(source=source(place), generators="mix", filters="none", n="3x")
    rows = variants(done)
    assert accounted(done)
    assert len(rows) >= 20
    assert set(rows["parents"].list.len()) == {2}
    for label, shares in rows.select("label", "soft_label").iter_rows():
        found = json.loads(shares)
        assert label == max(found, key=found.get)
        assert sum(found.values()) == pytest.approx(1)
