"""`mixgen`: both pictures and both captions, of originals, and both parents."""

from __future__ import annotations

import dataclasses

import numpy as np
import orjson
import pytest
from PIL import Image
from skimage import data

from augment.errors import RecipeError
from augment.generators import TABLE, answers_itself, modalities_of
from augment.generators.mixgen import MixGen, joined
from augment.images.pictures import pixels_of
from augment.images.stamp import CHANGED, recipe_of
from augment.images.store import pictures
from augment.records import Rejected, Reply, Row

CAT = Image.fromarray(data.chelsea()).resize((96, 64))
CUP = Image.fromarray(data.coffee()).resize((120, 120))


def pair(id: str, picture: Image.Image, caption: str | None, **content) -> Row:
    name = pictures().add(picture)
    return Row(id, "", image=name, pixels=name, width=picture.width, height=picture.height, caption=caption, **content)


@pytest.fixture
def both(place) -> tuple[Row, Row]:
    one = pair("one", CAT, "A cat looks up", label="cat", boxes='[{"label":"cat","box":[1,1,9,9]}]', mask="m")
    return one, pair("other", CUP, "a cup of coffee.", label="cup")


def made(one: Row, other: Row, **settings) -> tuple[Row | Rejected, Reply]:
    generator = MixGen(**settings)
    reply = generator.answer(generator.ask(one, 0, (other,)))
    return generator.read(one, reply), reply


def test_it_is_of_pairs_and_asks_for_a_partner(both):
    assert answers_itself(MixGen())
    assert modalities_of(MixGen()) == ("paired",)
    assert MixGen.looks_at == "partner"
    request = MixGen().ask(both[0], 2, (both[1],))
    assert request.pictures == (both[0].image, both[1].image)
    assert (request.k, request.template) == (2, "mixgen@1")
    assert request == MixGen().ask(both[0], 2, (both[1],))
    assert request.key != MixGen().ask(both[1], 2, (both[0],)).key


def test_the_picture_is_both_in_the_records_size(both):
    row, reply = made(*both)
    assert isinstance(row, Row)
    assert (row.width, row.height) == (96, 64)
    assert row.partners == ("other",)
    pictures().put(row.image, reply.picture)
    found = pictures().array(row.image).astype(float)
    middle = CUP.crop((0, 20, 120, 100)).resize((96, 64), Image.Resampling.LANCZOS)  # the other, cropped to 3 : 2
    wanted = (np.asarray(CAT, float) + np.asarray(middle, float)) / 2
    assert np.abs(found - wanted).mean() < 1
    assert pixels_of(pictures().open(row.image)) == row.pixels


def test_the_weight_is_the_records_own_part(both):
    def distance(weight: float) -> float:
        row, reply = made(*both, weight=weight)
        pictures().put(row.image, reply.picture)
        return float(np.abs(pictures().array(row.image).astype(float) - np.asarray(CAT)).mean())

    assert distance(0.9) < distance(0.5) < distance(0.1)
    assert distance(0.999) < 1


def test_captions_are_joined_and_what_belonged_to_one_is_gone(both):
    row, _ = made(*both)
    assert row.caption == "A cat looks up. a cup of coffee."
    assert (row.label, row.boxes, row.mask) == (None, None, None)


def test_a_label_of_both_stays(both):
    one, other = both
    row, _ = made(one, dataclasses.replace(other, label="cat"))
    assert row.label == "cat"
    row, _ = made(dataclasses.replace(one, label=None), other)
    assert row.label is None


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a cat", "a dog", "a cat. a dog"),
        ("a cat.", " a dog ", "a cat. a dog"),
        ("一只猫", "一只狗。", "一只猫。一只狗。"),
        ("一只猫！", "一只狗", "一只猫！一只狗"),
        ("一只猫", "a dog", "一只猫。 a dog"),
        ("a cat", "一只狗", "a cat. 一只狗"),
    ],
)
def test_captions_are_two_sentences_of_their_script(one, other, both):
    assert joined(one, other) == both


def test_there_must_be_another_with_a_caption(both):
    one, other = both
    assert MixGen().ask(one, 0, ()) == Rejected("no other pair to mix with")
    for lacking in (dataclasses.replace(other, caption=None), dataclasses.replace(other, caption=" ")):
        assert MixGen().ask(one, 0, (lacking,)) == Rejected("no caption")
        assert MixGen().ask(lacking, 0, (one,)) == Rejected("no caption")
    assert MixGen().ask(one, 0, (dataclasses.replace(other, image=None),)) == Rejected("no picture")


def test_the_file_tells_both_parents(both):
    _, reply = made(*both)
    recipe, source = recipe_of(reply.picture)
    assert source == CHANGED
    assert recipe["parent"] == "one"
    assert recipe["params"]["partner"] == "other"
    assert recipe["params"]["weight"] == 0.5


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"partner": "p"},
        {"partner": 1, "caption": "c"},
        {"partner": "p", "caption": " "},
        {"partner": "p", "caption": "c", "label": 3},
    ],
)
def test_a_reply_that_holds_nonsense_is_rejected(about):
    told = {"pixels": "p", "width": 64, "height": 48, "drawing": None, "about": about}
    assert isinstance(MixGen().read(Row("r", ""), Reply("k", orjson.dumps(told).decode())), Rejected)
    assert isinstance(MixGen().read(Row("r", ""), Reply("k", "nonsense")), Rejected)


@pytest.mark.parametrize("weight", [0, 1, -0.5, 2])
def test_a_weight_that_leaves_one_out_is_refused(weight):
    with pytest.raises(RecipeError, match="mixgen.weight"):
        TABLE.build("mixgen", {"weight": weight})
