"""`img2img`: the picture drawn over, further or less far.

SDEdit (Meng et al. 2022): noise is added to the picture and taken away again, with its class or caption as prompt.
DA-Fusion (Trabucco et al. 2024, "Effective data augmentation with diffusion models") takes strengths from a list, so
that some variants stay close and some go far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from augment.generators.drawing import NO_WORDS, Strengths, asked, strength_of, template_of, words_for
from augment.generators.survival import survivor
from augment.records import Rejected, Reply, Request, Row


@dataclass(frozen=True)
class Img2Img:
    """The picture drawn over with its class or caption as prompt, near or far by a list of strengths (DA-Fusion)."""

    name: ClassVar[str] = "img2img"
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    kind: ClassVar[str] = "image"
    looks_at: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    keeps_label: ClassVar[bool] = False
    adds_facts: ClassVar[bool] = False
    seed: int = 0
    size: int = 512
    steps: int | None = None
    guidance: float | None = None
    strengths: Strengths = (0.25, 0.5, 0.75)
    """Shares of the steps that are run; each variant has one, in turn."""
    form: str = ""
    """What the prompt is, with {label} in it: "an x-ray of a {label}"; else the caption, else "a photo of a …"."""

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """The record's picture drawn over at one of the strengths."""
        prompt = words_for(record, self.form)
        if prompt is None:
            return NO_WORDS
        strength = strength_of(self.strengths, self, record, k)
        template = template_of(self.name, "caption or photo", self.form)
        return asked(self, record, k, template, prompt, image=record.image, strength=strength)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The record with the new picture, its label and caption to be checked; the mask where little was drawn."""
        return survivor(record, reply, "image")
