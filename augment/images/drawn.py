"""What is known of a generated picture: the text of a reply that brings one, written by engines, read by generators."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from augment.images.pictures import MOST_PIXELS, pixels_of
from augment.images.stamp import stamped
from augment.records import Drawing, Rejected, Reply, Request

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Drawn:
    """A generated picture: its name in the store, the digest of its pixels, its size, and what it was made of.

    `drawing` is what an engine was asked for; `about` whatever else its maker says: `boxes`, `mask`, `caption`, … of
    a generator that answers itself, `batch` and `threads` of an engine.
    """

    image: str
    pixels: str
    width: int
    height: int
    drawing: Drawing | None
    about: Mapping[str, Any]


def picture_reply(request: Request, picture: Image, source: str, about: Mapping[str, Any] | None = None) -> Reply:
    """The reply that brings `picture`, as a PNG with its recipe. `source` is one of `augment.images.stamp`'s types.

    What is in `about` goes into the reply's text, not into the file: the file holds only what decides its pixels.
    """
    recipe = {
        "generator": request.generator,
        "variant": request.k,
        "parent": request.record,
        "engine": request.engine,
        "model": request.model,
        "revision": request.revision,
        "template": request.template,
        "seed": request.seed,
        "key": request.key,
        "params": orjson.loads(request.params),
        **({"pictures": request.pictures} if request.pictures else {}),
    }
    told = {
        "pixels": pixels_of(picture),
        "width": picture.width,
        "height": picture.height,
        "drawing": request.drawing and dataclasses.asdict(request.drawing),
        "about": dict(about or {}),
    }
    return Reply(request.key, orjson.dumps(told).decode(), picture=stamped(picture, recipe, source))


def drawn(reply: Reply) -> Drawn | Rejected:
    """What a reply says of its picture; Rejected where it says nothing that can be read."""
    try:
        told = orjson.loads(reply.text)
        found = Drawn(
            reply.key, told["pixels"], told["width"], told["height"], _drawing(told["drawing"]), told["about"]
        )
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Rejected("no picture")
    sizes = type(found.width) is int and type(found.height) is int and 0 < found.width * found.height <= MOST_PIXELS
    whole = sizes and found.width > 0 and isinstance(found.pixels, str) and isinstance(found.about, dict)
    return found if whole else Rejected("no picture")


def _drawing(told: Any) -> Drawing | None:
    if told is None:
        return None
    found = Drawing(**{**told, "adapters": tuple(told["adapters"]), "partners": tuple(told["partners"])})
    words = [found.kind, found.prompt, found.before, *found.adapters, *found.partners]
    words += [each for each in (found.label, found.caption) if each is not None]
    numbers = [found.width, found.height, 0 if found.strength is None else found.strength]
    if not (all(isinstance(each, str) for each in words) and all(isinstance(each, int | float) for each in numbers)):
        raise TypeError("no drawing")
    return found
