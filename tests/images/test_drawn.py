"""What a reply says of its picture is read back whole, or not at all."""

from __future__ import annotations

import orjson
import pytest
from PIL import Image

from augment.images.drawn import drawn, picture_reply
from augment.images.stamp import EDITED
from augment.records import Drawing, Rejected, Reply, Request

DRAWING = Drawing(
    "image", "a cat", image="a" * 32, strength=0.5, adapters=("x", "y"), label="cat", caption="猫", partners=("p",)
)


def reply() -> Reply:
    request = Request("r", "img2img", 0, (), "img2img@1", 7, drawing=DRAWING)
    return picture_reply(request, Image.new("RGB", (48, 32), "red"), EDITED, {"batch": 4})


def test_a_drawing_comes_back_as_it_was_asked_for():
    found = drawn(reply())
    assert (found.drawing, found.width, found.height, found.about) == (DRAWING, 48, 32, {"batch": 4})


@pytest.mark.parametrize(
    "change",
    [
        {"width": "48"},
        {"width": 0},
        {"width": -48, "height": -32},
        {"width": True},
        {"height": 10**12},
        {"pixels": 3},
        {"about": None},
        {"drawing": 3},
        {"drawing": {}},
        {"drawing": {"kind": "image"}},
        *(
            {"drawing": {**orjson.loads(reply().text)["drawing"], key: value}}
            for key, value in [
                ("prompt", ["x"]),
                ("strength", "0.5"),
                ("adapters", 3),
                ("partners", [3]),
                ("partners", None),
                ("caption", {}),
                ("width", None),
                ("colour", "red"),
            ]
        ),
    ],
    ids=str,
)
def test_what_is_half_said_is_no_picture(change):
    told = {**orjson.loads(reply().text), **change}
    assert drawn(Reply("k", orjson.dumps(told).decode())) == Rejected("no picture")
