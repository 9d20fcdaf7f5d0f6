"""`subject`: a new picture of the very thing that `augment subject` taught the model, drawn from the words of a scene.

Ruiz et al. 2023, "DreamBooth: Fine tuning text-to-image diffusion models for subject-driven generation"; Gal et al.
2023, "An image is worth one word". The prompt calls the subject by its token, the caption by its noun.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from augment.generators.drawing import asked
from augment.generators.scenes import language_for, spoken
from augment.generators.survival import survivor
from augment.generators.written import ask_for_scenes, scene
from augment.images.drawn import drawn
from augment.images.subjects import Subject
from augment.records import Rejected, Reply, Request, Row

NO_SUBJECT = Rejected("no subject of this label")


@dataclass(frozen=True)
class SubjectDriven:
    """The subject that the model was taught, in a new scene by the LLM if there is one, else by templates (DreamBooth).

    A record gets the subject of its label (what `augment subject --label` said, else its noun), or those of its label
    in turn; one without a label gets all in turn.
    """

    name: ClassVar[str] = "subject"
    modalities: ClassVar[tuple[str, ...]] = ("image",)
    kind: ClassVar[str] = "text"
    looks_at: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    needs_llm: ClassVar[bool] = False
    keeps_label: ClassVar[bool] = False
    adds_facts: ClassVar[bool] = False
    form: ClassVar[str] = ""
    seed: int = 0
    size: int = 512
    steps: int | None = None
    guidance: float | None = None
    subjects: tuple[Subject, ...] = ()

    def draft(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """Ask for scenes of the subject's noun: a page of them, once for all records."""
        found = self._of(record, k)
        return ask_for_scenes(self, record, found.noun, k) if found else NO_SUBJECT

    def drafted(self, record: Row, k: int, exemplars: Sequence[Row], draft: Reply | None) -> Request | Rejected:
        """The k-th scene as a drawing: from the page that was written, or from a template."""
        found = self._of(record, k)
        if found is None:
            return NO_SUBJECT
        made = scene(self, record, found.noun, k, draft)
        if isinstance(made, Rejected):
            return made
        template, caption = made
        more = {"adapters": (found.digest,), "label": found.label, "caption": caption}
        return asked(self, record, k, template, named(caption, found), **more)

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """The k-th scene from a template, as a drawing."""
        return self.drafted(record, k, exemplars, None)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The record with the subject's picture, the scene as caption; no box and no mask."""
        row, found = survivor(record, reply, "subject"), drawn(reply)
        if isinstance(row, Rejected) or isinstance(found, Rejected) or found.drawing is None:
            return row
        return dataclasses.replace(row, label=row.label or found.drawing.label)

    def _of(self, record: Row, k: int) -> Subject | None:
        """The record's k-th subject: of those of its label, one after the other."""
        fitting = [each for each in self.subjects if record.label is None or fits(each, record.label)]
        return fitting[k % len(fitting)] if fitting else None


def fits(subject: Subject, label: str) -> bool:
    """Whether a picture of the subject is one of that class."""
    return _plain(subject.label or subject.noun) == _plain(label)


def named(scene: str, subject: Subject) -> str:
    """A scene of its class with the subject's own name in it: "a dog on a step" is "sks dog on a step"."""
    noun = re.escape(spoken(subject.noun))
    pattern = noun if language_for(subject.noun) == "zh" else rf"\b(?:(?:an?|the|one)\s+)?{noun}\b"
    found, count = re.subn(pattern, lambda _: subject.name, scene, count=1, flags=re.IGNORECASE)
    if count:
        return found
    return f"{subject.name}，{scene}" if language_for(scene) == "zh" else f"{subject.name}, {scene}"


def _plain(label: str) -> str:
    return spoken(label).casefold()
