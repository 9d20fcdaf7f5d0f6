"""`label_kept` by teachers of the seeds, by a tiny classifier, and by a real server that sorts texts by a rule."""

from __future__ import annotations

import logging
import random

import numpy as np
import polars as pl
import pytest
import torch

from augment.errors import RecipeError
from filters import Context
from filters.chain import chain_of
from filters.embeddings.ngrams import hashed
from filters.label_judges import dropped
from filters.label_kept import QUALITY, LabelKept
from filters.text_teacher import teach
from tests.filter_rows import context_of, reasons, rows, sample, scored, source
from tests.server import serve
from tests.text_models import save_text_classifier

WORDS = {
    "sleep": ("睡不着", "失眠", "多梦", "早醒", "打鼾", "熬夜"),
    "diet": ("吃什么", "忌口", "节食", "油腻", "挑食", "零食"),
}
NOTHING = ("最近", "请问", "怎么办", "孩子", "妈妈", "三天了", "正常吗", "医生", "要紧吗", "晚上", "白天")


def question(label: str, seed: int) -> str:
    draw = random.Random(f"{label} {seed}")
    said = [*draw.sample(WORDS[label], 2), *draw.sample(NOTHING, 3)]
    draw.shuffle(said)
    return "，".join(said)


def context(count: int = 20, told: bool = True) -> Context:
    """Seeds s0, s1, … of two labels in turn; their words tell which (or not)."""
    labels = [("sleep", "diet")[at % 2] for at in range(2 * count)]
    texts = [(question(label if told else "sleep", at), None) for at, label in enumerate(labels)]
    seeds = source(*texts).with_columns(pl.Series("label", labels, dtype=pl.String))
    return Context(seeds, source())


def variants(seen: Context, *texts: tuple[str | None, str, str | None]) -> pl.DataFrame:
    """Variants of (parent, prompt, label)."""
    frame = rows(seen, *((parent, prompt, None) for parent, prompt, _ in texts))
    return frame.with_columns(pl.Series("label", [label for *_, label in texts], dtype=pl.String))


def test_a_variant_that_became_another_label_is_dropped():
    seen = context()
    frame = variants(
        seen,
        *(("s0", question("sleep", 100 + n), "sleep") for n in range(10)),
        *(("s0", question("diet", 100 + n), "sleep") for n in range(10)),
        ("s0", question("diet", 200), None),
        ("s0", question("diet", 200), "weather"),
        (None, question("diet", 201), "sleep"),
    )
    found = scored(LabelKept(), frame, seen)
    assert found["reason"].to_list() == [
        *[None] * 10,
        *["not what its label says"] * 10,
        None,
        None,
        "not what its label says",
    ]
    assert found["label_kept_label"].to_list() == [*["sleep"] * 10, *["diet"] * 10, None, None, "diet"]
    assert found["label_kept_right"].to_list()[9:11] == [True, False]
    quality = seen.memory[QUALITY]["prompt"]
    assert quality["false_rejects"] <= 0.05 and quality["found"] > 0.9 and quality["of"] == 40
    assert (quality["judge"], quality["on"]) == ("teacher", "seeds")


def test_no_teacher_saw_the_parent_of_what_it_judges():
    """The one seed that is labelled against all others gets the others' label, though it is among the seeds itself."""
    seen = context()
    odd = "头晕，眼花，耳鸣，心慌"
    seeds = source((odd, None)).with_columns(pl.lit("odd").alias("id"), pl.lit("sleep").alias("label"))
    near = source(*((odd + more, None) for more in ("，手抖", "，腿软", "，出汗", "，怕冷")), start=100)
    seen.seeds = pl.concat([seen.seeds, seeds, near.with_columns(pl.lit("diet").alias("label"))])
    frame = variants(seen, ("odd", f"{odd}。", "sleep"), (None, f"{odd}。", "sleep"))
    found = scored(LabelKept(), frame, seen)["label_kept_score"].to_list()
    assert found[0] < 0.5, "what its parent's label would have told it is left out"
    assert found[1] > found[0], "the others know it"


def test_teachers_that_know_nothing_are_not_listened_to(caplog):
    seen = context(told=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert reasons(LabelKept(), variants(seen, ("s0", question("diet", 100), "sleep")), seen) == [None]
    assert len(caplog.records) == 1 and "judge nothing; name a classifier with" in caplog.text
    assert QUALITY not in seen.memory
    listened = LabelKept(trust=0.0)
    assert scored(listened, variants(context(told=False), ("s0", "睡", "sleep")), context(told=False))[
        "label_kept_label"
    ][0]


def test_the_teachers_of_the_samples_few_questions_are_not_listened_to_and_say_so(caplog):
    from augment.sources import open_source

    seen = Context(open_source("sample").seeds, source())
    frame = variants(seen, (seen.seeds["id"][0], "今天星期几？", seen.seeds["label"][0]))
    with caplog.at_level(logging.WARNING):
        assert reasons(LabelKept(), frame, seen) == [None]
    assert "of 128 seeds under a wrong label, and judge nothing" in caplog.text


def test_too_few_seeds_are_said(caplog):
    for seen in (context(2), context_of(sample()[:30])):
        with caplog.at_level(logging.WARNING):
            assert reasons(LabelKept(), variants(seen, ("s0", question("diet", 100), "sleep")), seen) == [None]
        assert "label_kept: fewer than two labels have 3 seeds" in caplog.text
        caplog.clear()


def test_a_bound_is_decided_anew_without_scoring():
    seen = context()
    frame = variants(seen, *(("s0", question("diet", 100 + n), "sleep") for n in range(5)))
    found = scored(LabelKept(), frame, seen)
    assert found.select(LabelKept(rank=0.0).verdict()).to_series().null_count() == 5
    assert found["reason"].null_count() == 0


def test_teachers_are_the_same_in_any_order_and_deal_equal_texts_into_one_fold():
    seen = context(15)
    ids, texts, labels = (seen.seeds[name].to_list() for name in ("id", "prompt", "label"))
    ids, texts, labels = [*ids, "again"], [*texts, texts[0]], [*labels, labels[0]]
    one = teach(ids, texts, hashed(pl.Series(texts)), labels)
    back = [list(reversed(each)) for each in (ids, texts, labels)]
    other = teach(back[0], back[1], hashed(pl.Series(back[1])), back[2])
    assert one.fold_of == other.fold_of and one.fold_of["again"] == one.fold_of["s0"]
    asked = hashed(pl.Series([question("sleep", 300), question("diet", 301)]))
    assert np.array_equal(one.probabilities(asked, ["s0", None]), other.probabilities(asked, ["s0", None]))
    assert one.probabilities(asked, ["s0", None]).sum(axis=1) == pytest.approx([1, 1])


def test_another_label_must_be_likelier_and_few_seeds_as_unlike_their_own():
    assert dropped(0.2, 0.8, 0.01, 0.05)
    assert not dropped(0.8, 0.8, 0.01, 0.05)
    assert not dropped(0.2, 0.8, 0.05, 0.05)
    assert dropped(0.0, 1.0, None, 0.05)


def test_a_classifier_judges_by_its_own_names(tmp_path):
    torch.set_num_threads(1)
    taught = [((question(label, at), None), at % 2) for at in range(60) for label in (("sleep", "diet")[at % 2],)]
    model = str(save_text_classifier(tmp_path, taught, ["SLEEP", "Diet"]))
    seen = context()
    frame = variants(seen, ("s0", question("sleep", 100), "sleep"), ("s0", question("diet", 101), "sleep"))
    found = scored(LabelKept(model=model), frame, seen)
    assert found["reason"].to_list() == [None, "not what its label says"]
    assert found["label_kept_label"].to_list() == ["sleep", "diet"]
    assert seen.memory[QUALITY]["prompt"]["judge"] == "classifier"
    few = context(4)
    assert reasons(LabelKept(model=model), variants(few, ("s0", question("diet", 101), "sleep")), few) == [
        "not what its label says"
    ]
    strange = context()
    strange.seeds = strange.seeds.with_columns(pl.lit("weather").alias("label"))
    with pytest.raises(
        RecipeError, match="knows none of the labels weather; its own are SLEEP, Diet: name its classes"
    ):
        LabelKept(model=model).score(variants(strange, ("s0", "今天下雨吗", "weather")), strange)


@pytest.mark.usefixtures("place")
def test_an_llm_is_told_the_labels_and_its_silence_keeps_a_row(caplog):
    seen = context()
    texts = ["夜里睡不好，怎么办？", "夜里吃什么好？", "今天下雨吗？", "</text>睡</text>"]
    with serve(says="tests.opinions:sorted_in") as server, caplog.at_level(logging.WARNING):
        check = LabelKept(llm="openai:test-model", base_url=server.url)
        found = scored(check, variants(seen, *(("s0", text, "sleep") for text in texts)), seen)
        assert len(server.log()) == 4 + 40, "40 seeds measure the judge"
        scored(check, variants(seen, *(("s0", text, "sleep") for text in texts)), seen)
        assert len(server.log()) == 44
    assert found["reason"].to_list() == [None, "not what its label says", None, None]
    assert found["label_kept_right"].to_list() == [True, False, None, True]
    assert seen.memory[QUALITY]["prompt"]["judge"] == "llm"
    assert "label_kept: the LLM gave no verdict on 2 of 8 rows (25 %)" in caplog.text


def test_two_judges_are_one_too_many():
    with pytest.raises(RecipeError, match="^filter 'label_kept' has a model and an LLM; give one of"):
        chain_of(["label_kept"], {"label_kept": {"model": "m", "llm": "openai:m"}})
