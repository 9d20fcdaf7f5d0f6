"""What survives an edit, row by row of the table: class, box, mask and caption, and where the pixels are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from PIL import Image

from augment import generators
from augment.generators.survival import FAINT, FATES
from augment.images.boxes import read_boxes
from augment.images.store import pictures
from augment.records import Request, Row
from tests.images import squares

WIDE = 160
"""Twice the parent's longer side, so that boxes and masks have to be brought to another size."""


def made(name: str, seed: Row, corpus: tuple[Row, ...] = (), k: int = 0, **settings: Any) -> tuple[Row, Request]:
    """The row that a generator makes of what the seeded engine draws, and what was drawn."""
    generator = generators.TABLE.build(name, {"size": WIDE, **settings})
    request = generator.ask(seed, k, corpus or (seed,))
    assert isinstance(request, Request), request
    row = generator.read(seed, squares.draw(request))
    assert isinstance(row, Row), row
    return row, request


def is_white(row: Row) -> np.ndarray[Any, Any]:
    assert row.mask is not None
    found: np.ndarray[Any, Any] = pictures().array(row.mask)[..., 0] == 255
    return found


def is_red(name: str) -> np.ndarray[Any, Any]:
    found = squares.pixels(name)
    red: np.ndarray[Any, Any] = found[..., 0] - found[..., 1:].max(axis=-1) > 60
    return red


SQUARE_DOUBLED = (40.0, 20.0, 60.0, 60.0)


def box_of(row: Row) -> tuple[float, float, float, float]:
    (box,) = read_boxes(row.boxes)
    return box.x, box.y, box.width, box.height


def test_drawn_from_words_the_class_stays_and_the_caption_is_the_prompt(place):
    row, request = made("text2image", squares.record())
    assert (row.label, row.boxes, row.mask) == ("square", None, None)
    assert row.caption == row.prompt == request.drawing.prompt
    assert (row.width, row.height) == (WIDE, WIDE)


@pytest.mark.parametrize("strength", [0.2, FAINT, 0.31, 0.8])
def test_drawn_over_the_mask_stays_where_little_is_drawn_and_the_box_never(place, strength):
    seed = squares.record()
    row, request = made("img2img", seed, strengths=[strength])
    assert (row.label, row.caption, row.boxes) == ("square", "a red square on a grey wall", None)
    assert row.prompt == request.drawing.prompt
    assert (row.mask is not None) == (strength <= FAINT)
    if row.mask:
        white = is_white(row)
        assert white.shape == (120, 160)
        assert white[20:80, 40:100].all() and white.sum() == 60 * 60


def test_a_hard_negative_of_the_parent_is_none_of_the_child(place):
    row, _ = made("img2img", dataclasses.replace(squares.record(), negative="another"))
    assert row.negative is None


def test_a_mask_that_stays_still_covers_the_drawn_square(place):
    row, _ = made("img2img", squares.record(), strengths=[0.1])
    red, white = is_red(row.image), is_white(row)
    assert (red & white).sum() / (red | white).sum() > 0.95


def test_a_new_background_leaves_label_box_mask_and_the_objects_pixels(place):
    seed = squares.record()
    row, request = made("inpaint", seed)
    assert row.label == "square"
    assert box_of(row) == SQUARE_DOUBLED
    assert is_white(row)[20:80, 40:100].all()
    assert row.caption == request.drawing.prompt
    parent = squares.picture().resize((160, 120), Image.Resampling.LANCZOS)
    shown, before = squares.pixels(row.image), np.asarray(parent).astype(int)
    assert (shown[20:80, 40:100] == before[20:80, 40:100]).all()
    outside = np.ones((120, 160), bool)
    outside[10:90, 30:110] = False
    assert np.abs(shown - before)[outside].mean() > 20


def test_another_object_has_a_new_label_and_the_rectangle_that_it_was_drawn_in(place):
    seed = squares.record()
    other = dataclasses.replace(seed, id="other", label="circle")
    row, request = made("inpaint", seed, (seed, other), what="object", margin=0)
    assert (row.label, row.mask) == ("circle", None)
    assert [each.label for each in read_boxes(row.boxes)] == ["circle"]
    assert box_of(row) == SQUARE_DOUBLED
    assert row.caption == "a red circle on a grey wall" == request.drawing.prompt
    shown = squares.pixels(row.image)
    before = np.asarray(squares.picture().resize((160, 120), Image.Resampling.LANCZOS)).astype(int)
    outside = np.ones((120, 160), bool)
    outside[20:80, 40:100] = False
    assert (shown == before)[outside].all()
    assert np.abs(shown - before)[~outside].mean() > 20


def test_boxes_beside_the_other_object_stay_and_those_under_it_go(place):
    boxes = '[{"label":"square","box":[20,10,30,30]},{"label":"dot","box":[60,40,10,10]},{"label":"rim","box":[10,10,20,5]}]'
    seed = dataclasses.replace(squares.record(), boxes=boxes)
    row, _ = made("inpaint", seed, what="object", labels=["circle"])
    assert [each.label for each in read_boxes(row.boxes)] == ["circle", "dot"]
    assert read_boxes(row.boxes)[1].x == 120


@pytest.mark.parametrize("keep", [False, True])
def test_along_edges_boxes_and_mask_stay_only_where_the_model_is_trusted(place, keep):
    row, request = made("control", squares.record(), keep_places=keep)
    assert row.label == "square"
    assert row.caption == request.drawing.prompt
    assert (row.boxes is not None, row.mask is not None) == (keep, keep)
    if keep:
        assert box_of(row) == SQUARE_DOUBLED and is_white(row)[20:80, 40:100].all()


def test_an_instruction_edits_the_caption_and_leaves_neither_box_nor_mask(place):
    row, request = made("instruct", squares.record())
    assert (row.label, row.boxes, row.mask) == ("square", None, None)
    assert row.caption.startswith("a red square on a grey wall, ")
    assert row.prompt == request.drawing.prompt != row.caption
    bare, _ = made("instruct", squares.record(caption=None))
    assert bare.caption is None


def test_in_another_domain_the_caption_names_it_and_there_is_no_box(place):
    row, request = made("domains", squares.record())
    domain = request.drawing.prompt.removeprefix("a photo of a square, ")
    assert row.caption == f"a red square on a grey wall, {domain}"
    assert (row.label, row.boxes, row.mask) == ("square", None, None)


def test_after_a_reference_the_scene_is_the_caption(place):
    row, request = made("reference", squares.record())
    assert (row.label, row.boxes, row.mask, row.caption) == ("square", None, None, request.drawing.prompt)
    assert (row.width, row.height) == (160, 128)


@pytest.mark.parametrize(("label", "kept"), [("square", "square"), ("circle", None), (None, None)])
def test_of_two_mixed_captions_the_label_stays_where_both_have_it(place, label, kept):
    seed = squares.record()
    partner = squares.record(label, "a blue dot on a lawn")
    row, request = made("promptmix", seed, (partner,))
    assert row.caption == request.drawing.prompt == "a red square on a grey wall and a blue dot on a lawn"
    assert (row.label, row.partners, row.boxes, row.mask) == (kept, (partner.id,), None, None)


def test_nothing_of_the_parent_survives_that_the_table_does_not_name():
    assert {each for fate in FATES.values() for each in (fate.boxes, fate.mask)} == {
        "kept",
        "asked",
        "dropped",
        "faint",
    }
    assert [name for name, fate in FATES.items() if fate.boxes == "kept"] == ["background", "traced"]
    assert [name for name, fate in FATES.items() if fate.mask == "kept"] == ["background", "traced"]


def test_a_parent_of_another_shape_moves_boxes_by_the_shape_that_was_drawn(place):
    """70 × 50 is drawn as 160 × 114, on a canvas of 160 × 128 that is cut off again."""
    seed = squares.record(size=(70, 50))
    row, request = made("inpaint", seed)
    assert (request.drawing.width, request.drawing.height) == (160, 128)
    assert (row.width, row.height) == (160, 114)
    x, y, width, height = box_of(row)
    assert (x, y) == pytest.approx((20 * 160 / 70, 10 * 114 / 50), abs=0.01)
    assert (width, height) == pytest.approx((30 * 160 / 70, 30 * 114 / 50), abs=0.01)
    red = is_red(row.image)[round(y) + 2 : round(y + height) - 2, round(x) + 2 : round(x + width) - 2]
    assert red.all()
