"""Our PNGs: their pixels exact, their texts whole, and valid to another decoder."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image
from skimage import data

from augment.images.png import png
from augment.images.stamp import CHANGED, DRAWN, EDITED, plain, recipe_of, stamped

RNG = np.random.default_rng(4)
PICTURES = {
    "photograph": data.astronaut()[100:300, 80:281],
    "noise": RNG.integers(0, 256, (33, 71, 3), dtype=np.uint8),
    "grey": np.repeat(data.page()[..., None], 3, axis=2),
    "drawing": np.where(RNG.random((40, 50, 1)) > 0.5, 255, 0).astype(np.uint8).repeat(3, 2).repeat(5, 0),
    "one colour": np.full((16, 16, 3), (1, 255, 128), np.uint8),
    "a column": RNG.integers(0, 256, (50, 1, 3), dtype=np.uint8),
    "a row": RNG.integers(0, 256, (1, 50, 3), dtype=np.uint8),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pixels_come_back_exactly(name):
    written = png(Image.fromarray(PICTURES[name]), {})
    with Image.open(io.BytesIO(written)) as found:
        found.verify()
    with Image.open(io.BytesIO(written)) as found:
        assert (found.format, found.mode) == ("PNG", "RGB")
        assert (np.asarray(found) == PICTURES[name]).all()


@pytest.mark.parametrize("name", PICTURES)
def test_files_are_hardly_larger_than_pillows(name):
    picture = Image.fromarray(PICTURES[name])
    theirs = io.BytesIO()
    picture.save(theirs, "PNG", compress_level=1)
    most = 2 if name == "drawing" else 1.08
    assert len(png(picture, {})) < most * theirs.tell() + 100


def test_texts_are_kept_whatever_is_in_them():
    texts = {"augment": '{"prompt": "一只\\n猫"}', "other": "", "long": "é" * 100_000}
    with Image.open(io.BytesIO(png(Image.fromarray(PICTURES["noise"]), texts))) as found:
        assert found.text == texts


def test_a_stamp_says_what_made_it_and_a_plain_picture_nothing():
    picture = Image.fromarray(PICTURES["photograph"])
    for source in (DRAWN, EDITED, CHANGED):
        assert recipe_of(stamped(picture, {"seed": 3, "prompt": "猫"}, source)) == ({"seed": 3, "prompt": "猫"}, source)
    assert recipe_of(plain(picture)) == (None, None)


def test_a_broken_file_is_noticed():
    written = bytearray(png(Image.fromarray(PICTURES["noise"]), {}))
    written[len(written) // 2] ^= 255
    with pytest.raises((OSError, SyntaxError, zlib.error)), Image.open(io.BytesIO(bytes(written))) as found:
        found.verify()
