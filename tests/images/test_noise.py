"""The seeded fake that draws: reproducible, of the right size, and different for every seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from augment.engines import EngineOptions, open_engine
from augment.engines.noise import Noise
from augment.images.drawn import Drawn, drawn
from augment.images.pictures import decode
from augment.images.stamp import DRAWN, EDITED, recipe_of
from augment.images.store import pictures
from augment.records import Drawing, Reply, Request

KINDS = ("text", "image", "inpaint", "control", "instruct", "reference")


@pytest.fixture
def parent(place: Path) -> str:
    """A picture of 70 × 50: no multiple of anything."""
    rows, columns = np.mgrid[0:50, 0:70]
    values = np.stack([rows * 5, columns * 3, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    return pictures().add(Image.fromarray(values))


@pytest.fixture
def mask(parent: str) -> str:
    white = Image.new("RGB", (70, 50))
    white.paste("white", (20, 10, 50, 40))
    return pictures().add(white)


def ask(kind: str, seed: int, parent: str, mask: str, **more: Any) -> Request:
    inputs: dict[str, Any] = {
        "text": {},
        "inpaint": {"image": parent, "mask": mask},
        "control": {"control": parent},
    }.get(kind, {"image": parent})
    size = {"width": 64, "height": 48} if kind in ("text", "reference") else {"width": 96, "height": 64}
    drawing = Drawing(kind, more.pop("prompt", "a cat on a mat"), **{**inputs, **size, **more})
    return Request(f"r{seed}", "g", 0, (), "t@1", seed, engine="noise", model="noise-1", drawing=drawing)


def pixels(reply: Reply) -> np.ndarray[Any, Any]:
    assert reply.error is None
    return np.asarray(decode(reply.picture)).astype(int)


def test_opens_by_name() -> None:
    engine = open_engine("noise", EngineOptions())
    assert (engine.name, engine.model, engine.revision) == ("noise", "noise-1", "")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_request_is_drawn_the_same_whatever_its_neighbours(kind: str, parent: str, mask: str) -> None:
    requests = [ask(kind, seed, parent, mask) for seed in range(5)]
    first = {each.key: each for each in Noise().generate(requests)}
    second = {each.key: each for each in Noise().generate(requests[::-1])}
    assert first == second and first.keys() == {each.key for each in requests}
    assert len({each.text for each in first.values()}) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_has_its_size_and_says_what_it_is(kind: str, parent: str, mask: str) -> None:
    request = ask(kind, 3, parent, mask)
    (reply,) = Noise().generate([request])
    found = drawn(reply)
    size = (64, 48) if kind in ("text", "reference") else (96, 69)  # 70 × 50, its longer side at 96
    assert isinstance(found, Drawn) and (found.width, found.height) == decode(reply.picture).size == size
    assert found.drawing == request.drawing and found.about == {}
    recipe, source = recipe_of(reply.picture)
    assert recipe is not None and recipe["key"] == request.key
    assert source == (DRAWN if kind == "text" else EDITED)


def test_nothing_changes_outside_the_mask(parent: str, mask: str) -> None:
    (reply,) = Noise().generate([ask("inpaint", 1, parent, mask)])
    before = np.asarray(pictures().open(parent).resize((96, 69), Image.Resampling.LANCZOS)).astype(int)
    inside = np.asarray(pictures().open(mask).resize((96, 69), Image.Resampling.NEAREST))[..., 0] > 0
    difference = np.abs(pixels(reply) - before).sum(-1)
    assert difference[~inside].max() == 0
    assert (difference[inside] > 0).mean() > 0.9


def test_more_strength_is_further_from_the_parent(parent: str, mask: str) -> None:
    before = np.asarray(pictures().open(parent).resize((96, 69), Image.Resampling.LANCZOS)).astype(int)
    far = []
    for strength in (0.1, 0.5, 0.9):
        (reply,) = Noise().generate([ask("image", 1, parent, mask, strength=strength)])
        far.append(np.abs(pixels(reply) - before).mean())
    assert far[0] > 1 and far[0] < far[1] < far[2]


def test_another_prompt_is_another_picture(parent: str, mask: str) -> None:
    one, other = Noise().generate(ask("text", 1, parent, mask, prompt=each) for each in ("a cat", "a dog"))
    assert np.abs(pixels(one) - pixels(other)).mean() > 20


def test_a_picture_that_is_missing_costs_its_row(parent: str, mask: str) -> None:
    requests = [ask("image", 1, "f" * 32, mask), ask("image", 2, parent, mask)]
    lost, found = Noise().generate(requests)
    assert lost.error is not None and lost.error.startswith("no picture: picture ffff")
    assert found.error is None


def test_it_answers_nothing_in_words() -> None:
    (reply,) = Noise().generate([Request("r", "g", 0, (("user", "?"),), "t@1", 1)])
    assert reply.error is not None and reply.error.startswith("no drawing:")


def test_what_is_kept_is_what_is_yielded(parent: str, mask: str) -> None:
    kept: list[Reply] = []
    engine = Noise()
    requests = (ask("text", seed, parent, mask) for seed in range(9))
    replies = engine.generate(requests, lambda _, reply: kept.append(reply))
    first = next(replies)
    engine.drain()
    assert [first, *replies] == kept == [first]
