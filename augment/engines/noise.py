"""A seeded fake that draws: coloured shapes, and clouds over a parent, from nothing but the request. For tests.

Its bytes come from SHAKE-128 over prompt and seed, so that they are the same with every version of every library.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from augment.engines import EngineOptions, Keep, forget
from augment.errors import RunError
from augment.images.drawn import picture_reply
from augment.images.inputs import Inputs, inputs_of
from augment.images.store import pictures
from augment.records import Reply, Request

if TYPE_CHECKING:
    from PIL.Image import Image

SHAPES = (4, 9)
"""How many shapes a drawn picture has, at least and at most."""
CELLS = 6
"""Colours a side of the clouds that are laid over a picture."""
MODEST = 0.35
"""How far control, instruct and reference go from what they are given."""


@dataclass(eq=False)
class Noise:
    """A seeded fake that draws shapes and clouds, the same request always the same; for tests and rehearsals."""

    name: ClassVar[str] = "noise"
    draws: ClassVar[bool] = True
    model: str = "noise-1"
    revision: str = ""

    def __post_init__(self) -> None:
        self._drained = False

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> Noise:
        """A fake; there is nothing to reach, so nothing can fail."""
        return cls(model or cls.model)

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """One reply a request, in order."""
        source = iter(requests)
        while not self._drained:
            try:
                request = next(source)
            except StopIteration:
                return
            if request is None:
                continue
            reply = _reply(request)
            keep(request, reply)
            yield reply

    def drain(self) -> None:
        """Take no further request. Callable from any thread."""
        self._drained = True


def _reply(request: Request) -> Reply:
    if request.drawing is None:
        return Reply(request.key, "", "error", error="no drawing: noise draws, and answers nothing in words")
    try:
        inputs = inputs_of(request.drawing)
    except RunError as error:
        return Reply(request.key, "", "error", error=f"no picture: {error}")
    strength, about = request.drawing.strength, {}
    if inputs.kind == "inpaint" and inputs.mask is None:
        mask = _mask(inputs.canvas.size, f"{request.seed}")
        inputs = dataclasses.replace(inputs, mask=mask)
        about["mask"] = pictures().add(inputs.canvas.cut(mask))
    picture = draw(inputs, request.drawing.prompt, request.seed, 1.0 if strength is None else strength)
    return picture_reply(request, inputs.finish(picture), inputs.source, about)


def draw(inputs: Inputs, prompt: str, seed: int, strength: float = 1.0) -> Image:
    """A picture on the inputs' canvas, from prompt and seed; of kind image, `strength` is the share that is new."""
    from PIL import Image as PILImage

    key = f"{seed} {prompt}"
    size = inputs.canvas.size
    if inputs.kind == "control" and inputs.control is not None:
        return PILImage.blend(_coloured(inputs.control, key), _clouds(size, key), MODEST)
    if inputs.image is None or inputs.kind == "inpaint":
        return _shapes(size, key)
    if inputs.kind == "reference":
        scene = _shapes(size, key)
        shown = inputs.image.copy()
        shown.thumbnail((size[0] * 2 // 3, size[1] * 2 // 3))
        rng = random.Random(key)
        place = int(rng.random() * (size[0] - shown.width)), int(rng.random() * (size[1] - shown.height))
        scene.paste(shown, place)
        return scene
    return PILImage.blend(inputs.image, _clouds(size, key), strength if inputs.kind == "image" else MODEST)


def _bytes(key: str, purpose: str, count: int) -> bytes:
    return hashlib.shake_128(f"{purpose} {key}".encode("utf-8", "surrogatepass")).digest(count)


def _clouds(size: tuple[int, int], key: str) -> Image:
    """Soft colours with a grain of a few levels."""
    from PIL import Image as PILImage
    from PIL import ImageChops

    soft = PILImage.frombytes("RGB", (CELLS, CELLS), _bytes(key, "clouds", 3 * CELLS * CELLS))
    grain = PILImage.frombytes("L", size, _bytes(key, "grain", size[0] * size[1])).point(lambda value: value // 16)
    wide = soft.resize(size, PILImage.Resampling.BICUBIC)
    return ImageChops.add(wide, PILImage.merge("RGB", (grain, grain, grain)))


def _mask(size: tuple[int, int], key: str) -> Image:
    """White in a rectangle of half the width and height, where no data say where to draw."""
    from PIL import Image as PILImage

    rng = random.Random(key)
    left, top = int(rng.random() * size[0] / 2), int(rng.random() * size[1] / 2)
    found = PILImage.new("RGB", size)
    found.paste("white", (left, top, left + size[0] // 2, top + size[1] // 2))
    return found


def _shapes(size: tuple[int, int], key: str) -> Image:
    """Coloured ellipses, rectangles and triangles on clouds."""
    from PIL import ImageDraw

    picture = _clouds(size, key)
    pen = ImageDraw.Draw(picture)
    rng = random.Random(key)
    width, height = size
    for _ in range(rng.randint(*SHAPES)):
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        x, y = rng.random() * width, rng.random() * height
        across, down = (0.1 + 0.3 * rng.random()) * width, (0.1 + 0.3 * rng.random()) * height
        form = rng.randrange(3)
        if form == 0:
            pen.ellipse((x - across, y - down, x + across, y + down), colour)
        elif form == 1:
            pen.rectangle((x - across, y - down, x + across, y + down), colour)
        else:
            pen.polygon([(x, y - down), (x + across, y + down), (x - across, y + down)], colour)
    return picture


def _coloured(control: Image, key: str) -> Image:
    """The control picture in two colours of its own."""
    from PIL import ImageOps

    tones = _bytes(key, "tones", 6)
    dark = (tones[0] // 3, tones[1] // 3, tones[2] // 3)
    light = (255 - tones[3] // 3, 255 - tones[4] // 3, 255 - tones[5] // 3)
    return ImageOps.colorize(control.convert("L"), dark, light)
