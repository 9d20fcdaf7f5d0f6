"""Edges: where they are, that faint and coloured ones are found, and that noise is none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from augment.images.control import FAINT, edges


def drawn(ground: tuple[int, int, int], figure: tuple[int, int, int], size=(96, 64)) -> Image.Image:
    picture = Image.new("RGB", size, ground)
    ImageDraw.Draw(picture).rectangle((20, 16, 59, 47), fill=figure)
    return picture


def places(found: Image.Image) -> np.ndarray:
    values = np.asarray(found)
    assert set(np.unique(values)) <= {0, 255}
    assert (values == values[..., :1]).all()
    return np.argwhere(values[..., 0] > 0)


@pytest.mark.parametrize(
    ("ground", "figure"),
    [
        ((0, 0, 0), (255, 255, 255)),
        ((120, 120, 120), (140, 140, 140)),  # pale
        ((200, 40, 40), (40, 146, 40)),  # of about the same grey
    ],
)
def test_the_edges_of_a_rectangle_are_its_outline_a_pixel_wide(ground, figure):
    found = edges(drawn(ground, figure))
    assert found.mode == "RGB"
    assert found.size == (96, 64)
    points = places(found)
    assert (points.min(axis=0) - [16, 20]).tolist() in ([0, 0], [-1, -1], [0, -1], [-1, 0])
    assert (points.max(axis=0) - [47, 59]).tolist() in ([0, 0], [1, 1], [0, 1], [1, 0])
    outline = 2 * (40 + 32)
    assert 0.8 * outline <= len(points) <= 1.2 * outline
    assert not any(24 < x < 55 and 20 < y < 43 for y, x in points)


def test_one_colour_has_no_edges_nor_has_a_slow_slope():
    assert not len(places(edges(Image.new("RGB", (40, 40), "teal"))))
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    assert FAINT >= 8  # of a ramp that rises by one a pixel
    assert not len(places(edges(Image.fromarray(ramp))))


def test_grain_is_not_taken_for_edges():
    rng = np.random.default_rng(3)
    clean = np.asarray(drawn((60, 60, 60), (200, 200, 200)), np.float64)
    noisy = Image.fromarray(np.clip(clean + rng.normal(0, 6, clean.shape), 0, 255).astype(np.uint8))
    points = places(edges(noisy))
    near = [y < 19 or y > 44 or x < 23 or x > 56 for y, x in points]
    inside = [12 < y < 51 and 16 < x < 63 for y, x in points]
    assert sum(a and b for a, b in zip(near, inside, strict=True)) > 0.9 * len(points)


def test_the_higher_the_share_the_fewer_the_edges():
    from skimage import data

    cat = Image.fromarray(data.chelsea()[:200, :200])
    many, some, few = (len(places(edges(cat, strong))) for strong in (0.0, 0.8, 0.98))
    assert many > some > few > 0
    assert edges(cat).tobytes() == edges(cat).tobytes()


def test_an_edge_is_followed_where_it_fades():
    values = np.full((60, 200, 3), 100, np.uint8)
    values[30:] = (100 + np.linspace(120, 14, 200)).astype(np.uint8)[None, :, None]  # fades from left to right
    values[5:25, 100:180] = 220
    points = places(edges(Image.fromarray(values), 0.9))
    line = {x for y, x in points if 28 <= y <= 31}
    assert {*range(2, 120)} <= line


@pytest.mark.parametrize("size", [(8, 8), (8, 600), (600, 8), (9, 33)])
def test_small_and_long_pictures_have_edges_too(size):
    picture = Image.new("RGB", size, "black")
    picture.paste("white", (size[0] // 2, 0, *size))
    assert len(places(edges(picture)))
