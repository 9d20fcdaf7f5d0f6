"""Contact sheets: every picture is there, in its place and shape, with its words."""

from __future__ import annotations

import numpy as np
from PIL import Image

from augment.images.sheet import GAP, LETTERS, contact_sheet

RED, BLUE = Image.new("RGB", (50, 100), "red"), Image.new("RGB", (400, 200), "blue")


def test_pictures_stand_in_rows_in_their_shapes():
    sheet = contact_sheet([[(RED, ""), (BLUE, "")], [(BLUE, "")]], side=80)
    assert sheet.size == (GAP + 2 * (80 + GAP), GAP + 2 * (80 + GAP))
    values = np.asarray(sheet)
    red = np.argwhere((values == (255, 0, 0)).all(axis=2))
    assert (np.ptp(red, axis=0) + 1).tolist() == [80, 40]
    assert (values == (0, 0, 255)).all(axis=2).sum() == 2 * 80 * 40
    assert values[GAP + 40, GAP + 80 + GAP + 40].tolist() == [0, 0, 255]
    assert values[2 * GAP + 80 + 40, GAP + 40].tolist() == [0, 0, 255]


def test_words_stand_beneath_and_are_cut_to_the_picture():
    sheet = np.asarray(contact_sheet([[(BLUE, "a long caption " * 20), (BLUE, "猫")]], side=90))
    dark = (sheet.max(axis=2) < 128)[GAP + 90 :]
    assert sheet.shape[0] == 2 * GAP + 90 + LETTERS + 4
    assert dark[:, GAP : GAP + 90].any()
    assert not dark[:, GAP + 91 : GAP + 90 + GAP].any()


def test_small_pictures_are_enlarged_without_blur_and_nothing_is_an_empty_sheet():
    board = Image.fromarray((np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    assert set(np.unique(np.asarray(contact_sheet([[(board, "")]], side=80)))) == {0, 255}
    assert contact_sheet([]).size > (0, 0)
