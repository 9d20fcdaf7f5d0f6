"""What LLM generators share: turning a prompt into a request, and an answer into its fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from augment.language import language_of
from augment.records import Request, Row, fingerprint, seed_for

TEXT: Mapping[str, str] = {"type": "string"}
"""A text in an answer's schema, without a length or a pattern: with one, xgrammar (vLLM's decoder) lets no escape into
it, so no line break and no quotation mark, but raw control characters, which are no JSON. Empty ones are dropped."""

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_LABEL = re.compile(
    r"^\s*(?:改写后的?(?:问题|提问)?|改写|问题|回答|答案|Question|Answer|Rewritten question)\s*[：:]\s*", re.I
)
_QUOTES = {"“": "”", '"': '"', "「": "」", "'": "'"}


@dataclass(frozen=True)
class Prompt:
    """A generator's words in one language. `user` has {name} places, filled in one pass: texts may hold braces."""

    name: str
    system: str
    user: str
    fields: tuple[str, ...]

    @property
    def template(self) -> str:
        """The prompt's name and version: a new wording is a new template."""
        return f"{self.name}@{fingerprint(self.system, self.user, self.fields)[:8]}"

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the answer: an object of `TEXT`s."""
        return {
            "type": "object",
            "properties": dict.fromkeys(self.fields, TEXT),
            "required": list(self.fields),
            "additionalProperties": False,
        }

    def request(self, record: Row, generator: str, k: int, base: int, values: Mapping[str, str]) -> Request:
        """The request that puts this prompt, with `values` in its places, about `record`."""
        user = filled(self.user, values)
        return Request(
            record=record.id,
            generator=generator,
            k=k,
            messages=(("system", self.system), ("user", user)),
            template=self.template,
            seed=seed_for(record.id, generator, k, base),
            schema=self.schema,
        )


@dataclass(frozen=True)
class Listing(Prompt):
    """A prompt for a list of `count` strings under the one name in `fields`."""

    count: int = 8

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the answer: an object of one array of `TEXT`s."""
        items = {"type": "array", "items": TEXT, "minItems": self.count}
        return {**super().schema, "properties": {self.fields[0]: {**items, "maxItems": self.count}}}


def filled(template: str, words: Mapping[str, str]) -> str:
    """A template with each {name} replaced by its words, in which braces mean nothing."""
    return re.sub(r"\{(\w+)\}", lambda place: words[place[1]], template)


def enclosed(text: str) -> str:
    """A text that cannot close the tag that it stands in."""
    return re.sub(r"</(?=\s*\w+\s*>)", "＜/", text)


def prompt_for(record: Row, prompts: Mapping[str, Prompt]) -> tuple[str, Prompt]:
    """The language to ask in and its prompt: the record's own when there is one, else English."""
    language = language_of(record.prompt)
    language = language if language in prompts else "en"
    return language, prompts[language]


def in_turn(choices: Sequence[str], record: Row, generator: str, k: int) -> str:
    """The k-th choice, starting at a place that depends on the record, so that rows differ in their first."""
    return choices[(seed_for(record.id, generator, -1) + k) % len(choices)]


def fields_of(text: str, names: Sequence[str]) -> dict[str, str] | None:
    """The named string fields of a JSON answer, also when it is fenced or has prose around it; None when not there."""
    for found in json_in(text):
        if isinstance(found, dict) and all(isinstance(found.get(name), str) for name in names):
            return {name: found[name].strip() for name in names}
    return None


def list_of(text: str, name: str) -> tuple[str, ...]:
    """The strings of a JSON answer's list called `name`, or of a bare list, each once and on one line."""
    for found in json_in(text):
        listed = found.get(name) if isinstance(found, dict) else found
        if isinstance(listed, list):
            lines = (" ".join(each.split()) for each in listed if isinstance(each, str))
            return tuple(dict.fromkeys(each for each in lines if each))
    return ()


def json_in(text: str) -> Iterator[Any]:
    """What may be the JSON of an answer: all of it, what is fenced, and from the first brace to the last."""
    candidates = [text, *(match[1] for match in _FENCE.finditer(text))]
    start, end = text.find("{"), text.rfind("}")
    if 0 <= start < end:
        candidates.append(text[start : end + 1])
    for candidate in candidates:
        try:
            yield orjson.loads(candidate)
        except orjson.JSONDecodeError:
            continue


def plain_text(text: str) -> str | None:
    """A plain answer without the label or quotes around it; None for what looks like broken JSON."""
    stripped = text.strip()
    if stripped.startswith(("{", "[", "```")):
        return None
    stripped = _LABEL.sub("", stripped).strip()
    if len(stripped) > 1 and _QUOTES.get(stripped[0]) == stripped[-1]:
        stripped = stripped[1:-1].strip()
    return stripped
