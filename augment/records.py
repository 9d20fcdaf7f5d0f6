"""Columns, ids, seeds and keys: the one place that knows what a row is.

A dataset row is a `Row` while a generator works on it and a line of a polars frame everywhere else; a
question to an engine is a `Request`, its answer a `Reply`. Every file is written with `SCHEMA`, so that
no column of a published dataset is ever typed null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

CONTENT = ("prompt", "response", "label", "image", "caption")
"""The columns that a generator may write; the others say where a row comes from."""

SCHEMA: dict[str, Any] = {
    "id": pl.String,
    "parents": pl.List(pl.String),
    "source": pl.String,
    "split": pl.String,
    "generator": pl.String,
    "variant": pl.Int64,
    "prompt": pl.String,
    "response": pl.String,
    "label": pl.String,
    "image": pl.String,
    "caption": pl.String,
    "engine": pl.String,
    "model": pl.String,
    "revision": pl.String,
    "template": pl.String,
    "params": pl.String,
    "seed": pl.Int64,
    "reply_key": pl.String,
    "tokens_in": pl.Int64,
    "tokens_out": pl.Int64,
}
VERDICT: dict[str, Any] = {"dropped_by": pl.String, "reason": pl.String, "detail": pl.String}
"""What `rejected.parquet` has besides: who dropped the row, why, and the place or message if there is one."""

REVIEWED: dict[str, Any] = {
    "reviewed": pl.String,
    "reviewed_by": pl.String,
    "reviewed_at": pl.String,
    "edited_from": pl.String,
}
"""What the files of a version have besides once people reviewed an earlier one: "accepted", "edited" or "rejected", by
whom, when (ISO, UTC), and the id that the row had before it was edited."""

PARENT: dict[str, Any] = {"parent_prompt": pl.String, "parent_response": pl.String}
"""A candidate's parent's texts, which filters read; they are not published."""

POSITION: dict[str, Any] = {"_position": pl.Int64, "_candidate": pl.Int64}
"""Where a candidate belongs until it is published: its seed's place in the plan, and its number there."""


@dataclass(frozen=True, slots=True)
class Row:
    """The content of one record, as a generator sees and returns it."""

    id: str
    prompt: str
    response: str | None = None
    label: str | None = None
    image: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A generator's answer that cannot become a row; `reason` is one of a few fixed phrases."""

    reason: str


@dataclass(frozen=True, slots=True)
class Request:
    """One question to an engine: the k-th that `generator` asks about the record called `record`.

    `messages` are (role, content) pairs; `schema` is the JSON schema the answer should follow, or None;
    `template` names the prompt and its version. `engine`, `model` and `revision` say who answers and are
    set by the plan; `key` identifies the answer and nothing else does (see `content_key`).
    """

    record: str
    generator: str
    k: int
    messages: tuple[tuple[str, str], ...]
    template: str
    seed: int
    schema: Mapping[str, Any] | None = None
    temperature: float = 0.9
    top_p: float = 0.95
    max_tokens: int = 1024
    engine: str = ""
    model: str = ""
    revision: str = ""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", content_key(self))

    @property
    def params(self) -> str:
        """The sampling parameters as JSON, for provenance."""
        return orjson.dumps(
            {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        ).decode()


UNUSABLE = "unusable"
"""`finish` of an answer that was paid for and holds nothing to read, however often it was asked."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An engine's answer to the request with the same `key`.

    `finish` is the server's finish reason ("stop", "length", …); `tokens_in` and `tokens_out` count tokens
    as the engine reports them. A request that failed for good has `error` set ("HTTP 400: …") and no text.
    """

    key: str
    text: str
    finish: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    error: str | None = None


def fingerprint(*parts: object) -> str:
    """128 bits, as 32 hex digits, over the JSON form of `parts`; the same on every platform."""
    encoded = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def row_id(prompt: str, response: str | None, label: str | None, image: str | None = None) -> str:
    """A source row's id: 16 hex digits over its content, so that an edited row is a new row."""
    return fingerprint(prompt, response, label, image)[:16]


def variant_id(parent: str, generator: str, k: int, prompt: str, response: str | None) -> str:
    """A generated row's id: 16 hex digits over its origin and content."""
    return fingerprint(parent, generator, k, prompt, response)[:16]


def seed_for(record: str, generator: str, k: int, base: int = 0) -> int:
    """The random seed (31 bits) of the k-th variant that `generator` makes of `record`.

    `base` is the recipe's own seed. All randomness derives from this number.
    """
    return int(fingerprint(record, generator, k, base)[:8], 16) & 0x7FFFFFFF


def content_key(request: Request) -> str:
    """Identity of an answer: engine, model and revision, messages, schema, sampling and seed.

    `max_tokens` is left out on purpose: a complete answer stays valid under a higher limit, and a truncated
    one is asked again because the reply store looks at how it finished.
    """
    return fingerprint(
        request.engine,
        request.model,
        request.revision,
        request.messages,
        request.schema,
        request.temperature,
        request.top_p,
        request.seed,
    )
