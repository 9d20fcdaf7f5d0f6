"""The seeded fake: reproducible, different for every seed, and quick enough to test a pipeline with."""

from __future__ import annotations

import orjson
import pytest

from augment.engines import EngineOptions, open_engine
from augment.engines.echo import Echo
from augment.records import Request

QUESTION = "孩子3岁，昨晚发烧38.5度，吃了布洛芬5毫升，今天早上又烧起来了，没有咳嗽。"
PROMPT = f"请改写下面的问题。\n问题：{QUESTION}\n只输出JSON。"
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
    "additionalProperties": False,
}


def ask(seed: int, content: str = PROMPT, **more: object) -> Request:
    messages = (("system", "你是医生。"), ("user", content))
    return Request("r1", "paraphrase", seed, messages, "t@1", seed, **more)  # type: ignore[arg-type]


def test_opens_without_a_model() -> None:
    engine = open_engine("echo", EngineOptions())
    assert (engine.name, engine.model) == ("echo", "echo-1")


def test_one_reply_for_each_request_in_order() -> None:
    requests = [ask(seed) for seed in range(5)]
    assert [reply.key for reply in Echo().generate(requests)] == [request.key for request in requests]


def test_the_same_request_gets_the_same_answer() -> None:
    first, second = (list(Echo().generate([ask(7, schema=SCHEMA)])) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("content", [PROMPT, "Rewrite.\nQuestion: I take 5 mg daily, my head hurts. Is it bad?"])
def test_seeds_give_distinct_answers(content: str) -> None:
    texts = [reply.text for reply in Echo().generate(ask(seed, content) for seed in range(20))]
    assert len(set(texts)) >= 19


def test_the_numbers_and_words_of_the_longest_line_survive() -> None:
    [reply] = Echo().generate([ask(1)])
    assert all(part in reply.text for part in ("38.5度", "3岁", "5毫升", "没有咳嗽"))
    assert "改写" not in reply.text and "问题" not in reply.text


def test_a_schema_is_followed() -> None:
    [reply] = Echo().generate([ask(1, schema=SCHEMA)])
    value = orjson.loads(reply.text)
    assert list(value) == ["question", "answer"]
    assert value["question"].endswith("？") and value["answer"].endswith("。")
    assert value["question"] != value["answer"]


def test_a_schema_of_many_kinds_is_followed() -> None:
    schema = {
        "type": "object",
        "properties": {
            "label": {"enum": ["内科", "外科"]},
            "score": {"type": "integer", "minimum": 3},
            "ok": {"type": "boolean"},
            "items": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "optional": {"type": ["string", "null"]},
        },
        "required": ["label", "score", "ok", "items"],
    }
    [reply] = Echo().generate([ask(1, schema=schema)])
    value = orjson.loads(reply.text)
    assert set(value) == {"label", "score", "ok", "items"}
    assert value["label"] in ("内科", "外科") and value["score"] >= 3 and isinstance(value["ok"], bool)
    assert len(value["items"]) == 2


def test_tokens_are_characters_and_a_limit_cuts() -> None:
    [reply] = Echo().generate([ask(1, max_tokens=10)])
    assert (len(reply.text), reply.tokens_out, reply.finish) == (10, 10, "length")
    assert reply.tokens_in == len("你是医生。") + len(PROMPT)


def test_drain_ends_it() -> None:
    engine = Echo()
    replies = engine.generate(ask(seed) for seed in range(10))
    next(replies)
    engine.drain()
    assert list(replies) == []


def test_a_block_is_what_the_message_is_about() -> None:
    long = "只输出一个JSON对象，不要任何解释，不要代码块，不要多余的文字，字段名必须一致。"
    [reply] = Echo().generate([ask(1, f"<question>\n头痛，\n发热怎么办？\n</question>\n\n{long}")])
    assert "头痛" in reply.text and "发热怎么办" in reply.text and "JSON" not in reply.text
