"""Boxes and masks as people write them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from augment.images.annotations import boxes_in, mask_of
from augment.images.boxes import Box, read_boxes
from augment.images.entries import Fault
from augment.images.pictures import pixels_of
from augment.images.sources import open_pictures
from augment.images.store import pictures
from tests.images.files import faults, picture, save


@pytest.mark.parametrize(
    "written",
    [
        {"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "categories": ["cat", "dog"]},
        {"boxes": [[1, 2, 3, 4], [5, 6, 7, 8]], "labels": ["cat", "dog"]},
        [{"bbox": [1, 2, 3, 4], "category": "cat"}, {"bbox": [5, 6, 7, 8], "category": "dog"}],
        [{"label": "cat", "box": [1, 2, 3, 4]}, {"label": "dog", "box": [5, 6, 7, 8]}],
        '[{"label": "cat", "box": [1, 2, 3, 4]}, {"label": "dog", "box": [5, 6, 7, 8]}]',
    ],
)
def test_every_way_to_write_boxes_says_the_same(written):
    assert read_boxes(boxes_in(written, 20, 16)) == (Box("cat", 1, 2, 3, 4), Box("dog", 5, 6, 7, 8))


@pytest.mark.parametrize("written", [[1, 2, 3, 4], [[1, 2, 3, 4]], {"bbox": [[1, 2, 3, 4]]}])
def test_a_box_without_a_label_has_that_of_its_picture(written):
    assert read_boxes(boxes_in(written, 20, 16, "cat")) == (Box("cat", 1, 2, 3, 4),)
    assert read_boxes(boxes_in(written, 20, 16)) == (Box("object", 1, 2, 3, 4),)


def test_a_box_that_tools_rounded_over_the_border_is_cut():
    assert read_boxes(boxes_in([-0.4, 0, 20.9, 16.5], 20, 16, "cat")) == (Box("cat", 0, 0, 20, 16),)


@pytest.mark.parametrize("written", [None, "", [], {"bbox": [], "categories": []}, "[]"])
def test_no_boxes_are_none(written):
    assert boxes_in(written, 20, 16) is None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([15, 2, 9, 4], "box outside the picture"),
        ([-5, 2, 9, 4], "box outside the picture"),
        ([100, 100, 3, 4], "box outside the picture"),
        ([20.5, 2, 0.4, 4], "box outside the picture"),
        ([1, 2, 0, 4], "box without an area"),
        ([1, 2, -3, 4], "box without an area"),
        ([1, 2, float("nan"), 4], "boxes cannot be read"),
        ([[1, 2, 3]], "boxes cannot be read"),
        ([[1, 2, "3", 4]], "boxes cannot be read"),
        ("{", "boxes cannot be read"),
        ("7", "boxes cannot be read"),
        ([{"label": "cat"}], "boxes cannot be read"),
        ([7, {"bbox": [1, 2, 3, 4]}], "boxes cannot be read"),
        ({"categories": ["cat"]}, "boxes cannot be read"),
        ({"bbox": [[1, 2, 3, 4]], "categories": ["cat", "dog"]}, "boxes and their labels differ in number"),
        ("[" * 200_000, "boxes over 100,000 characters"),
        ("[" * 50_000, "boxes cannot be read"),
    ],
)
def test_boxes_that_cannot_be_are_a_fault(written, said):
    with pytest.raises(Fault, match=said):
        boxes_in(written, 20, 16)


def disc(values: tuple[int, int]) -> np.ndarray:
    down, across = np.mgrid[0:16, 0:20]
    return np.where((down - 8) ** 2 + (across - 10) ** 2 < 25, values[1], values[0]).astype(np.uint8)


@pytest.mark.parametrize("kind", ["0 and 255", "0 and 1", "1 bit", "palette", "rgb", "16 bits", "jpeg", "label map"])
def test_every_kind_of_mask_becomes_black_and_white(place, kind):
    grey = Image.fromarray(disc((0, 255)))
    made = {
        "0 and 255": grey,
        "0 and 1": Image.fromarray(disc((0, 1))),
        "1 bit": grey.convert("1"),
        "palette": grey.convert("P"),
        "rgb": grey.convert("RGB"),
        "16 bits": Image.fromarray(disc((0, 255)).astype(np.uint16) * 257),
        "jpeg": grey,
        "label map": Image.fromarray(np.stack([disc((0, 64)), disc((0, 0)), disc((0, 0))], axis=2)),
    }[kind]
    save(place / "d/1.png", 1)
    (place / "d/masks").mkdir()
    made.save(place / "d/masks" / ("1.jpg" if kind == "jpeg" else "1.png"))
    source = open_pictures("d")
    found = pictures().array(source.seeds["mask"][0])
    assert set(np.unique(found)) == {0, 255}
    assert ((found[..., 0] > 0) != (disc((0, 255)) > 0)).mean() < (0.03 if kind == "jpeg" else 1e-9)


def test_a_picture_that_is_also_a_mask_is_read_as_each(place):
    save(place / "d/1.png", 1)
    (place / "d/masks").mkdir()
    (place / "d/masks/1.png").write_bytes((place / "d/1.png").read_bytes())
    first = open_pictures("d").seeds
    assert first["pixels"][0] == pixels_of(picture(1)) != first["mask"][0]
    assert open_pictures("d").seeds.equals(first), "what is remembered of a file is remembered for its purpose"


def test_a_mask_without_an_object_is_a_fault():
    with pytest.raises(Fault, match="mask is empty"):
        mask_of(Image.new("RGB", (20, 16)))


def test_masks_and_boxes_that_do_not_fit_cost_their_row(place):
    white = picture(0).point(lambda _: 255)
    rows = [
        {"mask_file_name": "m/good.png", "objects": {"bbox": [[1, 1, 5, 5]], "categories": ["cat"]}},
        {"mask_file_name": "m/small.png"},
        {"mask_file_name": "m/black.png"},
        {"mask_file_name": "m/words.png"},
        {"mask_file_name": "m/gone.png"},
        {"objects": {"bbox": [[1, 1, 50, 5]], "categories": ["cat"]}},
        {"objects": "cat"},
    ]
    for k, row in enumerate(rows):
        save(place / f"d/{k}.png", k)
        row["file_name"] = f"{k}.png"
    (place / "d/m").mkdir()
    white.save(place / "d/m/good.png")
    white.resize((10, 16)).save(place / "d/m/small.png")
    Image.new("L", (20, 16)).save(place / "d/m/black.png")
    (place / "d/m/words.png").write_text("words")
    (place / "d/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = open_pictures("d")
    assert len(source.seeds) == 1
    assert source.seeds["boxes"].to_list() == ['[{"label":"cat","box":[1.0,1.0,5.0,5.0]}]']
    assert [faults(source)[f"metadata.jsonl:{line}"] for line in range(2, 8)] == [
        *("mask of another size", "mask is empty", "mask: not a picture", "mask: no such file"),
        *("box outside the picture", "boxes cannot be read"),
    ]


def test_a_map_of_classes_by_number_is_a_mask_of_all_that_is_no_background():
    """A grey mask with soft edges is cut at half; one of small numbers would lose all classes but the last."""
    numbers = np.zeros((16, 20), np.uint8)
    numbers[2:6, 3:9], numbers[8:12, 3:9] = 1, 20
    found = np.asarray(mask_of(Image.fromarray(numbers).convert("RGB")))[..., 0] == 255
    assert (found == (numbers > 0)).all()
    soft = np.where(numbers == 20, np.uint8(255), numbers * 60)
    found = np.asarray(mask_of(Image.fromarray(soft).convert("RGB")))[..., 0] == 255
    assert (found == (soft == 255)).all()
