"""The perceptual hash is the published one, bit for bit, and is blind to what it should be blind to."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.fftpack import dct
from sklearn.datasets import load_digits

from filters.pictures.phash import apart, phash
from tests.images.picture_rows import SHAPES, noisy, shape


def published(picture: Image.Image) -> int:
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = dct(dct(grey, axis=0), axis=1)[:8, :8]
    return int("".join("01"[int(bit)] for bit in (low > np.median(low)).ravel()), 2)


def digit(values: np.ndarray, size: int = 64) -> Image.Image:
    return Image.fromarray((values * 15.9).astype(np.uint8)).resize((size, size), Image.Resampling.BILINEAR)


PICTURES = [
    *(digit(values).convert("RGB") for values in load_digits().images[:60]),
    *(noisy(shape(label, number), 6, number) for label in SHAPES for number in range(10)),
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8)),
]


def test_the_hash_is_the_published_one_bit_for_bit():
    assert [phash(each)[0] for each in PICTURES] == [published(each) for each in PICTURES]


def test_the_mirrored_hash_is_that_of_the_mirror_image():
    mirrored = [each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in PICTURES]
    assert [phash(each)[1] for each in PICTURES] == [published(each) for each in mirrored]
    assert [phash(each)[1] for each in mirrored] == [published(each) for each in PICTURES]


def test_a_symmetric_picture_is_its_own_mirror_image():
    half = np.random.default_rng(1).integers(0, 256, (64, 32), dtype=np.uint8)
    hash, mirrored = phash(Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1)))
    assert hash == mirrored


def jpeg(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file)


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda picture: picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX),
        lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
        lambda picture: noisy(picture, 8),
        lambda picture: picture.convert("L"),
    ],
    ids=["jpeg", "half", "blur", "noise", "grey"],
)
def test_a_copy_is_near_and_another_picture_is_far(change):
    originals = [shape(label, number) for label in SHAPES for number in range(8)]
    hashes = np.array([phash(each)[0] for each in originals], dtype=np.uint64)
    copied = [apart(phash(change(each))[0], hashes) for each in originals]
    own = [int(each[at]) for at, each in enumerate(copied)]
    assert np.mean([each <= 4 for each in own]) >= 0.9
    assert np.median(copied) > 16


def test_distances_are_those_of_the_bits():
    known = np.array([0, 1, 0xFFFFFFFFFFFFFFFF, 0x8000000000000001], dtype=np.uint64)
    assert apart(1, known).tolist() == [1, 0, 63, 1]
