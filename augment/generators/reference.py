"""`reference`: the record's subject in another scene, after its picture and in the words of the scene.

The picture is given beside the prompt, as IP-Adapter (Ye et al. 2023) and models that take reference pictures do.
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
class Reference:
    """The picture's subject in another scene, drawn after picture and words (IP-Adapter, reference pictures)."""

    name: ClassVar[str] = "reference"
    modalities: ClassVar[tuple[str, ...]] = ("image",)
    kind: ClassVar[str] = "reference"
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
    """How a prompt begins, with {label} in it; else "a photo of a …"."""

    def draft(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """Ask for scenes of the record's class: a page of them, once for all its records."""
        return ask_for_scenes(self, record, record.label, k) if record.label else NO_LABEL

    def drafted(self, record: Row, k: int, exemplars: Sequence[Row], draft: Reply | None) -> Request | Rejected:
        """The k-th scene as a drawing after the record's picture."""
        if not record.label:
            return NO_LABEL
        found = scene(self, record, record.label, k, draft)
        return found if isinstance(found, Rejected) else asked(self, record, k, *found, image=record.image)

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """The k-th scene from a template, as a drawing after the record's picture."""
        return self.drafted(record, k, exemplars, None)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The record with the new picture, its label to be checked, the scene as caption; no box and no mask."""
        return survivor(record, reply, "reference")
