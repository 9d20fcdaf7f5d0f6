"""What the generators that ask an engine to draw share: a record on its canvas as a request, and who reads the reply.

A picture that is made from its parent has the parent's shape; one that is made from words alone is square. The longer
side is the recipe's `--size`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field

from augment.generators.scenes import language_for, photo_of
from augment.images.canvas import canvas_for
from augment.records import Drawing, Rejected, Request, Row, fingerprint, seed_for

Strengths = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)]
"""What a setting of strengths holds."""
NO_PICTURE = Rejected("no picture to draw from")
NO_LABEL = Rejected("no label")
NO_WORDS = Rejected("neither label nor caption")


class Draws(Protocol):
    """A generator that draws: its name, and the fields that the recipe fills."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def guidance(self) -> float | None: ...


def asked(generator: Draws, record: Row, k: int, template: str, prompt: str, **more: Any) -> Request | Rejected:
    """The k-th request for a drawing about `record`; `more` are further fields of the `Drawing`."""
    width = height = generator.size
    if generator.kind != "text":
        if record.image is None or not record.width or not record.height:
            return NO_PICTURE
        width, height = canvas_for(record.width, record.height, generator.size).size
    drawing = Drawing(
        generator.kind, prompt, steps=generator.steps, guidance=generator.guidance, width=width, height=height, **more
    )
    return Request(
        record=record.id,
        generator=generator.name,
        k=k,
        messages=(),
        template=template,
        seed=seed_for(record.id, generator.name, k, generator.seed),
        drawing=drawing,
    )


def template_of(name: str, *words: object) -> str:
    """The name and version of words that are written here: other words are another template."""
    return f"{name}@{fingerprint(*words)[:8]}"


def words_for(record: Row, form: str) -> str | None:
    """What a picture shows, in words: `form` about its label, else its caption, else a photo of its label."""
    if record.label and form:
        return photo_of(record.label, form)
    return record.caption or (photo_of(record.label) if record.label else None)


def strength_of(strengths: Sequence[float], generator: Draws, record: Row, k: int) -> float:
    """One of the strengths: each in turn, from a place that depends on the record, so that no record has one alone."""
    return strengths[(seed_for(record.id, generator.name, -2, generator.seed) + k) % len(strengths)]


def language_about(record: Row) -> str:
    """The language that a record's picture is spoken of in."""
    return language_for(record.caption or record.label or "")


def continued(caption: str, ending: str) -> str:
    """A caption with something more at its end: "a cat, at night", "一只猫，夜晚"."""
    return f"{caption.rstrip(' .。，,')}{'，' if language_for(caption) == 'zh' else ', '}{ending}"
