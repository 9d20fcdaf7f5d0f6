"""Answers with sense to generators that ask about labels: for `tests.server --says tests.scripted:says`."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from augment.engines.echo import answer

SIGNS = {
    "心内科": ("胸闷", "心慌", "血压"),
    "消化内科": ("反酸", "拉肚子", "上腹"),
    "心理科": ("高兴不起来", "考场", "心里烦"),
}
UNSURE = "说不清"
"""A text with this in it is voted to be what comes first in the list."""


def says(messages: Iterable[tuple[str, str]], schema: Mapping[str, Any] | None, seed: int) -> str:
    """What a model with sense would answer: a label by its signs, a blend, a flip; else an echo."""
    messages = tuple(messages)
    asked = messages[-1][1]
    fields = set(schema["properties"]) if schema else set()
    if fields == {"label"}:
        text = re.findall(r"<text>\n(.*?)\n</text>", asked, re.S)[-1]
        listed = re.findall(r"^<label>(.*?)</label>", asked, re.M)
        return _json(label=_voted(text, schema["properties"]["label"]["enum"], listed))
    if fields == {"text", "label", "shares"}:
        labels = schema["properties"]["label"]["enum"]
        signs = [SIGNS[each][seed % 3] for each in labels]
        shares = {each: 30 * (at + 1) for at, each in enumerate(labels)}
        return _json(text=f"这几天{'，又'.join(signs)}，第{seed % 9973}次来问。", label=labels[0], shares=shares)
    target = re.search(r"(?:目标类别：|Target label: )<label>(.*?)</label>", asked)
    if fields == {"text"} and target:
        text = re.findall(r"<text>\n(.*?)\n</text>", asked, re.S)[-1]
        return _json(text=_flipped(text, target[1]))
    own = re.match(r"<label>(.*?)</label>", asked)
    if fields == {"text"} and own:
        rng = random.Random(seed)
        who = rng.choice(("我爸", "我同事", "邻居家的老人", "我自己", "我表妹"))
        return _json(
            text=f"{who}{rng.randint(2, 90)}天前开始{rng.choice(SIGNS[own[1]])}，{rng.choice('早午晚')}上更明显，有点担心。"
        )
    return answer(messages, schema, seed)


def _voted(text: str, labels: list[str], listed: list[str]) -> str:
    if UNSURE in text:
        return listed[0]
    return next((label for label, signs in SIGNS.items() if any(sign in text for sign in signs)), labels[0])


def _flipped(text: str, target: str) -> str:
    for signs in SIGNS.values():
        for sign in signs:
            text = text.replace(sign, SIGNS[target][0])
    return text


def _json(**fields: Any) -> str:
    return orjson.dumps(fields).decode()
