"""The chat-completions dialect of one server: what is sent, what comes back, what it does not understand.

Servers differ in which fields they accept. The first refusal of a field changes the dialect for good, with
one log line, and the request is asked again without it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from augment.records import Reply, Request

log = logging.getLogger(__name__)

SCHEMA_PROMPT = "\n\nAnswer with one JSON object and nothing else. It follows this JSON schema:\n"
"""Added to the last message where the server cannot constrain its decoder."""
MOST_TOKENS = 2**31 - 1
"""What a nonsensical usage report is cut to: fits any integer column."""

_DECODER_WORDS = re.compile(
    r"response[_ ](?:format|schema)|json[_ ]schema|guided[_ ](?:json|decod|gramm|generat)"
    r"|structured[_ -]?(?:output|decod|generat)|\bx?grammar\b",
    re.IGNORECASE,
)
_REFUSED_WORDS = re.compile(
    r"support|unavailable|not available|invalid|must be|should be|requires?\b|unrecogni|unknown|unexpected|extra"
    r"|permitted|allowed|fail|cannot|error",
    re.IGNORECASE,
)
_UNKNOWN_WORDS = re.compile(r"unsupported|support|unrecogni|unknown|unexpected|extra|permitted|allowed", re.I)
_SIGHT = r"(?:image|vision|multi-?modal)(?! ?(?:size|format|dimension|resolution|file))"
_BLIND_WORDS = re.compile(
    r"not (?:a )?multi-?modal|mmproj|at most 0 image|variant [`'\"]?image|missing data required for image"
    r"|no (?:vision|image) (?:support|input|encoder)|(?:valid|be a) string"
    rf"|{_SIGHT}[\w\s`'\"-]{{0,40}}\b(?:not|only|cannot be|isn't|aren't) (?:\w+ )?(?:support|enabled|allow|accept)"
    rf"|(?:not|n't|un|cannot) ?(?:support|accept|enable)[\w\s`'\"-]{{0,40}}{_SIGHT}",
    re.IGNORECASE,
)
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_SPACE = re.compile(r"\s+")


class Unusable(Exception):
    """A 200 whose body holds no answer."""


class Dialect:
    """How to speak to one server. `structured`: its decoder follows a JSON schema, as far as we know."""

    def __init__(self, model: str, secret: str = "") -> None:
        self.structured = True
        self.version = 0
        self._model = model
        self._secret = secret  # kept out of whatever the server says
        self._limit = "max_tokens"
        self._dropped: set[str] = set()

    def encode(self, request: Request) -> bytes:
        """The body for `request`.

        Raises:
            RunError: a picture that is to be shown is not in the store.
        """
        messages: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in request.messages]
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "temperature": request.temperature,
            "top_p": request.top_p,
            self._limit: request.max_tokens,
            "seed": request.seed,
        }
        for name in self._dropped:
            del body[name]
        if request.schema is not None:
            if self.structured:
                name = _NOT_A_NAME.sub("_", request.generator)[:64] or "answer"
                schema = {"name": name, "schema": request.schema, "strict": True}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
            else:
                text = orjson.dumps(request.schema, default=dict).decode()
                messages[-1] = {**messages[-1], "content": messages[-1]["content"] + SCHEMA_PROMPT + text}
        if request.pictures:
            _show(messages, request.pictures)
        return orjson.dumps(body, default=dict)

    def adapt(self, request: Request, status: int, message: str, version: int) -> bool:
        """Whether to ask again after a refusal: the dialect has changed since `version`, or changes now."""
        if status not in (400, 422, 501):
            return False
        if version != self.version:
            return True
        if self.structured and request.schema is not None and _no_decoder(message):
            self.structured = False
            self._changed("no JSON schema in the decoder: the schema goes into the prompt", message)
        elif self._limit == "max_tokens" and "max_completion_tokens" in message:
            self._limit = "max_completion_tokens"
            self._changed("max_completion_tokens instead of max_tokens", message)
        else:
            if not _UNKNOWN_WORDS.search(message):
                return False
            for name in ("seed", "top_p", "temperature"):
                if name not in self._dropped and re.search(rf"\b{name}\b", message):
                    self._dropped.add(name)
                    self._changed(f"no {name}: the server decides", message)
                    break
            else:
                return False
        return True

    def _changed(self, what: str, message: str) -> None:
        self.version += 1
        log.warning("asking with %s from here on (the server says: %s)", what, message)

    def read(self, request: Request, raw: bytes, structured: bool) -> Reply:
        """The reply in the body of a 200; `structured`: a schema, if any, went to the decoder.

        Raises:
            Unusable: it is not JSON, or holds no answer.
        """
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise Unusable("not JSON" if raw else "an empty body") from None
        try:
            choice = data["choices"][0]
            text = choice["message"].get("content")
            finish = choice.get("finish_reason") or "stop"
        except (KeyError, IndexError, TypeError, AttributeError):
            told = isinstance(data, dict) and "error" in data
            raise Unusable(complaint(raw, self._secret) if told else "no choices") from None
        if text is None:
            if choice["message"].get("refusal"):
                finish = "content_filter"
            if finish not in ("content_filter", "length"):
                raise Unusable("no content")
            text = ""
        if not isinstance(text, str) or not isinstance(finish, str):
            raise Unusable("content that is not text")
        rung = "" if request.schema is None else "schema" if structured else "prompt"
        usage = data.get("usage")
        if not isinstance(usage, dict):
            usage = {}
        paid = tokens(usage.get("prompt_tokens")), tokens(usage.get("completion_tokens"))
        return Reply(request.key, text, finish, *paid, rung=rung)


def _show(messages: list[dict[str, Any]], names: Sequence[str]) -> None:
    """Puts the pictures before what the user says last."""
    from augment.images.shown import shown

    last = next((at for at in reversed(range(len(messages))) if messages[at]["role"] == "user"), len(messages) - 1)
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": shown(name)}} for name in names]
    parts.append({"type": "text", "text": messages[last]["content"]})
    messages[last] = {**messages[last], "content": parts}


def blind(request: Request, status: int, message: str) -> bool:
    """Whether a refusal says that the model looks at no pictures; not that it cannot use one of them."""
    return bool(request.pictures) and status in (400, 415, 422, 500, 501) and bool(_BLIND_WORDS.search(message))


def _no_decoder(message: str) -> bool:
    """Whether a refusal is about constraining the decoder, not about a request that happens to have a schema."""
    return bool(_DECODER_WORDS.search(message) and _REFUSED_WORDS.search(message))


def tokens(told: Any) -> int:
    """A number of tokens as a server reports it: a small natural number whatever it says."""
    return min(max(told, 0), MOST_TOKENS) if type(told) is int else 0


def complaint(raw: bytes, secret: str = "") -> str:
    """What an error body says, on one line of at most 200 characters, without `secret`."""
    found: Any = None
    try:
        data = orjson.loads(raw)
        if isinstance(data, Mapping):
            found = data.get("error") or data.get("message") or data.get("detail")
            if isinstance(found, Mapping):
                found = found.get("message") or found.get("type")
    except orjson.JSONDecodeError:
        pass
    if found is None:
        found = raw.decode("utf-8", "replace")
    text = found if isinstance(found, str) else orjson.dumps(found).decode()
    if secret:  # before anything is cut: half a key is no "***"
        text = text.replace(secret, "***")
    text = _SPACE.sub(" ", text[:2000]).strip()
    return text if len(text) <= 200 else text[:199] + "…"
