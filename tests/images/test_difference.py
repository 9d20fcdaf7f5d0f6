"""Inpainting where nobody says where: the mask is where a model sees a change of words change the picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from augment import generators
from augment.drawing.difference import difference
from augment.errors import EngineError
from augment.images.boxes import read_boxes
from augment.images.drawn import Drawn, drawn
from augment.images.store import pictures
from augment.records import Reply, Request, Row
from tests.images import squares
from tests.images.asking import make, opened

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def _place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture store of its own for each test; and a threshold for random weights, to which all places differ alike."""
    monkeypatch.setattr("augment.drawing.difference.THRESHOLD", 0.35)


def build(**settings: Any) -> Any:
    return generators.TABLE.build("inpaint", {"size": 64, "steps": 2, "mask": "difference", **settings})


def bare(label: str | None = "square", caption: str | None = "a red square on a grey wall") -> Row:
    return squares.record(label, caption, masked=False, boxed=False)


def kept(reply: Reply) -> Reply:
    assert reply.error is None, reply.error
    pictures().put(reply.key, reply.picture)
    return Reply(reply.key, reply.text)


@pytest.mark.parametrize("model", ["plain", "z"])
def test_what_the_model_sees_no_difference_in_stays_to_the_pixel(known: dict[str, str], model: str) -> None:
    seed, generator = bare(), build()
    requests = [generator.ask(seed, k, ()) for k in range(2)]
    assert [(each.drawing.mask, each.drawing.before) for each in requests] == [(None, "a photo of a square")] * 2
    for reply in opened(known[model], batch=2).generate(requests):
        found = drawn(kept(reply))
        assert isinstance(found, Drawn)
        white = pictures().array(found.about["mask"])[..., 0] == 255
        assert 0.01 < white.mean() < 0.99
        parent = np.asarray(squares.picture().resize((64, 48), 1)).astype(int)
        changed = np.abs(squares.pixels(found.image) - parent).max(axis=-1) > 0
        assert not changed[~white].any() and changed[white].mean() > 0.5
        row = generator.read(seed, kept(reply))
        assert (row.label, row.boxes, row.mask, row.caption) == ("square", None, None, found.drawing.prompt)


def test_a_mask_of_the_model_is_the_same_alone_and_in_company(known: dict[str, str]) -> None:
    requests = [build().ask(bare(), k, ()) for k in range(3)]
    alone = {reply.key: reply for each in requests for reply in opened(known["plain"], batch=2).generate([each])}
    together = {reply.key: reply for reply in opened(known["plain"], batch=2).generate(requests)}
    assert {key: each.text for key, each in alone.items()} == {key: each.text for key, each in together.items()}


def test_the_mask_is_of_the_words_and_of_the_noise(known: dict[str, str]) -> None:
    engine = opened(known["plain"])
    request = build().ask(bare(), 0, ())
    loaded, way, shown = engine._load(), engine._way("image"), squares.picture((64, 48), (16, 8, 40, 32))

    def mask(seed: int = 0, **changes: str) -> Any:
        return difference(loaded, way, dataclasses.replace(request.drawing, **changes), seed, shown)

    first = mask()
    assert first is not None and first.tobytes() == mask().tobytes()
    assert mask(before=request.drawing.prompt) is None
    assert {mask(prompt="a").tobytes(), mask(seed=9).tobytes()}.isdisjoint({first.tobytes()})


def test_words_that_mean_the_same_draw_nothing(known: dict[str, str]) -> None:
    request = build().ask(bare(), 0, ())
    same = dataclasses.replace(request, drawing=dataclasses.replace(request.drawing, before=request.drawing.prompt))
    (reply,) = opened(known["plain"]).generate([same])
    assert reply.error == "no difference: the words mean the same here"


def test_a_model_that_never_draws_over_a_picture_cannot_say_where(known: dict[str, str]) -> None:
    with pytest.raises(EngineError, match="cannot find where to inpaint without a mask; give the data masks or boxes"):
        list(opened(known["klein"]).generate([build().ask(bare(), 0, ())]))


def test_another_object_has_the_rectangle_around_what_was_found() -> None:
    seed, generator = bare(), build(what="object", labels=["circle"])
    request = generator.ask(seed, 0, ())
    assert isinstance(request, Request)
    assert (request.drawing.before, request.drawing.prompt) == (seed.caption, "a red circle on a grey wall")
    reply = squares.draw(request)
    row = generator.read(seed, reply)
    assert (row.label, row.mask, row.caption) == ("circle", None, "a red circle on a grey wall")
    (box,) = read_boxes(row.boxes)
    found = drawn(reply)
    assert isinstance(found, Drawn)
    left, top, right, bottom = pictures().open(found.about["mask"]).getbbox() or (0, 0, 0, 0)
    assert (box.label, box.x, box.y) == ("circle", left, top)
    assert (box.x + box.width, box.y + box.height) == (right, bottom)
    for name in ("../../secret", 3, "0" * 32):
        told = reply.text.replace(f'"{found.about["mask"]}"', f'"{name}"' if isinstance(name, str) else str(name))
        assert not isinstance(generator.read(seed, Reply(reply.key, told)), Row)


def test_labels_are_checked_where_a_model_says_where_to_draw() -> None:
    assert generators.TABLE.build("inpaint", {}).keeps_label
    assert not build().keeps_label


@pytest.mark.parametrize(
    ("label", "caption", "before"),
    [
        ("square", "灰墙上的红方块", "a photo of a square"),
        ("square", None, "a photo of a square"),
        (None, "a red thing", "a red thing"),
    ],
)
def test_what_is_there_now_is_said_in_the_words_of_what_shall_be(
    label: str | None, caption: str | None, before: str
) -> None:
    request = build(what="object", labels=["circle"]).ask(bare(label, caption), 0, ())
    assert (request.drawing.before, request.drawing.prompt) == (before, "a photo of a circle")
