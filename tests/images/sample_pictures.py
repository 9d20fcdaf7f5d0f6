"""Draws the bundled `sample-images`: python -m tests.images.sample_pictures data/sample-images

72 pictures of six classes, drawn for this project from the seed below, with captions, masks and boxes. A third of the
captions are Chinese. The pictures are committed; run it again only to change them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image, ImageChops

from tests.images.drawing import SCALE, Layer
from tests.images.objects import COLOURS, DRAW, NAMES
from tests.images.scenes import SCENES, Scene

EACH = 12
SALT = 2
"""Changes every drawing; chosen so that each class has pictures in the exam (`holdout` of the card)."""
SIZES = ((128, 128), (160, 120), (128, 128), (120, 160))
WHERE = {
    "apple": ("table", "cloth", "plain", "window", "meadow", "wallpaper"),
    "fish": ("underwater", "reef", "deep"),
    "house": ("meadow", "snow", "night", "dusk", "plain"),
    "tree": ("meadow", "snow", "dusk", "night", "plain"),
    "boat": ("sea", "lake", "sea_dusk", "sea_night"),
    "cup": ("table", "wallpaper", "cloth", "window", "plain"),
}
SIZE_WORDS = {0.62: ("small ", "小"), 0.8: ("", ""), 1.0: ("large ", "大")}
MEASURE = {"apple": "个", "fish": "条", "house": "座", "tree": "棵", "boat": "艘", "cup": "个"}
PLURAL = {"apple": "apples", "fish": "fish", "house": "houses", "tree": "trees", "boat": "boats", "cup": "cups"}


@dataclass(frozen=True)
class Drawn:
    """A picture and its annotations."""

    name: str
    label: str
    picture: Image.Image
    mask: Image.Image
    boxes: tuple[tuple[int, int, int, int], ...]
    caption: str


def draw_all() -> list[Drawn]:
    """Every sample picture, in the order of its file names."""
    return [draw(label, number) for label in sorted(DRAW) for number in range(EACH)]


def draw(label: str, number: int) -> Drawn:
    """The picture number `number` (from 0) of a class."""
    rng = Random(f"{label} {number} {SALT}")
    width, height = SIZES[(number + len(label)) % len(SIZES)]
    places = WHERE[label]
    place = places[number % len(places)]
    paint, words, chinese = SCENES[place]
    scene = paint(width, height, rng)
    colours = list(COLOURS[label])
    colour = colours[(number + number // 4) % len(colours)]
    count = 2 if number % 6 == 5 else 1
    scale = 0.62 if count == 2 else (1.0, 0.8, 0.62, 0.8)[number % 4]
    heading = rng.choice((False, True))
    layers = []
    for k in range(count):
        half = 0.36 * min(width, height) * scale * (1 - 0.18 * k)
        x = width * (rng.uniform(0.4, 0.6) if count == 1 and scale > 0.7 else (0.3, 0.72)[(k + number // 4) % 2])
        foot = height * rng.uniform(*scene.foot)
        if label == "fish":
            foot = height * rng.uniform(0.42, 0.62) + half * 0.6
        lean = rng.uniform(-10, 10) if label == "fish" else rng.uniform(-4, 4) if label in ("boat", "apple") else 0
        layer = Layer(width, height, x, foot - half * 0.96, half, lean, heading)
        DRAW[label](layer, COLOURS[label][colour][0], rng)
        layers.append(layer)
    picture, mask, boxes = _compose(scene, layers)
    size, big = SIZE_WORDS[scale] if count == 1 else ("", "")
    hue = COLOURS[label][colour][1]
    if number % 3 == 2:
        many = "两" if count == 2 else "一"
        caption = f"{chinese}的{many}{MEASURE[label]}{hue}的{big}{NAMES[label]}。"
    else:
        what = f"two {colour} {PLURAL[label]}" if count == 2 else f"a {size}{colour} {label}"
        way = f" swimming to the {'right' if heading else 'left'}" if label == "fish" and number % 2 else ""
        caption = f"{what[0].upper()}{what[1:]}{way} {words}."
    return Drawn(
        f"{label}/{label}-{number + 1:02}.png", label, picture, mask, boxes, caption.replace("A orange", "An orange")
    )


def _compose(
    scene: Scene, layers: list[Layer]
) -> tuple[Image.Image, Image.Image, tuple[tuple[int, int, int, int], ...]]:
    canvas = scene.back
    size = (canvas.width // SCALE, canvas.height // SCALE)
    for layer in layers:
        if scene.shadow:
            canvas.alpha_composite(layer.shadow(1.6, scene.shadow))
    shapes = []
    for layer in layers:
        canvas.alpha_composite(layer.image)
        shapes.append(layer.image.getchannel("A"))
    if scene.front is not None:
        canvas.alpha_composite(scene.front)
        clear = ImageChops.invert(scene.front.getchannel("A"))
        shapes = [ImageChops.multiply(each, clear) for each in shapes]
    small = [each.resize(size, Image.Resampling.BOX).point(lambda value: 255 if value > 127 else 0) for each in shapes]
    mask = small[0]
    for each in small[1:]:
        mask = ImageChops.lighter(mask, each)
    boxes = tuple((left, top, right - left, low - top) for left, top, right, low in (each.getbbox() for each in small))
    return canvas.convert("RGB").resize(size, Image.Resampling.LANCZOS), mask, boxes


def write(folder: Path) -> None:
    """Write the pictures, their masks and metadata.jsonl."""
    lines = []
    for each in draw_all():
        for kind, image in (("", each.picture), ("masks/", each.mask.convert("1"))):
            place = folder / f"{kind}{each.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            image.save(place, optimize=True)
        told = {
            "file_name": each.name,
            "label": each.label,
            "caption": each.caption,
            "mask_file_name": f"masks/{each.name}",
            "objects": {"bbox": [list(box) for box in each.boxes], "categories": [each.label] * len(each.boxes)},
        }
        lines.append(json.dumps(told, ensure_ascii=False) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines), "utf-8")


def contact_sheet(drawn: list[Drawn], columns: int = 12) -> Image.Image:
    """All pictures side by side, to look at."""
    cell = 168
    sheet = Image.new("RGB", (columns * cell, -(-len(drawn) // columns) * cell), "white")
    for k, each in enumerate(drawn):
        sheet.paste(each.picture, (k % columns * cell + 4, k // columns * cell + 4))
    return sheet


if __name__ == "__main__":
    write(Path(sys.argv[1]))
