"""`mixgen`: two pairs as one: pictures seen through each other, captions one after the other; no model needed.

MixGen (Hao et al. 2023, "MixGen: a new multi-modal data augmentation", WACV workshops): λ · one + (1 − λ) · other with
λ = 0.5, and the captions joined. Both are always originals: its published batch form mixes rows that are mixed already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from augment.images.drawn import drawn, picture_reply
from augment.images.stamp import CHANGED
from augment.images.store import pictures
from augment.records import Rejected, Reply, Request, Row, seed_for

VERSION = "1"
_ENDS = ".!?;:,…。！？；：，"


@dataclass(frozen=True)
class MixGen:
    """Two pairs as one: their pictures blended, their captions joined; both parents are kept in the row.

    `weight` is λ, the record's own part of the picture; the other's is cropped about its centre to the same size. A
    label stays where both have the same.
    """

    name: ClassVar[str] = "mixgen"
    needs: ClassVar[tuple[str, ...]] = ("image", "caption")
    adds_facts: ClassVar[bool] = True
    version: ClassVar[str] = VERSION
    modalities: ClassVar[tuple[str, ...]] = ("paired",)
    kind: ClassVar[str] = ""
    looks_at: ClassVar[str] = "partner"
    keeps_label: ClassVar[bool] = True
    heavy: ClassVar[bool] = True
    seed: int = 0
    weight: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """The record's pair mixed with that of its partner, the first of `exemplars`."""
        if not exemplars:
            return Rejected("no other pair to mix with")
        partner = exemplars[0]
        if record.image is None or partner.image is None:
            return Rejected("no picture")
        if not (record.caption or "").strip() or not (partner.caption or "").strip():
            return Rejected("no caption")
        settings = {
            "weight": self.weight,
            "partner": partner.id,
            "caption": joined(record.caption or "", partner.caption or ""),
            "label": record.label if record.label == partner.label else None,
        }
        return Request(
            record=record.id,
            generator=self.name,
            k=k,
            messages=(),
            template=f"{self.name}@{self.version}",
            seed=seed_for(record.id, self.name, k, self.seed),
            engine=self.name,
            model=self.version,
            settings=settings,
            pictures=(record.image, partner.image),
        )

    def answer(self, request: Request) -> Reply:
        """Both pictures of the request, blended.

        Raises:
            RunError: one of them is not in the store.
        """
        from PIL import Image as PILImage
        from PIL import ImageOps

        assert request.settings is not None
        one, other = (pictures().open(each) for each in request.pictures)
        other = ImageOps.fit(other, one.size, PILImage.Resampling.LANCZOS)
        mixed = PILImage.blend(other, one, request.settings["weight"])
        return picture_reply(request, mixed, CHANGED, request.settings)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The mixed pair; boxes and mask, which say where one of two things is, are dropped."""
        found = drawn(reply)
        if isinstance(found, Rejected):
            return found
        told = [found.about.get(each) for each in ("partner", "caption", "label")]
        partner, caption, label = told
        if not isinstance(partner, str) or not isinstance(caption, str) or not isinstance(label, str | None):
            return Rejected("no mixture")
        if not caption.strip():
            return Rejected("no caption")
        return dataclasses.replace(
            record,
            image=found.image,
            pixels=found.pixels,
            width=found.width,
            height=found.height,
            label=label,
            caption=caption,
            mask=None,
            boxes=None,
            partners=(partner,),
        )


def joined(one: str, other: str) -> str:
    """Two captions as one text, with a full stop between them, as the first one's script has it."""
    one, other = one.strip(), other.strip()
    wide = ord(one[-1]) > 0x2E7F  # Chinese and its punctuation
    stop = "" if one[-1] in _ENDS else "。" if wide else "."
    return f"{one}{stop}{'' if wide and ord(other[0]) > 0x2E7F else ' '}{other}"
