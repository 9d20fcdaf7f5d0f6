"""`consistency` with a real server that answers again, and with a tiny NLI model that compares."""

from __future__ import annotations

import logging

import pytest
import torch

from augment.errors import RecipeError
from augment.records import Reply
from filters.chain import chain_of
from filters.consistency import Consistency, answer_of
from tests.filter_rows import context_of, reasons, rows, scored
from tests.server import serve
from tests.text_models import save_text_classifier

ALIKE = "失眠可以先调整作息，每天固定时间起床，睡前一小时别看手机，下午起不喝咖啡。"
OTHER = "糖尿病人可以吃苹果，每次半个，放在两餐之间。"
SEEDS = [("失眠怎么办？", "规律作息。")]


@pytest.fixture(scope="module")
def server():
    with serve(says="tests.opinions:answered") as found:
        yield found


def check(server, **settings: object) -> Consistency:
    return Consistency(llm="openai:test-model", base_url=server.url, **settings)


@pytest.mark.usefixtures("place")
def test_an_answer_about_something_else_is_unlike_the_second(server):
    context = context_of(SEEDS)
    frame = rows(
        context,
        ("s0", "睡不着怎么办？", ALIKE),
        ("s0", "睡不着怎么办？", OTHER),
        ("s0", *SEEDS[0]),
        ("s0", "睡不着？", None),
    )
    before = len(server.log())
    found = scored(check(server), frame, context)
    assert len(server.log()) == before + 1, "one question, one second answer"
    alike, other, *rest = found["consistency_similarity"].to_list()
    assert alike > 0.4 > 0.15 > other and rest == [None, None]
    assert found["consistency_samples"].to_list() == [1, 1, None, None]
    assert reasons(check(server, lowest=0.2), frame, context) == [None, "unlike a second answer", None, None]
    assert len(server.log()) == before + 1


@pytest.mark.usefixtures("place")
def test_several_answers_are_compared_and_the_median_counts(server):
    context = context_of(SEEDS)
    frame = rows(context, ("s0", "夜里睡不着怎么办？", ALIKE))
    before = len(server.log())
    found = scored(check(server, samples=5), frame, context)
    assert len(server.log()) == before + 5
    assert found["consistency_samples"].to_list() == [5]
    each = sorted(scored(check(server, samples=n), frame, context)["consistency_similarity"][0] for n in range(1, 6))
    assert each[0] <= found["consistency_similarity"][0] <= each[-1]


@pytest.mark.usefixtures("place")
def test_a_question_without_a_second_answer_keeps_its_row(server, caplog):
    context = context_of(SEEDS)
    frame = rows(context, *(("s0", f"血糖{n}高吗？", OTHER) for n in range(6)))
    with caplog.at_level(logging.WARNING):
        found = scored(check(server), frame, context)
    assert found["reason"].null_count() == 6
    assert found["consistency_samples"].to_list() == [0] * 6
    assert found["consistency_similarity"].null_count() == 6
    assert "consistency: the LLM gave no verdict on 6 of 6 rows (100 %)" in caplog.text


@pytest.mark.usefixtures("place")
def test_an_nli_model_finds_contradictions_either_way_round(server, tmp_path):
    torch.set_num_threads(1)
    form = "失眠先从作息入手，第{}天起每天固定时间起床，睡前一小时不看手机。"
    said = [("每天固定时间起床，第{}天。", 0), ("随便几点起床都行，躺到中午，第{}天。", 1)]
    taught = [
        (way, at)
        for n in range(8)
        for text, at in said
        for pair in [(form.format(n), text.format(n))]
        for way in (pair, pair[::-1])
    ]
    model = save_text_classifier(tmp_path / "m", taught, ["entailment", "CONTRADICTION"], length=128)
    context = context_of(SEEDS)
    frame = rows(
        context,
        ("s0", "睡不着怎么办？", "每天固定时间起床，第3天。"),
        ("s0", "睡不着怎么办？", "随便几点起床都行，躺到中午，第3天。"),
    )
    found = scored(check(server, nli=str(model), lowest=-1.0), frame, context)
    assert found["reason"].to_list() == [None, "contradicted by a second answer"]
    assert found["consistency_entailment"][0] > 0.5 > found["consistency_contradiction"][0]
    assert reasons(check(server, nli=str(model), lowest=-1.0, contradiction=1.0), frame, context) == [None, None]


def test_an_answer_is_json_or_plain_and_whole():
    assert answer_of(Reply("k", '{"answer": "规律作息。"}')) == "规律作息。"
    assert answer_of(Reply("k", "<think>嗯</think>规律作息。")) == "规律作息。"
    assert answer_of(Reply("k", "规律作", "length")) is None
    assert answer_of(Reply("k", '{"answer": "规')) is None
    assert answer_of(Reply("k", "", "error", error="HTTP 400")) is None


def test_it_needs_an_llm():
    with pytest.raises(RecipeError, match="^filter 'consistency' needs an LLM; add --set consistency.llm=openai:MODEL"):
        chain_of(["consistency"])
