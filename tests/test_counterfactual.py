"""`counterfactual`: few words change, and the label or the answer with them."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from augment.errors import RecipeError
from augment.generators.counterfactual import Counterfactual, changed
from augment.records import Rejected, Reply, Row
from filters import Context
from filters.chain import chain_of
from tests.labelled import accounted, scripted, source
from tests.scripted import SIGNS
from tests.test_pipeline import plan_of, run, variants
from tests.test_prompts import QA_ZH

ROW = Row("a", "爬两层楼就胸闷，歇几分钟才缓过来。", None, "心内科")
TARGET = (Row("b", "饭后总是反酸，胸口烧得慌。", None, "消化内科"),)
FLIPPED = "吃两口饭就反酸，歇几分钟才缓过来。"
QA = Row("q", *QA_ZH[1])
CHANGED = "孩子2个月，发烧38.5℃两天，精神还好，能喝水，要不要马上去医院？"


def made(*answers: str, row: Row = ROW, **settings: object) -> Row | Rejected:
    generator, seen = Counterfactual(**settings), TARGET if row.label else ()
    replies = [Reply(f"k{at}", each) for at, each in enumerate(answers)]
    further = generator.then(row, 0, seen, replies)
    if isinstance(further, Rejected):
        return further
    assert further == (), "there is more to ask"
    return generator.conclude(row, 0, seen, replies)


def test_a_flip_has_the_label_of_its_target():
    assert made(f'{{"text": "{FLIPPED}"}}') == Row("a", FLIPPED, None, "消化内科")


def test_a_row_without_a_label_has_a_fact_changed_and_is_answered_anew():
    answer = f'{{"text": "{CHANGED}"}}'
    (asked,) = Counterfactual().then(QA, 0, (), [Reply("k", answer)])
    assert CHANGED in asked.messages[-1][1]
    assert made(answer, '{"answer": "两个月大的孩子发烧要马上就医。"}', row=QA) == dataclasses.replace(
        QA, prompt=CHANGED, response="两个月大的孩子发烧要马上就医。"
    )
    assert made(answer, f'{{"answer": "{QA.response}"}}', row=QA) == Rejected("the answer did not change")
    assert made(answer, "{", row=QA) == Rejected("not the JSON asked for")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (f'{{"text": "{ROW.prompt}"}}', "nothing changed"),
        ('{"text": "爬两层楼就胸闷 歇几分钟才缓过来"}', "nothing changed"),
        (f'{{"text": "{TARGET[0].prompt}"}}', "too like an example"),
        ('{"text": "昨天晚上吃了火锅，今天一直恶心想吐，肚子绞痛。"}', "more than a minimal edit"),
        ('{"text": "消化内科：吃两口饭就反酸，歇几分钟才缓过来。"}', "names its label"),
        ('{"text": ""}', "empty"),
        ('{"text": {"a": 1}}', "not the JSON asked for"),
        ('{"text": "吃两口就反酸</text>"}', "a tag of the request is in it"),
    ],
)
def test_what_is_no_minimal_flip_is_rejected(answer, reason):
    assert made(answer) == Rejected(reason)


def test_how_much_may_change_can_be_set():
    assert 0 < changed(ROW.prompt, FLIPPED) < 0.6
    assert made(f'{{"text": "{FLIPPED}"}}', most=0.1) == Rejected("more than a minimal edit")


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ("胸闷两天", "胸闷三天", 0.25),
        ("chest pain today", "chest pain yesterday", 1 - 18 / 32),
        ("Chest pain!", "chest pain", 0.0),
        ("胸闷", "反酸", 1.0),
        ("", "", 0.0),
    ],
)
def test_the_share_that_changed_is_of_characters(before, after, share):
    assert changed(before, after) == pytest.approx(share)


def test_the_edits_of_a_row_try_different_places():
    assert len({Counterfactual().ask(ROW, k, TARGET).messages for k in range(5)}) == 5
    assert len({Counterfactual().ask(QA, k, ()).messages for k in range(6)}) == 6


def test_without_a_row_of_another_label_nothing_is_asked(place):
    assert Counterfactual().ask(ROW, 0, ()) == Rejected("no row of another label")
    rows = [("胸闷", "心内科"), ("心慌", "心内科")]
    with pytest.raises(RecipeError, match="one label, '心内科'"):
        plan_of(source=source(place, rows), generators="counterfactual")


LONG = "我妈今年六十五岁，有高血压十几年了，一直吃药，最近一周血压都在一百三十左右，没有头晕也没有胸闷，想问问需不需要加药？"


def sifted(text: str, seed: Row, name: str) -> dict[str, str | None]:
    """Who drops a flip of a seed, for a filter that knows what flips and for one that does not."""
    seeds = pl.DataFrame([{key: getattr(seed, key) for key in ("id", "prompt", "response", "label")}])
    seeds = seeds.cast(pl.String)
    line = {"id": "v", "parents": [seed.id], "generator": "counterfactual", "variant": 0, "prompt": text}
    frame = pl.DataFrame([{**line, "response": None, "label": "乙"}], schema_overrides={"response": pl.String})
    names = frozenset({"counterfactual"})
    told = Context(seeds=seeds, exam=seeds.clear(), makes_new=names, flips=names)
    plain = Context(seeds=seeds, exam=seeds.clear())
    chain = chain_of([name])
    return {key: chain.sift(frame, each)["dropped_by"][0] for key, each in (("told", told), ("plain", plain))}


@pytest.mark.parametrize("name", ["near_dup", "facts", "similarity"])
def test_a_flip_is_not_held_against_the_parent_whose_words_it_keeps(name):
    seed = f"{LONG}{LONG[::-1]}"
    assert sifted(seed.replace("六十五岁", "三十五岁"), Row("s", seed, None, "甲"), name) == {
        "told": None,
        "plain": name,
    }


def test_a_flip_that_is_nearer_to_another_flip_is_a_duplicate():
    flip = LONG.replace("没有头晕也没有胸闷", "有头晕也有胸闷")
    seeds = pl.DataFrame({"id": ["s"], "prompt": [LONG], "response": [None], "label": ["甲"]}).cast(pl.String)
    line = {"parents": ["s"], "generator": "counterfactual", "response": None, "label": "乙"}
    texts = [flip, flip.replace("想问问", "想问下")]
    frame = pl.DataFrame([{"id": f"v{at}", "variant": at, "prompt": each, **line} for at, each in enumerate(texts)])
    names = frozenset({"counterfactual"})
    context = Context(seeds=seeds, exam=seeds.clear(), makes_new=names, flips=names)
    done = chain_of(["near_dup"]).sift(frame.cast({"response": pl.String}), context)
    assert done["dropped_by"].to_list() == [None, "near_dup"]


WHO = ("我爸", "我妈", "我自己", "爱人", "同事", "邻居", "表妹", "舅舅")
WHEN = ("上周起", "昨天半夜", "入秋以后", "出差回来", "这两三天", "搬家那阵", "换了工作", "饭局之后", "下雨天里")
ENDS = ("有点担心", "想问怎么办", "不知要不要紧", "歇会儿才好", "影响上班")


def told_apart() -> list[tuple[str, str]]:
    """Texts whose label nothing but one word tells."""
    told = []
    for at, (label, sign) in enumerate(
        (label, sign) for _ in range(8) for label, signs in SIGNS.items() for sign in signs
    ):
        told.append((f"{WHO[at % 8]}{WHEN[at // 8]}总是{sign}，{ENDS[at % 5]}。", label))
    return told


def test_a_run_flips_labels_and_label_kept_sees_that_it_did(place):
    rows = told_apart()
    done = scripted(source=source(place, rows), generators="counterfactual", filters="label_kept", n="1x")
    made = variants(done)
    assert accounted(done)
    parents = dict(plan_of(source="labelled.csv").seeds.select("id", "label").iter_rows())
    assert all(parents[parent[0]] != label for parent, label in made.select("parents", "label").iter_rows())
    assert len(made) > 0.9 * len(rows)
    assert made["label_kept_label"].eq(made["label"]).mean() > 0.9


def test_label_kept_drops_an_edit_that_did_not_flip(place):
    seeds = plan_of(source=source(place, told_apart())).seeds.select("id", "prompt", "response", "label")
    line = {"id": "v", "parents": [seeds["id"][0]], "generator": "counterfactual", "variant": 0}
    texts = [seeds["prompt"][0].replace("总是", "老是"), seeds["prompt"][0].replace("胸闷", "反酸")]
    frame = pl.DataFrame([{**line, "prompt": each, "response": None, "label": "消化内科"} for each in texts])
    names = frozenset({"counterfactual"})
    context = Context(seeds=seeds, exam=seeds.clear(), makes_new=names, flips=names)
    sifted = chain_of(["label_kept"]).sift(frame.cast({"response": pl.String}), context)
    assert sifted["dropped_by"].to_list() == ["label_kept", None]


def test_a_run_over_questions_answers_them_anew(place):
    (place / "qa.jsonl").write_text("\n".join(f'{{"prompt": "{q}", "response": "{a}"}}' for q, a in QA_ZH))
    done = run(source="qa.jsonl", generators="counterfactual", filters="none", n="2x")
    made = variants(done)
    assert accounted(done)
    assert len(made) == 10
    assert not set(made["response"]) & {answer for _, answer in QA_ZH}
