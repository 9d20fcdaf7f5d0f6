"""Columns, ids, seeds and keys: the one place that knows what a row is.

A dataset row is a `Row` while a generator works on it and a line of a polars frame everywhere else; a
question to an engine is a `Request`, its answer a `Reply`. Every file is written with `SCHEMA`, so that
no column of a published dataset is ever typed null.
"""

from __future__ import annotations

import dataclasses
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
PICTURE: dict[str, Any] = {
    "pixels": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "mask": pl.String,
    "boxes": pl.String,
    "negative": pl.String,
}
"""What a row of images has besides: the digest of its decoded pixels and its size in pixels, its mask (a picture),
its boxes (JSON, see `augment.images.boxes`), and the id of the row that is its hard negative."""

WRITTEN: dict[str, Any] = {
    "context": pl.String,
    "span": pl.String,
    "messages": pl.String,
    "soft_label": pl.String,
    "confidence": pl.Float64,
}
"""What rows of some text generators have besides (those that they name in `adds`): the passage that a question is about
and the words of it that support the answer, a conversation (JSON, a list of {"role", "content"}), the share of each
label (JSON, adding up to 1), and how sure the label is, from 0 to 1."""

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
    """The content of one record, as a generator sees and returns it.

    `image` and `mask` are names in the picture store (`augment.images.store`); `partners` are the ids of further
    parents of a generated row, those that it was mixed with. The fields of `WRITTEN` are null but in rows that a
    generator made that `adds` them.
    """

    id: str
    prompt: str
    response: str | None = None
    label: str | None = None
    image: str | None = None
    caption: str | None = None
    pixels: str | None = None
    width: int | None = None
    height: int | None = None
    mask: str | None = None
    boxes: str | None = None
    negative: str | None = None
    partners: tuple[str, ...] = ()
    context: str | None = None
    span: str | None = None
    messages: str | None = None
    soft_label: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A generator's answer that cannot become a row; `reason` is one of a few fixed phrases."""

    reason: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a diffusion model is asked to draw. Pictures are named as the picture store names them: by content.

    `kind` is text, image (SDEdit), inpaint, control, instruct or reference. `image` is what is changed, looked at or
    drawn into; `mask` is white where `kind` inpaint draws, which without one draws where `before`, words for what is
    there now, and the prompt differ to the model; `control` steers kind control (edges, a mask, depth).
    `width` and `height` are in pixels, multiples of 16; `strength` from 0 to 1, the share of the steps that are run.
    None of `steps`, `guidance`: the model's own. `adapters` are folders of LoRA weights or textual inversions that the
    engine adds, named by the digest of their files.

    `label`, `caption` and `partners` are what the row will say that is not its parent's: for the generator that reads
    the answer. No engine looks at them.
    """

    kind: str
    prompt: str
    negative: str = ""
    image: str | None = None
    mask: str | None = None
    control: str | None = None
    strength: float | None = None
    guidance: float | None = None
    image_guidance: float | None = None
    steps: int | None = None
    width: int = 512
    height: int = 512
    adapters: tuple[str, ...] = ()
    label: str | None = None
    caption: str | None = None
    partners: tuple[str, ...] = ()
    before: str = ""

    @property
    def pictures(self) -> tuple[str, ...]:
        """The pictures that it is made from."""
        return tuple(each for each in (self.image, self.mask, self.control) if each is not None)


@dataclass(frozen=True, slots=True)
class Request:
    """One question to an engine: the k-th that `generator` asks about the record called `record`.

    `messages` are (role, content) pairs; `schema` is the JSON schema the answer should follow, or None;
    `template` names the prompt and its version. `engine`, `model` and `revision` say who answers and are
    set by the plan; `key` identifies the answer and nothing else does (see `content_key`).

    A picture is asked for with `drawing`, or of a generator that answers itself with `settings`, its own parameters.
    `pictures` are shown with the last message, named as in the picture store.
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
    drawing: Drawing | None = None
    settings: Mapping[str, Any] | None = None
    pictures: tuple[str, ...] = ()
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", content_key(self))

    @property
    def draws(self) -> bool:
        """Whether a picture is asked for, not words."""
        return self.drawing is not None or self.settings is not None

    @property
    def params(self) -> str:
        """The parameters as JSON, for provenance: of sampling, or of what is drawn."""
        if self.drawing is not None:
            told = {
                name: value for name, value in dataclasses.asdict(self.drawing).items() if value not in (None, (), "")
            }
            return orjson.dumps(told).decode()
        if self.settings is not None:
            return orjson.dumps(dict(self.settings)).decode()
        return orjson.dumps(
            {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        ).decode()


FINISHED = frozenset({"stop", "eos", "eos_token", "stop_sequence", "end_turn"})
"""`finish` of a whole answer; any other reply may be half an answer and is never data."""
UNUSABLE = "unusable"
"""`finish` of an answer that was paid for and holds nothing to read, however often it was asked."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An engine's answer to the request with the same `key`.

    `finish` is the server's finish reason ("stop", "length", …); `tokens_in` and `tokens_out` count tokens
    as the engine reports them. A request that failed for good has `error` set ("HTTP 400: …") and no text.

    The answer to a request for a picture has the PNG in `picture` and in `text` what is to be known of it, as JSON
    (see `augment.images.drawn`). The reply store puts the PNG into the picture store under `key`, and gives
    the reply back without it.

    `rung` says how an answer that should follow a schema was asked for: "schema", its decoder was held to it, or
    "prompt". The store does not keep it.
    """

    key: str
    text: str
    finish: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    error: str | None = None
    picture: bytes = field(default=b"", repr=False)
    rung: str = field(default="", compare=False)


def fingerprint(*parts: object) -> str:
    """128 bits, as 32 hex digits, over the JSON form of `parts`; the same on every platform."""
    encoded = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def row_id(prompt: str, response: str | None, label: str | None, image: str | None = None) -> str:
    """A source row's id: 16 hex digits over its content, so that an edited row is a new row."""
    return fingerprint(prompt, response, label, image)[:16]


def picture_row_id(pixels: str, label: str | None, caption: str | None, mask: str | None, boxes: str | None) -> str:
    """The id of a source row that is a picture: 16 hex digits over its pixels and what is said of them."""
    return fingerprint("picture", pixels, label, caption, mask, boxes)[:16]


def variant_id(parent: str, generator: str, k: int, *content: str | None) -> str:
    """A generated row's id: 16 hex digits over its origin and content."""
    return fingerprint(parent, generator, k, *content)[:16]


def made_id(record: Row, generator: str, k: int, made: Row, pictured: bool = False) -> str:
    """The id of what a generator made of a record: of text with the label where that changed, and what was said."""
    told: tuple[str | None, ...] = (made.prompt, made.response)
    if pictured:
        told = (*told, made.pixels, made.label, made.caption)
    elif made.label != record.label:
        told = (*told, made.label)
    if made.messages is not None:
        told = (*told, made.messages)
    return variant_id(record.id, generator, k, *told)


def seed_for(record: str, generator: str, k: int, base: int = 0) -> int:
    """The random seed (31 bits) of the k-th variant that `generator` makes of `record`.

    `base` is the recipe's own seed. All randomness derives from this number.
    """
    return int(fingerprint(record, generator, k, base)[:8], 16) & 0x7FFFFFFF


def content_key(request: Request) -> str:
    """Identity of an answer: engine, model and revision, messages, schema, sampling and seed; or what is drawn.

    `max_tokens` is left out on purpose: a complete answer stays valid under a higher limit, and a truncated
    one is asked again because the reply store looks at how it finished.
    """
    who = (request.engine, request.model, request.revision)
    if request.drawing is not None:
        return fingerprint(*who, dataclasses.asdict(request.drawing), request.seed)
    if request.settings is not None:
        return fingerprint(*who, request.settings, request.pictures, request.seed)
    return fingerprint(
        *who,
        request.messages,
        request.schema,
        request.temperature,
        request.top_p,
        request.seed,
        *([request.pictures] if request.pictures else []),
    )
