"""`text2image`: a new picture of a record's class, drawn from the words of a scene.

TTIDA (Yin et al. 2023, "TTIDA: Controllable generative data augmentation via text-to-text and text-to-image models"): a
language model writes what a text-to-image model draws. The class is in the words, so the label is known; it is checked
all the same, since a model may not draw what it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from augment.generators.drawing import NO_LABEL, asked
from augment.generators.survival import survivor
from augment.generators.written import ask_for_scenes, scene
from augment.records import Rejected, Reply, Request, Row


@dataclass(frozen=True)
class Text2Image:
    """A new picture of the class, drawn from words: scenes by the LLM if there is one, else by templates (TTIDA)."""

    name: ClassVar[str] = "text2image"
    modalities: ClassVar[tuple[str, ...]] = ("image",)
    kind: ClassVar[str] = "text"
    looks_at: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ("label",)
    needs_llm: ClassVar[bool] = False
    keeps_label: ClassVar[bool] = False
    adds_facts: ClassVar[bool] = False
    seed: int = 0
    size: int = 512
    steps: int | None = None
    guidance: float | None = None
    form: str = ""
    """How a prompt begins, with {label} in it: "a satellite image of a {label}"; else "a photo of a …"."""

    def draft(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """Ask for scenes of the record's class: a page of them, once for all its records."""
        return ask_for_scenes(self, record, record.label, k) if record.label else NO_LABEL

    def drafted(self, record: Row, k: int, exemplars: Sequence[Row], draft: Reply | None) -> Request | Rejected:
        """The k-th scene as a drawing: from the page that was written, or from a template."""
        if not record.label:
            return NO_LABEL
        found = scene(self, record, record.label, k, draft)
        return found if isinstance(found, Rejected) else asked(self, record, k, *found)

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """The k-th scene from a template, as a drawing."""
        return self.drafted(record, k, exemplars, None)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The class with the new picture, its words as caption; no box and no mask."""
        return survivor(record, reply, "text")
