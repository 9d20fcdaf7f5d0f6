"""Filters that look at a picture and its parent: blank, sharpness, outside_mask, class_balance."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw, ImageFilter

from augment.errors import RunError
from augment.images.canvas import canvas_for
from augment.images.store import pictures
from filters.pictures.blank import Blank
from filters.pictures.class_balance import ClassBalance
from filters.pictures.outside_mask import OutsideMask
from filters.pictures.sharpness import Sharpness
from tests.images.picture_rows import context_of, noisy, reasons, scored, shape, shapes, variants

pytestmark = pytest.mark.usefixtures("place")
DISC = shape("disc", 1)


def line_drawing(number: int) -> Image.Image:
    picture = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(picture).line((10 + number, 20, 80, 70), fill="black", width=2)
    return picture


def test_a_picture_of_one_colour_is_blank():
    context = context_of([("disc", DISC)])
    flat = [Image.new("RGB", (80, 64), colour) for colour in ("black", "red", (120, 121, 122))]
    made = [("s0", each) for each in (*flat, noisy(flat[2], 2), DISC, shape("bars", 2))]
    assert reasons(Blank(), variants(context, *made), context) == ["blank"] * 4 + [None] * 2


def test_a_line_drawing_is_as_plain_as_its_parent():
    context = context_of([("line", line_drawing(0)), ("disc", DISC)])
    frame = variants(context, ("s0", line_drawing(3)), ("s1", line_drawing(3)), (None, line_drawing(3)))
    out = scored(Blank(), frame, context)
    assert out["reason"].to_list() == [None, "blank", "blank"]
    assert out["blank_entropy"].max() < 1


def test_two_colours_of_one_grey_are_not_blank():
    red, green = np.array([200, 0, 0]), np.array([0, 102, 0])  # the same luma
    rows = np.where((np.arange(64) // 8 % 2)[:, None, None], red, green)
    striped = Image.fromarray(np.broadcast_to(rows, (64, 80, 3)).astype(np.uint8))
    context = context_of([("stripes", striped)])
    out = scored(Blank(), variants(context, ("s0", striped)), context)
    assert out["reason"].to_list() == [None]
    assert out["blank_spread"][0] > 50


def test_blurred_and_noisy_pictures_are_told_from_their_parent():
    context = context_of([("disc", DISC), ("bars", noisy(shape("bars", 4), 30))])
    blurred = DISC.filter(ImageFilter.GaussianBlur(6))
    frame = variants(
        context, ("s0", DISC), ("s0", blurred), ("s0", noisy(DISC, 60)), ("s1", noisy(DISC, 60)), (None, blurred)
    )
    assert reasons(Sharpness(), frame, context) == [
        None,
        "blurred beside its parent",
        "noisy beside its parent",
        None,
        None,
    ]


def test_sharpness_is_compared_at_one_size():
    context = context_of([("disc", shape("disc", 1, (320, 256)))])
    larger = shape("disc", 1, (320, 256)).resize((640, 512), Image.Resampling.BICUBIC)
    smaller = shape("disc", 1, (80, 64))
    ratios = scored(Sharpness(), variants(context, ("s0", larger), ("s0", smaller)), context)["sharpness_ratio"]
    assert all(0.5 < each < 2 for each in ratios)


def test_a_parent_without_edges_says_nothing_of_sharpness():
    context = context_of([("flat", Image.new("RGB", (80, 64), "grey"))])
    assert reasons(Sharpness(), variants(context, ("s0", noisy(DISC, 60))), context) == [None]


def inpainted(parent: Image.Image, mask: Image.Image, longest: int, change: int) -> tuple[Image.Image, str]:
    """A picture drawn into the mask, as engines do it, with one pixel outside changed by `change`; and its params."""
    canvas = canvas_for(*parent.size, longest=longest)
    inside = canvas.place_mask(mask).convert("L")
    drawn = Image.composite(Image.new("RGB", canvas.size, "magenta"), canvas.place(parent), inside)
    values = np.array(canvas.cut(drawn))
    values[0, 0, 1] = int(values[0, 0, 1]) - change
    told = {"kind": "inpaint", "image": pictures().add(parent), "mask": pictures().add(mask)}
    return Image.fromarray(values), json.dumps({**told, "width": canvas.width, "height": canvas.height})


@pytest.mark.parametrize("longest", [80, 160, 48])
def test_one_changed_value_outside_the_mask_is_seen(longest):
    mask = Image.new("RGB", DISC.size)
    ImageDraw.Draw(mask).rectangle((20, 20, 60, 50), fill="white")
    whole, told = inpainted(DISC, mask, longest, 0)
    broken, _ = inpainted(DISC, mask, longest, 1)
    context = context_of([("disc", DISC)])
    frame = variants(context, ("s0", whole), ("s0", broken), params=told)
    out = scored(OutsideMask(), frame, context)
    assert out["outside_mask_difference"].to_list() == [0, 1]
    assert out["reason"].to_list() == [None, "changed outside its mask"]
    assert reasons(OutsideMask(allowed=1), frame, context) == [None, None]


def test_another_size_is_a_change_and_other_drawings_have_no_mask():
    mask = Image.new("RGB", DISC.size, "white")
    _, told = inpainted(DISC, mask, 80, 0)
    context = context_of([("disc", DISC)])
    small = variants(context, ("s0", DISC.resize((40, 32))), params=told)
    assert reasons(OutsideMask(), small, context) == ["changed outside its mask"]
    other = variants(context, ("s0", noisy(DISC, 60)), ("s0", DISC), params=[json.dumps({"kind": "image"}), None])
    assert reasons(OutsideMask(), other, context) == [None, None]


def test_a_class_is_capped_by_the_smallest_one_whatever_comes_first():
    context = context_of([*shapes(2), ("disc", shape("disc", 7))])
    made = [("s0", shape("bars", at)) for at in range(20, 24)] + [("s2", shape("disc", at)) for at in range(20, 24)]
    frame = variants(context, *made)
    whole = reasons(ClassBalance(most=2), frame, context)
    assert whole == [None, None, *["its class has enough rows"] * 2, None, *["its class has enough rows"] * 3]
    other = context_of([*shapes(2), ("disc", shape("disc", 7))])
    turned = reasons(ClassBalance(most=2), frame.reverse(), other)
    assert [each is None for each in turned].count(True) == 3


def test_rows_without_a_label_have_no_class():
    context = context_of([(None, DISC)])
    assert reasons(ClassBalance(most=0.1), variants(context, ("s0", shape("bars", 1))), context) == [None]


def test_a_picture_that_is_gone_is_said_in_a_line():
    context = context_of([("disc", DISC)])
    frame = variants(context, ("s0", DISC)).with_columns(pl.lit("f" * 32).alias("image"))
    with pytest.raises(RunError, match="picture f+ is not in"):
        Blank().score(frame, context)
