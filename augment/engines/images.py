"""The images dialect of one server: what is sent, what comes back, what it does not understand.

vLLM-Omni, SGLang and hosted APIs share the addresses and differ in the fields. The first refusal of a field changes
the dialect for good, with one log line, and each picture says what it was drawn without.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from augment.engines.chat import Unusable, complaint, tokens
from augment.images.inputs import Inputs
from augment.images.stamp import plain
from augment.records import Drawing, Request

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

FIELDS = (
    *("seed", "negative_prompt", "num_inference_steps", "guidance_scale", "true_cfg_scale", "image_guidance_scale"),
    *("strength", "mask_image", "output_format", "response_format", "size"),
)
"""What may be left out, in the order in which a complaint is searched for them."""
WITHHELD = frozenset({"content_policy_violation", "moderation_blocked", "content_filter"})
"""Codes of a refusal that is about what would be seen."""
_REFUSED_WORDS = re.compile(
    r"support|unrecogni|unknown|unexpected|extra|permitted|allowed|invalid value|must be one of|literal_error", re.I
)
_TOO_MUCH = re.compile(r"exceed|maximum|minimum|less than|greater than|too (?:large|small|long|many)", re.I)
"""Not the field, but this value of it."""


@dataclass(frozen=True, slots=True)
class Told:
    """A 200's picture: its bytes or the address where it is, the prompt that it was drawn from instead, tokens."""

    raw: bytes
    url: str
    revised: str
    tokens_in: int
    tokens_out: int


class Dialect:
    """How to ask one server for pictures. `declared`: all fields that it says it reads; None where it does not say."""

    def __init__(self, model: str, secret: str = "", declared: Collection[str] | None = None) -> None:
        self.version = 0
        self._model = model
        self._secret = secret  # kept out of whatever the server says
        self._declared = declared
        self._left_out: set[str] = set()

    def left_out(self, drawing: Drawing) -> list[str]:
        """What of the drawing is not said to this server."""
        return [name for name in FIELDS if name in self._left_out and name in self._wanted(drawing)]

    def fields(self, request: Request, drawing: Drawing, inputs: Inputs) -> dict[str, Any]:
        """What is said about a drawing, besides its pictures."""
        wanted = self._wanted(drawing) | {"seed": request.seed}
        for name in wanted:
            if self._declared is not None and name not in self._declared and name not in self._left_out:
                self._leave_out(name, "it is not among the fields that it lists")
        width, height = inputs.canvas.size
        fields = {
            "model": self._model,
            "prompt": drawing.prompt,
            "n": 1,
            "size": f"{width}x{height}",
            "response_format": "b64_json",
            "output_format": "png",
            **wanted,
            **({} if inputs.mask is None else {"mask_image": ""}),
        }
        return {name: value for name, value in fields.items() if name not in self._left_out}

    def _wanted(self, drawing: Drawing) -> dict[str, Any]:
        """What of a drawing a server may not know. Qwen-Image calls the guidance that others know differently."""
        guidance = "true_cfg_scale" if "qwen" in self._model.lower() else "guidance_scale"
        wanted = {
            "seed": 0,  # of the request
            "negative_prompt": drawing.negative or None,
            "num_inference_steps": drawing.steps,
            guidance: drawing.guidance,
            "image_guidance_scale": drawing.image_guidance,
            "strength": drawing.strength,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def adapt(self, status: int, raw: bytes, message: str, version: int) -> bool:
        """Whether to ask again after a refusal: the dialect has changed since `version`, or changes now."""
        if status not in (400, 422, 501):
            return False
        if version != self.version:
            return True
        if _TOO_MUCH.search(message):
            return False
        named = _parameter(raw)
        if named == "mask_image":
            self._leave_out(named, message)
            return True
        if not _REFUSED_WORDS.search(message):
            return False
        candidates = FIELDS if named is None else (named,)
        for name in candidates:
            if name in FIELDS and name not in self._left_out and re.search(rf"\b{name}\b", f"{named} {message}"):
                self._leave_out(name, message)
                return True
        return False

    def _leave_out(self, name: str, message: str) -> None:
        self._left_out.add(name)
        self.version += 1
        then = ": the pictures cannot be drawn again the same" if name == "seed" else ""
        log.warning("asking without %s from here on%s (the server says: %s)", name, then, message)

    def read(self, raw: bytes) -> Told:
        """What the body of a 200 holds.

        Raises:
            Unusable: it is not JSON, or holds no picture and no address of one.
        """
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise Unusable("not JSON" if raw else "an empty body") from None
        try:
            first = data["data"][0]
            coded, url = first.get("b64_json"), first.get("url")
        except (KeyError, IndexError, TypeError, AttributeError):
            told = isinstance(data, dict) and "error" in data
            raise Unusable(complaint(raw, self._secret) if told else "no picture") from None
        if isinstance(url, str) and url.startswith("data:"):
            coded, url = url, None
        if not isinstance(coded, str) or not coded:
            if isinstance(url, str) and url:
                return Told(b"", url, *_more(data, first))
            raise Unusable("no picture")
        try:
            found = base64.b64decode(coded.partition(",")[2] if coded.startswith("data:") else coded, validate=True)
        except (binascii.Error, ValueError):
            raise Unusable("a picture that is not in base64") from None
        return Told(found, "", *_more(data, first))


def withheld(raw: bytes) -> bool:
    """Whether a refusal is about what would be seen, not about how it was asked for."""
    error = _error(raw)
    return bool(WITHHELD & {error.get("code"), error.get("type")})


def _error(raw: bytes) -> Mapping[str, Any]:
    try:
        error = orjson.loads(raw)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    if not isinstance(error, dict):
        return {}
    return {name: value for name, value in error.items() if isinstance(value, str)}


def _parameter(raw: bytes) -> str | None:
    """The field that a refusal names: OpenAI's `param`, or the end of pydantic's `loc`."""
    if param := _error(raw).get("param"):
        return str(param)
    try:
        where = orjson.loads(raw)["detail"][0]["loc"][-1]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return None
    return where if isinstance(where, str) else None


def _more(data: Mapping[str, Any], first: Mapping[str, Any]) -> tuple[str, int, int]:
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    revised = first.get("revised_prompt")
    return (
        revised if isinstance(revised, str) else "",
        tokens(usage.get("input_tokens")),
        tokens(usage.get("output_tokens")),
    )


def form(fields: Mapping[str, Any], inputs: Inputs, key: str) -> tuple[bytes, str]:
    """The body that asks for a picture from pictures, the same bytes for the same content; and its content type."""
    assert inputs.image is not None
    fields, files = dict(fields), {"image": plain(inputs.image)}
    if inputs.mask is not None:
        files["mask"] = _both_ways(inputs.mask)
        if "mask_image" in fields:
            fields["mask_image"] = "data:image/png;base64," + base64.b64encode(plain(inputs.mask)).decode()
    return _multipart(fields, files, f"augment-{key}")


def _both_ways(mask: Image) -> bytes:
    """A mask as all servers read it: white, and for OpenAI's transparent, where it is drawn."""
    from PIL import ImageOps

    both = mask.convert("RGB")
    both.putalpha(ImageOps.invert(mask.convert("L")))
    file = io.BytesIO()
    both.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _multipart(fields: Mapping[str, Any], files: Mapping[str, bytes], boundary: str) -> tuple[bytes, str]:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, raw in files.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.png"\r\n'
        parts += [head.encode(), b"Content-Type: image/png\r\n\r\n", raw, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
