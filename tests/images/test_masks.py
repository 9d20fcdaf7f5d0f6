"""Masks: of datasets, of boxes, turned around, wider, softer, and found from two predictions of noise."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from augment.images.boxes import Box, write_boxes
from augment.images.masks import (
    background_mask,
    binary,
    difference_mask,
    feathered,
    grown,
    inverse,
    object_mask,
    without_islands,
)
from augment.images.store import pictures
from augment.records import Row

BOXES = write_boxes((Box("cat", 10, 5, 20, 15), Box("dog", 40.4, 30.6, 10, 60)))


def row(**content) -> Row:
    return Row("r", "", image="i", **{"width": 64, "height": 48, **content})


def white(mask: Image.Image) -> np.ndarray:
    values = np.asarray(mask)
    assert mask.mode == "RGB"
    assert set(np.unique(values)) <= {0, 255}
    assert (values == values[..., :1]).all()
    return values[..., 0] > 0


def disc(size=(64, 48), centre=(32, 24), radius=10) -> Image.Image:
    mask = Image.new("RGB", size)
    ImageDraw.Draw(mask).circle(centre, radius, fill="white")
    return mask


def test_boxes_are_rectangles_to_the_pixel_and_end_at_the_border():
    found = object_mask(row(boxes=BOXES))
    wanted = np.zeros((48, 64), bool)
    wanted[5:20, 10:30] = True
    wanted[31:48, 40:50] = True
    assert (white(found) == wanted).all()
    assert (white(background_mask(row(boxes=BOXES))) == ~wanted).all()


def test_a_mask_comes_before_boxes_and_is_brought_to_the_pictures_size(place):
    name = pictures().add(disc())
    assert (white(object_mask(row(mask=name, boxes=BOXES))) == white(disc())).all()
    large = white(object_mask(row(mask=name, width=128, height=96)))
    assert (large == white(disc()).repeat(2, 0).repeat(2, 1)).all()


def test_grey_masks_are_made_black_and_white(place):
    grey = Image.new("L", (64, 48), 40)
    grey.paste(200, (0, 0, 32, 48))
    found = white(object_mask(row(mask=pictures().add(grey))))
    assert found[:, :32].all()
    assert not found[:, 32:].any()
    assert (white(binary(grey)) == found).all()


def test_there_is_no_mask_of_nothing(place):
    assert object_mask(row()) is None
    assert background_mask(row()) is None
    assert object_mask(row(mask=pictures().add(Image.new("RGB", (64, 48))))) is None
    whole = pictures().add(Image.new("RGB", (64, 48), "white"))
    assert object_mask(row(mask=whole)) is not None
    assert background_mask(row(mask=whole)) is None
    assert object_mask(Row("r", "", boxes=BOXES)) is None, "without a size"


def test_growing_widens_every_side_and_the_background_keeps_clear_of_it():
    found = white(object_mask(row(boxes=BOXES), grow=3))
    assert found[2:23, 7:33].all()
    assert not found[1, 7:33].any()
    assert not (white(background_mask(row(boxes=BOXES), grow=3)) & found).any()
    assert white(grown(disc(), -4)).sum() < white(disc()).sum()
    assert grown(disc(), 0).tobytes() == disc().tobytes()


def test_a_soft_border_stays_inside():
    soft = np.asarray(feathered(disc(radius=15), 4))[..., 0]
    hard = white(disc(radius=15))
    assert (soft[~hard] == 0).all()
    assert soft[24, 32] == 255
    along = soft[24, :33].astype(int)
    assert len(set(along.tolist())) > 4
    assert (np.diff(along) >= 0).all()
    assert feathered(disc(), 0).tobytes() == disc().tobytes()


def test_inverse_turns_black_and_white_around():
    assert (white(inverse(disc())) == ~white(disc())).all()


# ---- differences ----------------------------------------------------------------------------------------------------


def differences(seed: int = 0, level: float = 1.0) -> np.ndarray:
    """Two predictions of noise for ten noises, 4 channels, 32 × 24: unlike in a disc, and a little everywhere."""
    rng = np.random.default_rng(seed)
    inside = white(disc((32, 24), (12, 12), 6))
    return rng.normal(0, 1, (10, 4, 24, 32)) * np.where(inside, level, 0.15 * level)


@pytest.mark.parametrize("level", [1.0, 1e-3, 40.0])
def test_the_mask_is_where_the_predictions_differ_whatever_their_size(level):
    found = white(difference_mask(differences(level=level), 256, 192))
    wanted = white(disc((256, 192), (100, 100), 52))
    both, either = (found & wanted).sum(), (found | wanted).sum()
    assert both / either > 0.85


def test_specks_and_holes_are_cleaned_up():
    field = np.abs(differences()).mean((0, 1))
    field[2, 28] = 5.0
    field[12, 12] = 0.0
    found = white(difference_mask(field, 64, 48))
    assert not found[:, 50:].any()
    assert found[24, 24]


def test_no_difference_makes_no_mask():
    assert difference_mask(np.zeros((4, 8, 8)), 64, 64) is None
    assert difference_mask(np.full((8, 8), np.nan), 64, 64) is None


def test_a_lower_threshold_finds_more():
    low, high = (white(difference_mask(differences(), 64, 48, share)).sum() for share in (0.2, 0.7))
    assert low > high > 0


def test_only_small_islands_go():
    found = np.zeros((9, 9), bool)
    found[1:4, 1:4] = found[7, 5:8] = True
    assert without_islands(found, 4).sum() == 9
    assert without_islands(found, 3).sum() == 12
    assert not without_islands(found, 10).any()
    assert not without_islands(np.zeros((3, 3), bool), 1).any()
    assert without_islands(np.ones((3, 3), bool), 9).all()
    assert not without_islands(np.ones((3, 3), bool), 10).any()


def test_islands_agree_with_a_known_labelling():
    from skimage.measure import label

    rng = np.random.default_rng(5)
    for _ in range(20):
        white_places = rng.random((30, 40)) < 0.55
        numbers = label(white_places, connectivity=1)
        sizes = np.bincount(numbers.ravel())
        wanted = white_places & (sizes[numbers] >= 12)
        assert (without_islands(white_places, 12) == wanted).all()


def test_the_background_is_beside_boxes_that_the_mask_leaves_out(place):
    name = pictures().add(disc())
    boxes = write_boxes((Box("cat", 22, 14, 20, 20), Box("dog", 50, 2, 10, 10), Box("cup", 38, 14, 20, 12)))
    found = white(background_mask(row(mask=name, boxes=boxes)))
    wanted = ~white(disc())
    wanted[2:12, 50:60] = False  # nothing of the mask is in it
    wanted[14:26, 38:58] = False  # the mask's edge alone reaches into it
    assert (found == wanted).all()
    own = write_boxes((Box("cat", 22, 14, 20, 20),))
    assert (white(background_mask(row(mask=name, boxes=own))) == ~white(disc())).all()
