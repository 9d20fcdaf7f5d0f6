"""What a server of the tests says when it is asked for an opinion: by rules that a test can foresee."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Messages = Sequence[tuple[str, str]]


def block(text: str, tag: str) -> str:
    """What stands in a tag, up to the first thing that closes it."""
    return text.partition(f"<{tag}>\n")[2].partition(f"\n</{tag}>")[0]


def judged(messages: Messages, schema: Mapping[str, Any] | None, seed: int) -> str:
    """A judge of rules: lost numbers are not faithful, 停药 is not safe, what ends on … is not complete.

    On a text with 没有评审意见 it says nothing that can be read, with 拒绝 it refuses, and with 摇摆 two of three votes
    find it unnatural. Asked for one score it gives 2 to what has 差 in it, else 5.
    """
    asked = messages[-1][1]
    question, answer = block(asked, "question"), block(asked, "answer")
    if "没有评审意见" in question:
        return ("都不错，大约 4 分。", '{"faithful": 9}', "{")[seed % 3]
    if "拒绝" in question:
        return "抱歉，我无法对这段内容进行评价。"
    if schema is not None and "score" in schema["properties"]:
        return orjson.dumps({"reason": "无", "score": 2 if "差" in question else 5}).decode()
    lost = set(re.findall(r"\d+", block(asked, "original_question"))) - set(re.findall(r"\d+", question))
    said: dict[str, Any] = {"reason": "无", "faithful": 1 if lost else 5, "natural": 5, "complete": 5, "safe": 5}
    if "摇摆" in question:
        said["natural"] = 5 if seed % 3 == 0 else 2
    if (question + answer).endswith("…"):
        said["complete"] = 2
    if "停药" in answer:
        said["safe"] = 1
    told = orjson.dumps(said).decode()
    return (told, f"```json\n{told}\n```", f"<think>\n想一想\n</think>\n{told}")[seed % 3]


def sorted_in(messages: Messages, schema: Mapping[str, Any] | None, seed: int) -> str:
    """Sorts texts into sleep and diet by 睡 and 吃; on what has neither, it says a class that there is not."""
    text = block(messages[-1][1], "text")
    label = "Sleep" if "睡" in text else "diet" if "吃" in text else "weather"
    return orjson.dumps({"label": label}).decode()


def supported(messages: Messages, schema: Mapping[str, Any] | None, seed: int) -> str:
    """Finds no sentence about apples supported; of a text with 没有评审意见 in it, it says too little."""
    said = block(messages[-1][1], "sentences").split("\n")
    told = ["苹果" not in each for each in said]
    return orjson.dumps({"supported": [] if "没有评审意见" in said[0] else told}).decode()


def answered(messages: Messages, schema: Mapping[str, Any] | None, seed: int) -> str:
    """Answers questions about sleep, in JSON or plainly by the seed; others are refused in broken JSON."""
    question = block(messages[-1][1], "question")
    if "睡" not in question and "失眠" not in question:
        return '{"answer": "'
    answer = f"失眠先从作息入手，第{seed % 7}天起每天固定时间起床，睡前一小时不看手机，下午以后不喝咖啡。"
    return answer if seed % 2 else orjson.dumps({"answer": answer}).decode()
