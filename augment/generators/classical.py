"""`classical`: a picture turned, cut, coloured, blurred a little, and so on; no model needed.

A variant always moves the pixels where it may (by `affine` or `crop`): a picture that is only lighter is, to a hash of
what is seen, a duplicate. What else is done to it is drawn. Nothing is drawn that would make untrue what is said of the
picture: nothing is mirrored that names a side or shows text, no colour turned that is named, no box cut off.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from augment.images.boxes import read_boxes, write_boxes
from augment.images.drawn import drawn, picture_reply
from augment.images.operations import MOVING, Op, changed, hole_of, matrix_of, moved_boxes, moved_mask
from augment.images.stamp import CHANGED
from augment.images.store import pictures
from augment.images.wording import coloured, lit, one_sided
from augment.records import Rejected, Reply, Request, Row, seed_for

Name = Literal["affine", "crop", "flip", "colour", "grey", "blur", "noise", "jpeg", "cutout"]
WEIGHTS: dict[str, float] = {
    "affine": 6,
    "crop": 4,
    "flip": 4,
    "colour": 6,
    "grey": 0.3,
    "blur": 1,
    "noise": 1.5,
    "jpeg": 1.5,
    "cutout": 2,
}
"""How often each is drawn, next to the others."""
MOVED_FIRST = ("affine", "crop")
ORDER = ("flip", "affine", "crop", "colour", "grey", "blur", "noise", "jpeg", "cutout")
"""As when a picture is taken: where the camera stands, the light, the lens, the film, the file."""
DEGREES, SCALES, SHEAR, SHIFT = 15.0, (0.95, 1.2), 0.1, 0.06
SIDES = (0.72, 0.9)
"""The share of each side that a crop leaves."""
FACTOR, SATURATION, HUE = 0.25, 0.35, 10.0
BLUR, NOISE, QUALITY, HOLE = (0.001, 0.002), (3.0, 6.0), (30, 75), (0.15, 0.3)
SEEN, COVERED = 0.75, 0.25
"""The share of a small box's area that a movement leaves in the picture, and that a hole covers at most."""
GONE = ""
"""In the place of a mask's name: too little of it is seen."""
TRIES = 12
STEPS = (0.7548776662466927, 0.5698402909980532)
"""From one variant's movement to the next one's: any number of them is spread evenly (Roberts' sequence R2)."""
VERSION = "1"


@dataclass(frozen=True)
class Classical:
    """The picture turned, moved, cropped, mirrored, in other light, blurred, noisy; boxes and masks move along.

    `magnitude` scales how far each of `ops` goes; 1 leaves every picture easy to recognise. `flip=false` is for
    pictures whose left and right matter (digits, text, traffic signs) without their labels saying so.
    """

    name: ClassVar[str] = "classical"
    needs: ClassVar[tuple[str, ...]] = ("image",)
    adds_facts: ClassVar[bool] = False
    version: ClassVar[str] = VERSION
    modalities: ClassVar[tuple[str, ...]] = ("image", "paired")
    kind: ClassVar[str] = ""
    looks_at: ClassVar[str] = ""
    keeps_label: ClassVar[bool] = True
    heavy: ClassVar[bool] = True
    seed: int = 0
    ops: Annotated[tuple[Name, ...], Field(min_length=1)] = (
        *("affine", "crop", "flip", "colour", "grey"),
        *("blur", "noise", "jpeg", "cutout"),
    )
    magnitude: Annotated[float, Field(gt=0, le=2)] = 1.0
    flip: bool = True

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """What is done for the k-th variant, as numbers."""
        if record.image is None:
            return Rejected("no picture")
        seed = seed_for(record.id, self.name, k, self.seed)
        ops = self._drawn(record, k, random.Random(seed))
        if not ops:
            return Rejected("every operation would make untrue what is said of it")
        return Request(
            record=record.id,
            generator=self.name,
            k=k,
            messages=(),
            template=f"{self.name}@{self.version}",
            seed=seed,
            engine=self.name,
            model=self.version,
            settings={"ops": [list(op) for op in ops]},
            pictures=(record.image,) if record.mask is None else (record.image, record.mask),
        )

    def answer(self, request: Request) -> Reply:
        """The picture after the request's operations; with it, the mask's name.

        Raises:
            RunError: the picture is not in the store, or the mask cannot be kept there.
        """
        assert request.settings is not None
        ops: list[Op] = request.settings["ops"]
        shown, *masks = request.pictures
        about: dict[str, Any] = {"ops": ops}
        if masks:
            about["mask"] = _kept_mask(masks[0], ops)
        return picture_reply(request, changed(pictures().open(shown), ops), CHANGED, about)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The record with the changed picture, its boxes and mask moved; label and caption are as they were."""
        found = drawn(reply)
        if isinstance(found, Rejected):
            return found
        mask = found.about.get("mask")
        if mask == GONE:
            return Rejected("its object is no longer seen")
        try:
            ops = found.about["ops"]
            boxes = record.boxes
            if any(op[0] in MOVING for op in ops):
                boxes = write_boxes(moved_boxes(read_boxes(boxes), ops, found.width, found.height))
        except (KeyError, TypeError, ValueError, ArithmeticError, IndexError):
            return Rejected("no operations")
        if not isinstance(mask, str | None):
            return Rejected("no mask")
        return dataclasses.replace(
            record,
            image=found.image,
            pixels=found.pixels,
            width=found.width,
            height=found.height,
            mask=mask,
            boxes=boxes,
        )

    def _drawn(self, record: Row, k: int, rng: random.Random) -> list[Op]:
        """One to three operations, in order; none where none is allowed."""
        ground = random.Random(seed_for(record.id, self.name, 0, self.seed))
        at = tuple((ground.random() + k * step) % 1 for step in STEPS)
        said = (record.label, record.caption, *(box.label for box in read_boxes(record.boxes)))
        left = [name for name in WEIGHTS if name in self.ops and self._allowed(name, said)]
        count = 1 + int(rng.random() * 2.999)
        ops: list[Op] = []
        while left and len(ops) < count:
            first = [name for name in left if name in MOVED_FIRST]
            name = _pick(first or left, rng)
            for tried in range(TRIES):
                here = at if tried < TRIES / 2 else (rng.random(), rng.random())
                more = sorted([*ops, self._numbers(name, record, said, here, rng)], key=lambda op: ORDER.index(op[0]))
                if not _spoils(more, record):
                    ops = more
                    break
            spent = MOVED_FIRST if ops and name in MOVED_FIRST else (name,)
            left = [each for each in left if each not in spent]
        return ops

    def _allowed(self, name: str, said: Sequence[str | None]) -> bool:
        if name == "flip":
            return self.flip and not one_sided(said)
        return name != "grey" or not coloured(said)

    def _numbers(
        self, name: str, record: Row, said: Sequence[str | None], at: tuple[float, ...], rng: random.Random
    ) -> Op:
        """An operation with numbers drawn for this record; `at` is where in its range a movement is."""
        much = self.magnitude

        def between(low: float, high: float, at: float | None = None) -> float:
            return low + (high - low) * (rng.random() if at is None else at)

        def either(most: float, least: float = 0.0, at: float | None = None) -> float:
            side = rng.random() if at is None else at
            far = between(least, 1, 2 * abs(side - 0.5) if at is not None else None)
            return round(far * most * much * (-1 if side < 0.5 else 1), 4)

        if name == "affine":
            # a long picture turned about its centre swings out of its short sides
            width, height = record.width or 1, record.height or 1
            slim = min(width, height) / max(width, height)
            degrees = min(DEGREES, math.degrees(math.atan(0.4 * slim)))
            scale = round(math.exp(much * between(*(math.log(each) for each in SCALES))), 4)
            shear = SHEAR * min(1.0, width / height)
            return ("affine", either(degrees, 0.3, at[0]), scale, either(shear), either(SHIFT, at=at[1]), either(SHIFT))
        if name == "crop":
            wide, high = (round(1 - much * (1 - between(*SIDES)), 4) for _ in "xy")
            return ("crop", round(between(0, 1 - wide, at[0]), 4), round(between(0, 1 - high, at[1]), 4), wide, high)
        if name == "colour":
            named = coloured(said)
            light = 1.0 if lit(said) else _factor(either(FACTOR, 0.3))
            saturation, hue = (1.0, 0.0) if named else (_factor(either(SATURATION)), either(HUE))
            return ("colour", light, _factor(either(FACTOR)), saturation, hue)
        if name == "blur":
            return ("blur", round(much * between(*BLUR), 5))
        if name == "noise":
            return ("noise", round(much * between(*NOISE), 2), int(rng.random() * 2**31))
        if name == "jpeg":
            return ("jpeg", max(5, round(100 - much * (100 - between(*QUALITY)))))
        if name == "cutout":
            wide, high = (round(min(0.6, much * between(*HOLE)), 4) for _ in "xy")
            return ("cutout", round(between(0, 1 - wide), 4), round(between(0, 1 - high), 4), wide, high)
        return (name,)


def _pick(names: Sequence[str], rng: random.Random) -> str:
    """One of the names by weight: written out, so that a seed gives the same in every version of Python."""
    at = rng.random() * sum(WEIGHTS[name] for name in names)
    for name in names:
        at -= WEIGHTS[name]
        if at < 0:
            return name
    return names[-1]


def _factor(change: float) -> float:
    """+0.3 as 1.3, -0.3 as 1 / 1.3: as much darker as lighter."""
    return round(1 + change if change > 0 else 1 / (1 - change), 4)


def _spoils(ops: Sequence[Op], record: Row) -> bool:
    """Whether a box leaves the picture for the greater part, or a hole hides one."""
    boxes = read_boxes(record.boxes)
    if not boxes or not record.width or not record.height:
        return False
    width, height = record.width, record.height
    a, b, _, d, e, _ = matrix_of(ops, width, height)
    for box in boxes:
        found = moved_boxes([box], ops, width, height)
        if not found:
            return True
        now = found[0]
        whole = (abs(a) * box.width + abs(b) * box.height) * (abs(d) * box.width + abs(e) * box.height)
        large = box.width * box.height / (width * height)  # what fills a picture may lose its borders
        if now.width * now.height < (SEEN - 0.35 * large) * whole:
            return True
        for name, *numbers in ops:
            if name == "cutout":
                left, top, wide, high = numbers
                across = min(now.x + now.width, (left + wide) * width) - max(now.x, left * width)
                down = min(now.y + now.height, (top + high) * height) - max(now.y, top * height)
                if max(across, 0) * max(down, 0) > COVERED * now.width * now.height:
                    return True
    return False


def _kept_mask(name: str, ops: Sequence[Op]) -> str:
    """The moved mask's name in the store; "" where its object has left the picture, or is hidden, for the greater part.

    A hole stays white in the mask: the object is there, behind it.
    """
    import numpy as np

    moves = any(op[0] in MOVING for op in ops)
    holes = [numbers for op, *numbers in ops if op == "cutout"]
    if not moves and not holes:
        return name
    mask = pictures().open(name)
    moved = moved_mask(mask, ops)
    seen = moved.copy()
    for left, top, wide, high in holes:
        seen.paste("black", hole_of(left, top, wide, high, *mask.size))
    a, b, _, d, e, _ = matrix_of(ops, mask.width, mask.height)
    before, after = (np.count_nonzero(np.asarray(each)[..., 0] >= 128) for each in (mask, seen))
    if after < 0.5 * before * abs(a * e - b * d):
        return GONE
    return pictures().add(moved) if moves else name
