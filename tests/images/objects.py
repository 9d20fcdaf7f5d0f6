"""The objects of the sample pictures, drawn about (0, 0) in units of half their size: x to the right, y down."""

from __future__ import annotations

from random import Random

from tests.images.drawing import Colour, Layer, darker, lighter, mix, oval, smooth

Colours = dict[str, tuple[Colour, str]]
WHITE: Colour = (250, 249, 244)
COLOURS: dict[str, Colours] = {
    "apple": {
        "red": ((205, 35, 45), "红色"),
        "green": ((130, 180, 50), "绿色"),
        "yellow": ((240, 195, 60), "黄色"),
    },
    "fish": {
        "orange": ((245, 125, 35), "橙色"),
        "blue": ((50, 90, 205), "蓝色"),
        "yellow": ((250, 205, 50), "黄色"),
        "purple": ((150, 75, 170), "紫色"),
    },
    "house": {
        "white": ((240, 235, 222), "白色"),
        "red": ((185, 70, 60), "红色"),
        "yellow": ((236, 200, 110), "黄色"),
        "blue": ((110, 155, 195), "蓝色"),
    },
    "tree": {
        "green": ((75, 140, 60), "绿色"),
        "orange": ((225, 125, 45), "橙色"),
        "pink": ((240, 165, 190), "粉色"),
    },
    "boat": {
        "red": ((190, 50, 50), "红色"),
        "white": ((240, 240, 236), "白色"),
        "green": ((50, 125, 95), "绿色"),
        "brown": ((135, 85, 50), "棕色"),
    },
    "cup": {
        "white": ((245, 243, 238), "白色"),
        "blue": ((60, 110, 180), "蓝色"),
        "red": ((205, 65, 60), "红色"),
        "green": ((95, 150, 110), "绿色"),
    },
}


def apple(layer: Layer, colour: Colour, rng: Random) -> None:
    wide = rng.uniform(0.86, 1.0)
    half = [(0, -0.5), (0.34, -0.68), (0.8, -0.48), (0.94, 0.05), (0.72, 0.62), (0.3, 0.9), (0, 0.82)]
    outline = [(x * wide, y) for x, y in half] + [(-x * wide, y) for x, y in reversed(half[1:-1])]
    layer.fill(smooth(outline), colour)
    if rng.random() < 0.5:
        blush = mix(colour, (235, 150, 60) if colour[0] > 180 else (215, 200, 80), 0.55)
        layer.fill(oval(0.42 * wide, 0.25, 0.4, 0.5), blush, 130, inside=True)
    layer.fill(oval(-0.5 * wide, 0.5, 0.75, 0.5), darker(colour), 60, inside=True)
    layer.shade(0.5)
    layer.fill(oval(0, -0.5, 0.26, 0.09), darker(colour, 0.5), 190, inside=True)
    layer.stroke(smooth([(0, -0.48), (0.03, -0.75), (rng.uniform(0.06, 0.2), -0.98)], closed=False), 0.09, (95, 65, 40))
    if rng.random() < 0.75:
        leaf = smooth([(0.06, -0.72), (0.3, -1.0), (0.72, -0.98), (0.45, -0.7)])
        layer.fill(leaf, (90, 150, 55))
        layer.stroke([(0.08, -0.73), (0.6, -0.93)], 0.03, (60, 110, 40))
    layer.fill(oval(-0.42 * wide, -0.25, 0.16, 0.24), (255, 255, 255), 120, inside=True)


def fish(layer: Layer, colour: Colour, rng: Random) -> None:
    fat = rng.uniform(0.42, 0.62)
    fin = mix(colour, (255, 240, 170), 0.35) if rng.random() < 0.5 else darker(colour, 0.3)
    layer.fill(smooth([(0.5, 0), (0.98, -0.55), (0.86, 0), (0.98, 0.55)]), fin)
    layer.fill(smooth([(-0.35, -fat * 0.7), (0.0, -fat - 0.32), (0.45, -fat * 0.75), (0.3, -0.1)]), fin)
    layer.fill(smooth([(-0.1, fat * 0.7), (0.15, fat + 0.25), (0.35, fat * 0.6)]), fin)
    layer.fill(
        smooth(
            [
                (-0.98, 0.02),
                (-0.55, -fat * 0.85),
                (0.0, -fat),
                (0.62, -0.13),
                (0.62, 0.13),
                (0, fat),
                (-0.55, fat * 0.8),
            ]
        ),
        colour,
    )
    pattern = rng.randrange(3)
    if pattern == 0:
        for x in (-0.38, 0.02, 0.4):
            band = smooth([(x, -0.7), (x + 0.13, 0), (x, 0.7)], closed=False)
            layer.stroke(band, 0.13, WHITE if colour[2] < 120 else (250, 215, 90), 235, inside=True)
    elif pattern == 1:
        layer.fill(oval(-0.1, fat * 0.75, 0.8, fat * 0.6), lighter(colour, 0.55), 190, inside=True)
    else:
        for x in (-0.3, -0.05, 0.2):
            for y in (-0.18, 0.12):
                layer.stroke(
                    oval(x + (0.12 if y > 0 else 0), y, 0.09, 0.12, -80, 80),
                    0.03,
                    darker(colour, 0.35),
                    170,
                    inside=True,
                )
    layer.shade(0.4)
    layer.fill(oval(-0.62, -0.1, 0.13, 0.13), (255, 255, 255))
    layer.fill(oval(-0.64, -0.1, 0.07, 0.07), (25, 25, 35))
    layer.fill(oval(-0.67, -0.13, 0.025, 0.025), (255, 255, 255))
    layer.stroke(smooth([(-0.95, 0.12), (-0.85, 0.17), (-0.76, 0.14)], closed=False), 0.035, darker(colour, 0.5))
    layer.fill(smooth([(-0.2, 0.02), (0.12, 0.2), (-0.12, 0.28)]), fin)


def house(layer: Layer, colour: Colour, rng: Random) -> None:
    roof = rng.choice([(150, 65, 50), (90, 90, 110), (120, 80, 60), (70, 105, 90)])
    wide, eaves = rng.uniform(0.72, 0.95), rng.uniform(-0.2, 0.0)
    side = rng.choice((-1, 1))
    layer.fill([(side * 0.38, -0.9), (side * 0.58, -0.9), (side * 0.58, -0.2), (side * 0.38, -0.2)], (150, 90, 75))
    layer.fill([(side * 0.34, -0.95), (side * 0.62, -0.95), (side * 0.62, -0.86), (side * 0.34, -0.86)], (110, 65, 55))
    layer.fill([(-wide, eaves), (wide, eaves), (wide, 1), (-wide, 1)], colour)
    for y in range(1, 8):
        level = eaves + y * (1 - eaves) / 8
        layer.stroke([(-wide, level), (wide, level)], 0.012, darker(colour, 0.3), 110, inside=True)
    layer.fill(
        [(-wide, eaves), (wide, eaves), (wide, eaves + 0.1), (-wide, eaves + 0.1)],
        darker(colour, 0.5),
        120,
        inside=True,
    )
    if rng.random() < 0.5:
        layer.fill([(-wide - 0.12, eaves + 0.02), (0, -0.98), (wide + 0.12, eaves + 0.02)], roof)
        layer.stroke([(-wide - 0.1, eaves), (0, -0.98), (wide + 0.1, eaves)], 0.05, lighter(roof, 0.25))
    else:
        layer.fill(
            [(-wide - 0.12, eaves + 0.02), (-wide + 0.28, -0.8), (wide - 0.28, -0.8), (wide + 0.12, eaves + 0.02)], roof
        )
        for k in (1, 2, 3):
            y = -0.8 + k * (eaves + 0.8) / 4
            layer.stroke([(-wide, y), (wide, y)], 0.02, darker(roof, 0.4), 140, inside=True)
    layer.shade(0.3)
    door = rng.choice([(110, 70, 45), (60, 90, 130), (165, 50, 45)])
    at = rng.choice((-0.42, 0.0, 0.42)) * wide
    layer.fill([(at - 0.15, 0.45), (at + 0.15, 0.45), (at + 0.15, 1), (at - 0.15, 1)], door)
    layer.fill(oval(at + 0.09, 0.74, 0.025, 0.025), (235, 205, 110))
    lit = rng.random() < 0.4
    for x in (-0.52, 0.0, 0.52):
        if abs(x * wide - at) > 0.3:
            _window(layer, x * wide, eaves + 0.36, 0.15, (255, 225, 130) if lit else (175, 210, 230))


def _window(layer: Layer, x: float, y: float, half: float, glass: Colour) -> None:
    frame = (250, 248, 240)
    for grown, paint in ((half + 0.035, frame), (half, glass)):
        layer.fill(
            [(x - grown, y - grown), (x + grown, y - grown), (x + grown, y + grown), (x - grown, y + grown)], paint
        )
    layer.stroke([(x - half, y), (x + half, y)], 0.03, frame)
    layer.stroke([(x, y - half), (x, y + half)], 0.03, frame)


def tree(layer: Layer, colour: Colour, rng: Random) -> None:
    trunk = (110, 75, 50)
    if colour[1] > 130 and colour[0] < 100 and rng.random() < 0.5:  # a fir is green
        layer.fill([(-0.1, 0.6), (0.1, 0.6), (0.12, 1), (-0.12, 1)], trunk)
        for k in range(4):
            top, low, wide = -1 + k * 0.36, -0.42 + k * 0.37, 0.3 + k * 0.14
            ragged = [(0, top), (wide * 0.55, low - 0.14), (wide, low), (wide * 0.4, low - 0.05), (0, low + 0.03)]
            ragged += [(-x, y) for x, y in reversed(ragged[1:-1])]
            layer.fill(ragged, mix(darker(colour, 0.3), colour, k / 3))
        layer.shade(0.5)
        return
    layer.fill(smooth([(-0.09, 0.1), (0.09, 0.1), (0.1, 0.7), (0.2, 1), (-0.2, 1), (-0.1, 0.7)]), trunk)
    layer.stroke([(0, 0.35), (-0.3, -0.05)], 0.07, trunk)
    layer.stroke([(0, 0.25), (0.32, -0.15)], 0.07, trunk)
    blobs = [
        (-0.42, -0.1, 0.4),
        (0.42, -0.12, 0.4),
        (0, 0.02, 0.42),
        (-0.25, -0.5, 0.42),
        (0.3, -0.5, 0.4),
        (0, -0.62, 0.38),
    ]
    for x, y, r in blobs:
        r *= rng.uniform(0.88, 1.08)
        layer.fill(oval(x, y, r, r * 0.92), darker(colour, 0.22))
    for x, y, r in blobs:
        layer.fill(oval(x - 0.05, y - 0.08, r * 0.8, r * 0.72), colour)
    for _ in range(26):
        x, y = rng.uniform(-0.62, 0.62), rng.uniform(-0.82, 0.15)
        layer.fill(
            oval(x, y, 0.07, 0.05),
            lighter(colour, 0.3) if rng.random() < 0.6 else darker(colour, 0.2),
            190,
            inside=True,
        )
    layer.shade(0.45)


def boat(layer: Layer, colour: Colour, rng: Random) -> None:
    kind = rng.randrange(3)
    if kind < 2:
        sail = rng.choice([WHITE, (235, 110, 80), (245, 205, 95)]) if colour != WHITE else (235, 110, 80)
        layer.stroke([(0.02, 0.5), (0.02, -0.98)], 0.045, (105, 75, 50))
        layer.fill(smooth([(0.08, -0.9), (0.42, -0.3), (0.72, 0.3), (0.08, 0.36)], steps=6), sail)
        if kind == 1:
            layer.fill([(-0.04, -0.8), (-0.04, 0.36), (-0.62, 0.32)], lighter(sail, 0.35))
        layer.fill([(0.02, -0.98), (0.3, -0.92), (0.02, -0.84)], (210, 60, 55))
    else:
        layer.fill([(-0.4, -0.1), (0.25, -0.1), (0.32, 0.5), (-0.45, 0.5)], WHITE)
        layer.fill([(-0.47, -0.2), (0.32, -0.2), (0.32, -0.1), (-0.47, -0.1)], (70, 85, 110))
        layer.fill([(-0.05, -0.75), (0.2, -0.75), (0.22, -0.2), (-0.07, -0.2)], (215, 90, 60))
        layer.fill([(-0.06, -0.62), (0.21, -0.62), (0.21, -0.5), (-0.06, -0.5)], WHITE)
        for x in (-0.28, -0.06, 0.16):
            layer.fill(oval(x, 0.16, 0.075, 0.075), (120, 175, 205))
    layer.fill(
        smooth(
            [
                (-0.98, 0.4),
                (-0.3, 0.47),
                (0.35, 0.47),
                (1, 0.36),
                (0.74, 0.86),
                (0.3, 0.98),
                (-0.5, 0.98),
                (-0.82, 0.82),
            ],
            steps=8,
        ),
        colour,
    )
    layer.stroke(
        [(-0.93, 0.49), (-0.2, 0.55), (0.3, 0.55), (0.93, 0.46)],
        0.055,
        WHITE if colour[1] < 200 else (60, 90, 140),
        255,
        inside=True,
    )
    layer.shade(0.35)


def cup(layer: Layer, colour: Colour, rng: Random) -> None:
    tall = rng.uniform(0.7, 0.95)
    narrow = rng.uniform(0.62, 0.72)
    layer.stroke(
        smooth([(0.55, -tall * 0.4), (0.98, -tall * 0.38), (0.95, tall * 0.25), (0.5, tall * 0.5)], closed=False),
        0.13,
        darker(colour, 0.12),
    )
    if rng.random() < 0.5:
        layer.fill(oval(0, tall, 1.0, 0.2), darker(colour, 0.1))
        layer.fill(oval(0, tall - 0.04, 0.98, 0.18), lighter(colour, 0.15))
    body = [(-0.7, -tall * 0.85), *oval(0, tall - 0.12, narrow * 0.8, 0.14, 180, 0), (0.7, -tall * 0.85)]
    layer.fill(body, colour)
    pattern = rng.randrange(4)
    accent = (225, 120, 70) if colour[2] > 150 and colour[0] > 200 else lighter(colour, 0.75)
    if pattern == 0:
        for y in (-0.15, 0.12):
            layer.stroke(oval(0, y - 0.05, 0.72, 0.12, 180, 0), 0.07, accent, 255, inside=True)
    elif pattern == 1:
        for x, y in ((-0.42, -0.2), (0, -0.12), (0.42, -0.2), (-0.22, 0.18), (0.22, 0.18), (0, 0.45)):
            layer.fill(oval(x, y, 0.085, 0.085), accent, 255, inside=True)
    elif pattern == 2:
        heart = smooth([(0, 0.05), (0.18, -0.14), (0.3, 0.05), (0, 0.36), (-0.3, 0.05), (-0.18, -0.14)])
        layer.fill(heart, accent, 255, inside=True)
    layer.shade(0.45)
    layer.fill(oval(0, -tall * 0.85, 0.7, 0.16), lighter(colour, 0.3))
    layer.fill(oval(0, -tall * 0.83, 0.6, 0.115), rng.choice([(95, 60, 40), (165, 95, 45), (110, 70, 45)]))


DRAW = {"apple": apple, "fish": fish, "house": house, "tree": tree, "boat": boat, "cup": cup}
NAMES = {"apple": "苹果", "fish": "鱼", "house": "房子", "tree": "树", "boat": "船", "cup": "杯子"}
