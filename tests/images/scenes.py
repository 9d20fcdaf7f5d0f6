"""Where the objects of the sample pictures stand: backgrounds, what is in front, and the words for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image

from tests.images.drawing import Colour, Layer, darker, gradient, lighter, mix, oval, smooth


@dataclass(frozen=True)
class Scene:
    """A background, what is drawn over the object, and where an object's foot stands, in shares of the height."""

    back: Image.Image
    front: Image.Image | None = None
    foot: tuple[float, float] = (0.82, 0.92)
    shadow: int = 110


def _over(canvas: Image.Image, layer: Layer) -> Image.Image:
    canvas.alpha_composite(layer.image)
    return canvas


def _hills(layer: Layer, rng: Random, level: float, colour: Colour, tall: float) -> None:
    w, h = layer.width, layer.height
    tops = [(x * w / 5 - w * 0.1, h * (level - rng.uniform(0, tall))) for x in range(7)]
    layer.fill([*smooth(tops, closed=False), (w * 1.2, h), (-w * 0.2, h)], colour)


def _cloud(layer: Layer, x: float, y: float, size: float, alpha: int = 225) -> None:
    for dx, dy, r in ((-1, 0.1, 0.55), (-0.4, -0.25, 0.7), (0.35, -0.15, 0.65), (0.95, 0.15, 0.5), (0, 0.25, 0.8)):
        layer.fill(oval(x + dx * size, y + dy * size, r * size, r * size * 0.7), (255, 255, 255), alpha)


def meadow(w: int, h: int, rng: Random) -> Scene:
    sky = gradient(w, h, (110, 175, 230), (215, 235, 245), 0.7)
    layer = Layer(w, h)
    if rng.random() < 0.6:
        layer.fill(oval(rng.uniform(0.1, 0.9) * w, h * 0.14, 9, 9), (255, 230, 130))
    for _ in range(rng.randint(1, 3)):
        _cloud(layer, rng.uniform(0, w), rng.uniform(0.08, 0.3) * h, rng.uniform(7, 13))
    _hills(layer, rng, 0.68, (140, 180, 135), 0.16)
    _hills(layer, rng, 0.76, (105, 165, 85), 0.07)
    for _ in range(26):
        x, y = rng.uniform(0, w), rng.uniform(0.82, 1) * h
        if rng.random() < 0.5:
            layer.stroke([(x, y), (x + rng.uniform(-1.5, 1.5), y - 4)], 0.8, (75, 135, 60))
        else:
            layer.fill(oval(x, y, 1.3, 1.3), rng.choice([(255, 240, 120), (250, 250, 250), (240, 140, 160)]))
    return Scene(_over(sky, layer), foot=(0.86, 0.95))


def snow(w: int, h: int, rng: Random) -> Scene:
    sky = gradient(w, h, (150, 170, 195), (225, 230, 238), 0.75)
    layer = Layer(w, h)
    _hills(layer, rng, 0.7, (205, 215, 228), 0.22)
    _hills(layer, rng, 0.78, (240, 244, 249), 0.06)
    front = Layer(w, h)
    for _ in range(46):
        size = rng.uniform(0.7, 1.7)
        front.fill(oval(rng.uniform(0, w), rng.uniform(0, h), size, size), (255, 255, 255), 235)
    return Scene(_over(sky, layer), front.image, (0.85, 0.94), 70)


def night(w: int, h: int, rng: Random) -> Scene:
    sky = gradient(w, h, (18, 22, 60), (70, 75, 125), 0.8)
    layer = Layer(w, h)
    for _ in range(30):
        layer.fill(oval(rng.uniform(0, w), rng.uniform(0, 0.6) * h, *[rng.uniform(0.5, 1.1)] * 2), (255, 250, 215))
    _moon(layer, rng)
    _hills(layer, rng, 0.72, (40, 55, 80), 0.15)
    _hills(layer, rng, 0.8, (45, 75, 65), 0.05)
    return Scene(_over(sky, layer), foot=(0.87, 0.95), shadow=120)


def _moon(layer: Layer, rng: Random) -> None:
    x = rng.choice((0.14, 0.86)) * layer.width
    layer.fill(oval(x, layer.height * 0.17, 10, 10), (250, 240, 200))
    layer.fill(oval(x - 3, layer.height * 0.15, 2, 2), (225, 212, 165))
    layer.fill(oval(x + 3, layer.height * 0.2, 1.5, 1.5), (225, 212, 165))


def dusk(w: int, h: int, rng: Random) -> Scene:
    sky = gradient(w, h, (95, 70, 130), (250, 165, 95), 0.75)
    layer = Layer(w, h)
    x = rng.uniform(0.2, 0.8) * w
    layer.fill(oval(x, h * 0.66, 17, 17), (255, 205, 110))
    for _ in range(3):
        y = rng.uniform(0.15, 0.5) * h
        start = rng.uniform(-0.2, 0.7) * w
        layer.stroke([(start, y), (start + rng.uniform(25, 60), y)], 2.5, (235, 130, 120), 170)
    _hills(layer, rng, 0.74, (130, 80, 90), 0.12)
    _hills(layer, rng, 0.8, (85, 75, 60), 0.05)
    return Scene(_over(sky, layer), foot=(0.87, 0.95))


def sea(w: int, h: int, rng: Random) -> Scene:
    return _water(w, h, rng, ((120, 185, 235), (220, 238, 246)), ((45, 125, 175), (25, 85, 140)), "day")


def sea_dusk(w: int, h: int, rng: Random) -> Scene:
    return _water(w, h, rng, ((120, 80, 140), (252, 175, 105)), ((170, 95, 110), (70, 55, 105)), "dusk")


def sea_night(w: int, h: int, rng: Random) -> Scene:
    return _water(w, h, rng, ((15, 20, 55), (55, 65, 115)), ((35, 50, 95), (15, 25, 55)), "night")


def lake(w: int, h: int, rng: Random) -> Scene:
    return _water(w, h, rng, ((150, 200, 225), (232, 240, 235)), ((95, 165, 165), (50, 115, 125)), "lake")


def _water(w: int, h: int, rng: Random, sky: tuple[Colour, Colour], deep: tuple[Colour, Colour], kind: str) -> Scene:
    canvas = gradient(w, h, *sky, 0.65)
    layer = Layer(w, h)
    if kind == "dusk":
        layer.fill(oval(rng.uniform(0.2, 0.8) * w, h * 0.56, 15, 15), (255, 215, 130))
    elif kind == "night":
        for _ in range(26):
            layer.fill(oval(rng.uniform(0, w), rng.uniform(0, 0.55) * h, *[rng.uniform(0.5, 1.1)] * 2), (255, 250, 215))
        _moon(layer, rng)
    else:
        for _ in range(2):
            _cloud(layer, rng.uniform(0, w), rng.uniform(0.1, 0.3) * h, rng.uniform(7, 12))
    if kind == "lake":
        for _ in range(4):
            x, tall = rng.uniform(0, w), rng.uniform(0.2, 0.42) * h
            peak = [(x - tall, 0.64 * h), (x, 0.62 * h - tall), (x + tall, 0.64 * h)]
            layer.fill(peak, (120, 135, 165))
            top = 0.62 * h - tall
            layer.fill(
                [
                    (x - tall * 0.25, top + tall * 0.27),
                    (x, top),
                    (x + tall * 0.25, top + tall * 0.27),
                    (x, top + tall * 0.2),
                ],
                (245, 247, 250),
            )
    canvas.alpha_composite(layer.image)
    front = Layer(w, h)
    horizon = 0.62 * h
    layer = Layer(w, h)
    for k in range(12):
        top = horizon + k * (h - horizon) / 12
        layer.fill([(0, top), (w, top), (w, h), (0, h)], mix(*deep, k / 11))
    for _ in range(16):
        x, y = rng.uniform(-5, w), rng.uniform(horizon + 3, h)
        layer.stroke([(x, y), (x + rng.uniform(5, 14), y)], 0.9, lighter(deep[0], 0.35), 150)
    canvas.alpha_composite(layer.image)
    start, level = rng.uniform(0, 8), rng.uniform(0.8, 0.86) * h
    crest = smooth(
        [(x * 8 - 16 + start, level + (1.8 if x % 2 else -1.8)) for x in range(w // 8 + 5)], closed=False, steps=8
    )
    front.fill([*crest, (w * 1.2, h), (-w * 0.2, h)], mix(*deep, 0.75))
    front.stroke(crest, 1.1, lighter(deep[0], 0.5), 190)
    for _ in range(5):
        x, y = rng.uniform(-5, w), rng.uniform(level + 5, h)
        front.stroke([(x, y), (x + rng.uniform(6, 16), y)], 1.0, lighter(deep[0], 0.3), 170)
    return Scene(canvas, front.image, (level / h + 0.02, level / h + 0.05), 0)


def underwater(w: int, h: int, rng: Random) -> Scene:
    return _below(w, h, rng, (120, 205, 220), (20, 95, 150), (215, 195, 145))


def deep(w: int, h: int, rng: Random) -> Scene:
    return _below(w, h, rng, (35, 80, 140), (8, 20, 60), (50, 60, 90))


def reef(w: int, h: int, rng: Random) -> Scene:
    return _below(w, h, rng, (150, 225, 215), (50, 150, 170), (235, 215, 170), coral=True)


def _below(w: int, h: int, rng: Random, top: Colour, bottom: Colour, sand: Colour, coral: bool = False) -> Scene:
    canvas = gradient(w, h, top, bottom)
    layer = Layer(w, h)
    for _ in range(3):
        x = rng.uniform(0, w)
        layer.fill([(x, 0), (x + 12, 0), (x + rng.uniform(25, 50), h), (x + 5, h)], (255, 255, 255), 22)
    _hills(layer, rng, 0.92, sand, 0.05)
    front = Layer(w, h)
    for _ in range(rng.randint(3, 6)):
        x = rng.uniform(0, w)
        on = front if rng.random() < 0.25 and (x < w * 0.2 or x > w * 0.8) else layer
        if coral and rng.random() < 0.7:
            paint = rng.choice([(240, 120, 110), (235, 150, 190), (245, 190, 90)])
            for lean in (-8, -3, 3, 8):
                on.stroke(
                    smooth([(x, h), (x + lean * 0.5, h * 0.9), (x + lean, h * rng.uniform(0.76, 0.84))], closed=False),
                    3.2,
                    paint,
                )
        else:
            tall = rng.uniform(0.15, 0.38) * h
            wave = [(x + (3 if k % 2 else -3), h - k * tall / 4) for k in range(5)]
            on.stroke(smooth(wave, closed=False), 2.6, mix((60, 150, 80), bottom, 0.25))
    for _ in range(rng.randint(4, 9)):
        x, y, r = rng.uniform(0, w), rng.uniform(0.05, 0.7) * h, rng.uniform(1, 3)
        layer.fill(oval(x, y, r, r), (255, 255, 255), 120)
        layer.fill(oval(x, y, r * 0.7, r * 0.7), mix(top, bottom, 0.4), 255)
        layer.fill(oval(x - r * 0.3, y - r * 0.3, r * 0.25, r * 0.25), (255, 255, 255), 220)
    return Scene(_over(canvas, layer), front.image, (0.55, 0.85), 0)


def table(w: int, h: int, rng: Random) -> Scene:
    wall = rng.choice([(226, 214, 190), (190, 208, 205), (222, 190, 180), (200, 200, 220)])
    canvas = gradient(w, h, lighter(wall, 0.3), wall, 0.7)
    layer = Layer(w, h)
    wood = rng.choice([(165, 110, 65), (195, 145, 95), (120, 80, 55)])
    edge = rng.uniform(0.62, 0.7) * h
    layer.fill([(0, edge), (w, edge), (w, h), (0, h)], wood)
    for k in range(1, 5):
        y = edge + k * k * (h - edge) / 20
        layer.stroke([(0, y), (w, y)], 0.9, darker(wood, 0.25), 170)
    for _ in range(12):
        x, y = rng.uniform(-10, w), rng.uniform(edge + 3, h)
        layer.stroke([(x, y), (x + rng.uniform(8, 30), y)], 0.5, darker(wood, 0.18), 140)
    layer.stroke([(0, edge), (w, edge)], 1.4, lighter(wood, 0.3))
    return Scene(_over(canvas, layer))


def cloth(w: int, h: int, rng: Random) -> Scene:
    paint = rng.choice([(205, 70, 70), (70, 110, 180), (90, 150, 100)])
    canvas = gradient(w, h, (245, 238, 225), (228, 214, 192), 0.6)
    layer = Layer(w, h)
    edge, cell = 0.6 * h, w / 9
    layer.fill([(0, edge), (w, edge), (w, h), (0, h)], (248, 246, 240))
    vanish = (w / 2, edge - h * 0.55)
    rows = [edge + (h - edge) * (k / 6) ** 1.35 for k in range(7)]
    for k in range(-9, 18, 2):
        left, right = (k * cell * 1.6 - w * 0.3, (k + 1) * cell * 1.6 - w * 0.3)
        share = (edge - vanish[1]) / (h - vanish[1])
        top = [vanish[0] + (x - vanish[0]) * share for x in (left, right)]
        layer.fill([(top[0], edge), (top[1], edge), (right, h), (left, h)], paint, 110)
    for k in range(0, 6, 2):
        layer.fill([(0, rows[k]), (w, rows[k]), (w, rows[k + 1]), (0, rows[k + 1])], paint, 110)
    return Scene(_over(canvas, layer))


def wallpaper(w: int, h: int, rng: Random) -> Scene:
    paint = rng.choice([(150, 185, 190), (235, 200, 160), (205, 175, 200), (170, 195, 150)])
    canvas = gradient(w, h, lighter(paint, 0.35), lighter(paint, 0.25))
    layer = Layer(w, h)
    if rng.random() < 0.5:
        for k in range(0, 12, 2):
            layer.fill([(k * w / 11, 0), ((k + 1) * w / 11, 0), ((k + 1) * w / 11, h), (k * w / 11, h)], paint, 190)
    else:
        for row in range(7):
            for k in range(9):
                layer.fill(oval((k + row % 2 / 2) * w / 8, (row + 0.5) * h / 8, 2.6, 2.6), paint, 220)
    edge = 0.74 * h
    layer.fill([(0, edge), (w, edge), (w, h), (0, h)], (240, 236, 228))
    layer.fill([(0, edge), (w, edge), (w, edge + 3), (0, edge + 3)], (212, 204, 192))
    return Scene(_over(canvas, layer), foot=(0.86, 0.93))


def window(w: int, h: int, rng: Random) -> Scene:
    scene = rng.choice((meadow, snow, dusk, night))(w, h, rng)
    canvas = scene.back
    layer = Layer(w, h)
    frame, sill = (238, 232, 220), 0.74 * h
    for x in (0.0, w / 2 - 2.5, w - 5.0):
        layer.fill([(x, 0), (x + 5, 0), (x + 5, h), (x, h)], frame)
        layer.stroke([(x + 5, 0), (x + 5, sill)], 0.6, darker(frame, 0.25))
    layer.fill([(0, 0), (w, 0), (w, 5), (0, 5)], frame)
    layer.fill([(0, sill), (w, sill), (w, h), (0, h)], (226, 214, 196))
    layer.stroke([(0, sill), (w, sill)], 1.6, (250, 246, 238))
    return Scene(_over(canvas, layer), foot=(0.86, 0.94))


def plain(w: int, h: int, rng: Random) -> Scene:
    paint = rng.choice([(245, 225, 190), (190, 220, 235), (240, 200, 200), (205, 225, 195), (228, 215, 240)])
    canvas = gradient(w, h, lighter(paint, 0.5), darker(paint, 0.08))
    return Scene(canvas, foot=(0.84, 0.92))


SCENES: dict[str, tuple[Callable[[int, int, Random], Scene], str, str]] = {
    "meadow": (meadow, "in a green meadow under a blue sky", "蓝天下的绿草地上"),
    "snow": (snow, "in the falling snow", "飘雪中"),
    "night": (night, "under the stars at night", "夜晚的星空下"),
    "dusk": (dusk, "in front of hills at sunset", "日落时的山丘前"),
    "sea": (sea, "on the open sea in fine weather", "晴朗的大海上"),
    "sea_dusk": (sea_dusk, "on the sea at sunset", "日落时的海面上"),
    "sea_night": (sea_night, "on a dark sea in the moonlight", "月光下的夜海上"),
    "lake": (lake, "on a mountain lake", "高山湖泊上"),
    "underwater": (underwater, "in clear blue water above the sand", "清澈的蓝色水里"),
    "deep": (deep, "in the dark deep sea", "幽暗的深海里"),
    "reef": (reef, "over a coral reef", "珊瑚礁上方"),
    "table": (table, "on a wooden table", "木桌上"),
    "cloth": (cloth, "on a checked tablecloth", "格子桌布上"),
    "wallpaper": (wallpaper, "on a white shelf in front of patterned wallpaper", "花纹墙纸前，白色架子上"),
    "window": (window, "on a window sill", "窗台上"),
    "plain": (plain, "in front of a plain background", "纯色背景前"),
}
