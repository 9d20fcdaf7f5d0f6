"""A seeded fake: answers at once, from nothing but the request. For tests and dry runs.

The answer reorders the clauses of what the last message is about (a <block>, or its longest line) and adds a
few words drawn by the request's seed: it reads like a variant, keeps the numbers, and differs by seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from augment.engines import EngineOptions, Keep, forget
from augment.records import Reply, Request

_ZH = re.compile(r"[\u4e00-\u9fff]")
_CLAUSE = re.compile(r"\s*(?:[,，;；。!！?？、\n]|__+)(?:[,，;；。.!！?？、\s]|__+)*|\.\s+")
_BLOCK = re.compile(r"<(\w+)>\s*(.+?)\s*</\1>", re.DOTALL)
_LABEL = re.compile(r"^[^:：]{1,12}[:：]\s*")
_ENDING = " \t.,;:!?。，；：！？、"

OPENERS = {
    "zh": ("请问", "想了解一下", "我想咨询", "医生您好", "麻烦问一下", "大家好", "想请教", "打扰一下"),
    "en": ("Could you tell me", "I would like to know", "Please advise", "Quick question", "I wonder", "Hello"),
}
LEADS = {
    "zh": ("一般来说", "通常情况下", "根据经验", "总体而言", "需要说明的是", "建议先了解", "简单来讲", "首先"),
    "en": ("In general", "As a rule", "From experience", "To begin with", "In short", "Broadly speaking"),
}
FILLERS = {
    "zh": ("其实", "最近", "这种情况", "具体来说", "平时", "目前", "另外", "大概", "主要", "确实", "近来", "有时候"),
    "en": ("actually", "lately", "in this case", "to be precise", "usually", "at present", "besides", "sometimes"),
}
CLOSERS = {
    "zh": ("该怎么办", "需要注意什么", "应该如何处理", "这样正常吗", "有什么好的建议", "要不要去检查"),
    "en": ("what should I do", "what should I watch for", "is that normal", "how is it handled", "any advice"),
}
ADVICE = {
    "zh": ("请注意休息", "必要时及时就医", "请遵医嘱", "保持规律作息", "定期复查更稳妥", "饮食宜清淡"),
    "en": ("please rest well", "see a doctor if needed", "keep regular hours", "have it checked again"),
}


@dataclass(eq=False)
class Echo:
    """A seeded fake that answers at once, the same request always the same; for tests and rehearsals."""

    name: ClassVar[str] = "echo"
    model: str = "echo-1"
    revision: str = ""

    def __post_init__(self) -> None:
        self._drained = False

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> Echo:
        """An echo; there is nothing to reach, so nothing can fail."""
        return cls(model or cls.model)

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """One reply a request, in order; a token is a character."""
        source = iter(requests)
        while not self._drained:
            try:
                request = next(source)
            except StopIteration:
                return
            if request is None:
                continue
            text = answer(request.messages, request.schema, request.seed)
            asked = sum(len(content) for _, content in request.messages)
            finish = "stop" if len(text) <= request.max_tokens else "length"
            text = text[: request.max_tokens]
            reply = Reply(request.key, text, finish, asked, len(text))
            keep(request, reply)
            yield reply

    def drain(self) -> None:
        """Take no further request. Callable from any thread."""
        self._drained = True


def answer(messages: Iterable[tuple[str, str]], schema: Mapping[str, Any] | None, seed: int) -> str:
    """A seeded variant of the last message's material: plain text, or JSON that follows `schema`."""
    messages = tuple(messages)
    last = next((content for role, content in reversed(messages) if role == "user"), messages[-1][1])
    rng = random.Random(seed)
    source = material(last)
    if schema is None:
        return rewrite(source, rng)
    return orjson.dumps(_fill(schema, "", source, rng, 0)).decode()


def material(text: str) -> str:
    """The longest <block> of `text`; without one its longest line, less a label such as "问题：" before it."""
    blocks: list[str] = [block for _, block in _BLOCK.findall(text)] if "</" in text else []
    if blocks:
        return max(blocks, key=len)
    line = max(text.split("\n"), key=len).strip()
    return _LABEL.sub("", line, count=1) or line


def rewrite(text: str, rng: random.Random) -> str:
    """The clauses of `text` in another order, with a few seeded words between them."""
    return _compose(text, rng, (), ())


def question(text: str, rng: random.Random) -> str:
    """`text` as someone else would ask it."""
    return _compose(text, rng, OPENERS[_language(text)], CLOSERS[_language(text)], "?")


def reply(text: str, rng: random.Random) -> str:
    """`text` turned into something like advice."""
    return _compose(text, rng, LEADS[_language(text)], ADVICE[_language(text)])


def quotation(text: str, rng: random.Random) -> str:
    """One clause of `text`, as it stands there."""
    clauses = [each for each in (part.strip() for part in _CLAUSE.split(text)) if each]
    return _pick(tuple(clauses), rng) if clauses else text


def _language(text: str) -> str:
    return "zh" if _ZH.search(text) else "en"


def _pick(words: tuple[str, ...], rng: random.Random) -> str:
    return words[int(rng.random() * len(words))]


def _compose(text: str, rng: random.Random, heads: tuple[str, ...], tails: tuple[str, ...], stop: str = ".") -> str:
    language = _language(text)
    zh = language == "zh"
    clauses = [clause for clause in (part.strip(_ENDING) for part in _CLAUSE.split(text)) if clause]
    if len(clauses) > 1:
        turn = int(rng.random() * len(clauses))
        clauses = clauses[turn:] + clauses[:turn]
    fillers = FILLERS[language]
    for _ in range(2 + len(clauses) // 4):
        at = int(rng.random() * len(clauses)) if clauses else 0
        word = _pick(fillers, rng)
        if not clauses:
            clauses = [word]
        elif not clauses[at].startswith(word):
            clauses[at] = word + clauses[at] if zh else f"{word} {clauses[at]}"
    if heads:
        clauses.insert(0, _pick(heads, rng))
    if tails:
        clauses.append(_pick(tails, rng))
    mark = {".": "。", "?": "？"}[stop] if zh else stop
    return ("，" if zh else ", ").join(clauses) + mark


def _text(name: str, source: str, rng: random.Random) -> str:
    name = name.lower()
    if any(word in name for word in ("question", "prompt", "query", "instruction")):
        return question(source, rng)
    if any(word in name for word in ("answer", "response", "reply", "output")):
        return reply(source, rng)
    if any(word in name for word in ("span", "quote", "evidence")):
        return quotation(source, rng)
    return rewrite(source, rng)


def _fill(schema: Mapping[str, Any], name: str, source: str, rng: random.Random, depth: int) -> Any:
    """A value that follows `schema`, as far as type, enum, const, required, items and bounds go."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][int(rng.random() * len(schema["enum"]))]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema and depth < 8:
            return _fill(schema[choice][0], name, source, rng, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        fields = schema.get("properties", {})
        wanted = schema.get("required", list(fields))
        if depth >= 8:
            return {}
        return {key: _fill(fields.get(key, {}), key, source, rng, depth + 1) for key in wanted}
    if kind == "array":
        count = max(1, int(schema.get("minItems", 1)))
        return [_fill(schema.get("items", {}), name, source, rng, depth + 1) for _ in range(count)]
    simple: dict[str, Callable[[], Any]] = {
        "integer": lambda: int(schema.get("minimum", 0)) + int(rng.random() * 4),
        "number": lambda: float(schema.get("minimum", 0)) + rng.random(),
        "boolean": lambda: rng.random() < 0.5,
        "null": lambda: None,
    }
    if kind in simple:
        return simple[kind]()
    text = _text(name, source, rng)
    return text[: schema["maxLength"]] if "maxLength" in schema else text
