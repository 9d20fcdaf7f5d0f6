"""`grounded` by n-grams, by a tiny NLI model and by a real server: which sentences a context supports."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl
import pytest
import torch

from augment.errors import RecipeError
from augment.records import Reply
from filters.chain import chain_of
from filters.grounded import Grounded, spans, verdicts_of
from filters.sentences import sentences
from tests.filter_rows import context_of, reasons, rows, sample, scored
from tests.server import serve
from tests.text_models import save_text_classifier

PARENT = (
    "失眠先从作息入手，每天固定时间起床。睡前一小时不看手机，下午以后不喝咖啡。超过一个月没有好转，建议到睡眠门诊看看。"
)
REWRITE = (
    "想改善失眠，先把作息固定下来，每天同一时间起床。睡前一小时放下手机，下午起别喝咖啡。一个月还没好转就去睡眠门诊。"
)
OTHER = "糖尿病人可以吃苹果。每次吃半个，放在两餐之间。吃完两小时测一次血糖。"
MIXED = "每天固定时间起床，睡前不看手机。糖尿病人可以吃苹果，每次半个。"
SEEDS = [("失眠怎么办？", PARENT)]


def answers(*texts: str):
    context = context_of(SEEDS)
    return context, rows(context, *(("s0", "失眠怎么办？", text) for text in texts))


def test_sentences_that_no_stretch_of_the_parent_supports_are_counted():
    context, frame = answers(REWRITE, OTHER, MIXED, PARENT)
    found = scored(Grounded(), frame, context)
    assert found["grounded_share"].to_list() == [1.0, 0.0, 0.5, None]
    assert found["grounded_least"].to_list()[0] == ""
    assert found["grounded_least"].to_list()[2] == "糖尿病人可以吃苹果，每次半个。"
    assert found["reason"].to_list() == [None, "not supported by its context", None, None]
    assert reasons(Grounded(lowest=0.6), frame, context)[2] == "not supported by its context"
    assert scored(Grounded(overlap=0.99), frame, context)["grounded_share"].to_list()[0] == 0.0


def test_answers_to_other_questions_are_not_supported():
    pairs = [row for row in sample() if row[1]]
    context = context_of(pairs)
    frame = rows(context, *((f"s{at}", pairs[at][0], pairs[(at + 9) % len(pairs)][1]) for at in range(len(pairs))))
    found = reasons(Grounded(), frame, context)
    assert found.count("not supported by its context") > 0.9 * len(pairs)


def test_a_context_is_any_column():
    context, frame = answers(OTHER)
    given = frame.with_columns(
        pl.lit("苹果含糖不多，糖尿病人每次可以吃半个，放在两餐之间，吃完两小时测血糖。").alias("passage")
    )
    assert reasons(Grounded(), given, context) == ["not supported by its context"]
    assert reasons(Grounded(context="passage"), given, context) == [None]
    with pytest.raises(RecipeError, match="^grounded.context: the rows have no column 'passage'; text columns: id, "):
        Grounded(context="passage").score(frame, context)


def test_sentences_are_those_of_both_languages():
    assert sentences("血压150/95。不要慌！先测一周；再看医生…") == ["血压150/95。", "先测一周；", "再看医生…"]
    assert sentences("Take 3.5 mg daily. Do not stop it.") == ["Take 3.5 mg daily.", "Do not stop it."]
    assert sentences("。！？\n12\n") == []
    assert spans("第一句话说这个。第二句话说那个。第三句话说别的。第四句话说完了。") == [
        "第一句话说这个。第二句话说那个。第三句话说别的。",
        "第二句话说那个。第三句话说别的。第四句话说完了。",
    ]
    assert spans("短") == ["短"]


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Finds a sentence entailed that has 起床 in it, and contradicted that has 苹果 in it."""
    torch.set_num_threads(1)
    said = [(0, "每天{}点起床。"), (1, "天气{}度，不冷。"), (2, "每次吃{}个苹果。")]
    taught = [((PARENT, form.format(n)), at) for n in range(1, 15) for at, form in said]
    folder = tmp_path_factory.mktemp("nli") / "m"
    return str(save_text_classifier(folder, taught, ["ENTAILMENT", "neutral", "contradiction"], length=128))


def test_an_nli_model_reads_each_sentence_against_the_context(nli):
    context, frame = answers("每天六点起床。天气八度，不冷。", "每天七点起床。每天九点起床。", "天气五度，不冷。")
    found = scored(Grounded(nli=nli), frame, context)
    assert found["grounded_share"].to_list() == [0.5, 1.0, 0.0]
    assert found["grounded_least"].to_list() == ["天气八度，不冷。", "", "天气五度，不冷。"]
    whole = scored(Grounded(nli=nli), frame, context)
    assert pl.concat([scored(Grounded(nli=nli), part, context) for part in frame.iter_slices(1)]).equals(whole)


@pytest.mark.usefixtures("place")
def test_an_llm_says_it_of_each_sentence_and_its_silence_keeps_the_row(caplog):
    context, frame = answers(
        "每天固定时间起床。糖尿病人可以吃苹果。",
        "没有评审意见的一段话。",
        "糖尿病人可以吃苹果。",
        "每天</sentences>固定时间起床。",
    )
    with serve(says="tests.opinions:supported") as server, caplog.at_level(logging.WARNING):
        check = Grounded(llm="openai:test-model", base_url=server.url)
        found = scored(check, frame, context)
        assert len(server.log()) == 4
        assert scored(check, frame, context).equals(found)
        assert len(server.log()) == 4
    assert found["grounded_share"].to_list() == [0.5, None, 0.0, 1.0]
    assert found["reason"].to_list() == [None, None, "not supported by its context", None]
    assert "grounded: the LLM gave no verdict on 2 of 8 rows (25 %)" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"supported": [true, false]}', [1.0, 0.0]),
        ('好：{"supported": [true, true]}', [1.0, 1.0]),
        ('{"supported": [true]}', None),
        ('{"supported": [1, 0]}', None),
        ("true, false", None),
    ],
)
def test_a_verdict_is_one_of_each_sentence_or_none(text, said):
    assert verdicts_of(Reply("k", text), 2) == said
    assert verdicts_of(Reply("k", text, "error", error="HTTP 400"), 2) is None


def test_what_a_user_can_fix_is_one_line(nli):
    with pytest.raises(RecipeError, match="^filter 'grounded' has an NLI model and an LLM; give one of"):
        chain_of(["grounded"], {"grounded": {"nli": "m", "llm": "openai:m"}})
    context, frame = answers(OTHER)
    with pytest.raises(RecipeError, match="^grounded.nli: no model folder ./nowhere"):
        Grounded(nli="./nowhere").score(frame, context)


def test_a_classifier_of_something_else_is_no_nli_model(tmp_path: Path):
    model = save_text_classifier(tmp_path, [(("好", None), 0), (("坏", None), 1)], ["good", "bad"], steps=1)
    context, frame = answers(OTHER)
    with pytest.raises(RecipeError, match="has the classes good, bad; an NLI model has entailment and contradiction"):
        Grounded(nli=str(model)).score(frame, context)
