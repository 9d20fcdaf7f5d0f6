"""`annotate`: votes become labels, or nothing; a labelled row stands in its seed's place."""

from __future__ import annotations

import pytest

from augment.errors import RecipeError
from augment.generators import EXHAUSTED
from augment.generators.annotate import Annotate
from augment.records import Rejected, Reply, Row
from tests.labelled import accounted, scripted, source
from tests.scripted import UNSURE
from tests.test_pipeline import curated, plan_of, variants
from tests.test_prompts import LABELS_ZH

ROW = Row("r", "最近心慌")
CLASSES = (Row("a", "胸闷", None, "心内科"), Row("b", "反酸", None, "消化内科"), Row("c", "想哭", None, "心理科"))
NEW = [("夜里躺下就反酸。", ""), ("走路快了胸闷。", ""), (f"浑身不对劲，{UNSURE}。", "")]


def voted(*answers: str, **settings: object) -> Row | Rejected:
    generator = Annotate(votes=len(answers), **settings)
    return generator.conclude(ROW, 0, CLASSES, [Reply(f"k{at}", each) for at, each in enumerate(answers)])


def test_votes_are_asked_for_with_other_seeds_and_orders():
    generator = Annotate(votes=7)
    first = generator.ask(ROW, 0, CLASSES)
    rest = generator.then(ROW, 0, CLASSES, [Reply("k", "")])
    asked = [first, *rest]
    assert len(asked) == len({each.seed for each in asked}) == 7
    assert len({each.messages[-1][1].split("<example>")[0] for each in asked}) > 2
    assert len({tuple(each.schema["properties"]["label"]["enum"]) for each in asked}) == 1
    assert generator.then(ROW, 0, CLASSES, [Reply("k", "")] * 7) == ()


def test_the_label_of_most_votes_has_its_share_as_confidence():
    made = voted(*['{"label": "心内科"}'] * 4, '{"label": "心理科"}')
    assert (made.prompt, made.label, made.confidence) == (ROW.prompt, "心内科", 0.8)


@pytest.mark.parametrize(
    "answer",
    [
        '```json\n{"label": " 心内科 "}\n```',
        "心内科。",
        '{"label": "<label>心内科</label>"}',
        '选 {"label": "心内科"} 因为心慌',
    ],
)
def test_a_sloppy_vote_is_read(answer):
    assert voted(answer).label == "心内科"


def test_a_vote_for_no_known_label_is_for_nobody():
    made = voted(*['{"label": "心内科"}'] * 3, '{"label": "急诊科"}', '{"label": ["心内科"]}')
    assert made.confidence == 0.6
    assert voted('{"label": "急诊科"}', "{") == Rejected("no vote is a known label")


@pytest.mark.parametrize("lowest", [0.0, 0.6])
def test_votes_that_disagree_label_nothing(lowest):
    two = ['{"label": "心内科"}'] * 2
    tied = voted(*two, *['{"label": "心理科"}'] * 2, '{"label": "消化内科"}', lowest=lowest)
    assert tied == Rejected("votes disagree")


def test_the_lowest_confidence_can_be_set():
    answers = ['{"label": "心内科"}'] * 3 + ['{"label": "心理科"}'] * 2
    assert voted(*answers).confidence == 0.6
    assert voted(*answers, lowest=0.61) == Rejected("votes disagree")


def test_labels_that_differ_in_case_are_told_apart():
    generator = Annotate(labels=("Acute", "ACUTE"), votes=1)
    assert generator.conclude(ROW, 0, (), [Reply("k", '{"label": "ACUTE"}')]).label == "ACUTE"
    assert generator.conclude(ROW, 0, (), [Reply("k", '{"label": "acute"}')]) == Rejected("no vote is a known label")


def test_a_row_with_a_label_is_asked_nothing_and_others_once():
    assert Annotate().ask(CLASSES[0], 0, CLASSES) == Rejected("has a label")
    assert Annotate().ask(ROW, 1, CLASSES) == Rejected(EXHAUSTED)


def test_labels_can_be_given_instead_of_shown():
    asked = Annotate(labels=("轻", "重")).ask(ROW, 0, ()).messages[-1][1]
    assert "<label>轻</label>" in asked and "<example>" not in asked


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (LABELS_ZH, "all 8 rows have one"),
        ([("胸闷", ""), ("反酸", "")], "there is none"),
        ([("胸闷", "心内科"), ("反酸", "")], "only '心内科'"),
    ],
)
def test_a_source_with_nothing_to_choose_or_to_label_is_refused_in_one_line(place, rows, message):
    with pytest.raises(RecipeError, match=message) as refused:
        plan_of(source=source(place, rows), generators="annotate")
    assert "\n" not in str(refused.value)


def test_labels_of_a_setting_do_for_a_source_without_any(place):
    rows = [("胸闷", ""), ("反酸", "")]
    plan = plan_of(source=source(place, rows), generators="annotate", set={"annotate": {"labels": ["甲", "乙"]}})
    assert plan.total == 2


@pytest.mark.parametrize("filters", ["none", "default"])
def test_a_labelled_row_stands_in_its_seeds_place(place, filters):
    done = scripted(source=source(place, [*LABELS_ZH, *NEW]), generators="annotate", n="5x", filters=filters)
    counts, rows = done.summary.counts, curated(done)
    assert accounted(done)
    assert (counts["target"], counts["candidates"], counts["kept"]) == (3, 3, 2)
    assert counts["rejected"] == {"reply": {"votes disagree": 1}}
    assert counts["requests_sent"] == 15
    assert rows["prompt"].is_unique().all()
    assert dict(variants(done).select("prompt", "label").iter_rows()) == {NEW[0][0]: "消化内科", NEW[1][0]: "心内科"}
    assert variants(done)["confidence"].to_list() == [1.0, 1.0]
    assert rows.filter(rows["label"].is_null())["prompt"].to_list() == [NEW[2][0]]
    assert [each["target"] for each in counts["seeds_short"]] == [1]


def test_a_total_is_the_number_of_rows_to_label(place):
    done = scripted(source=source(place, [*LABELS_ZH, *NEW]), generators="annotate", n="2", filters="none")
    assert len(variants(done)) == done.summary.counts["kept"] == 2
