"""Every generator that draws, drawn by tiny real models: what is asked for is what they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from augment import generators
from augment.images.boxes import read_boxes
from augment.images.store import pictures
from augment.records import Reply, Request, Row
from tests.images import squares
from tests.images.asking import make, opened

torch.set_num_threads(1)

ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("text2image", "sd", {}),
    ("text2image", "z", {}),
    ("text2image", "klein", {}),
    ("img2img", "sd", {"strengths": [0.1]}),
    ("img2img", "z", {}),
    ("domains", "sd", {}),
    ("instruct", "instruct", {"image_guidance": 1.5, "guidance": 7.5}),
    ("instruct", "klein", {}),
    ("control", "sd", {"keep_places": True}),
    ("control", "sd", {"map": "mask"}),
    ("inpaint", "sd", {}),
    ("inpaint", "z", {"what": "object", "labels": ["circle"]}),
    ("inpaint", "klein", {}),
    ("reference", "sd", {}),
    ("reference", "klein", {}),
    ("promptmix", "sd", {}),
    ("attribute_swap", "z", {}),
    ("attribute_swap", "instruct", {"how": "instruct"}),
]
SWAP = {
    "object": "square",
    "attribute": "colour",
    "from": "red",
    "to": "blue",
    "caption": "a blue square on a grey wall",
}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(("name", "model", "settings"), ASKED, ids=str)
def test_what_a_generator_asks_for_is_drawn(
    place: Path, known: dict[str, str], name: str, model: str, settings: dict[str, Any]
) -> None:
    generator = generators.TABLE.build(name, {"size": 64, "steps": 2, **settings})
    seed, corpus = squares.record(size=(70, 50)), (squares.record("dot", "a blue dot on a lawn"),)
    draft = Reply("k", orjson.dumps(SWAP).decode()) if name == "attribute_swap" else None
    asked = generator.drafted(seed, 0, corpus, draft) if draft else generator.ask(seed, 0, corpus)
    assert isinstance(asked, Request), asked
    engine = opened(known[model])
    engine.check(generator.kind)
    (reply,) = engine.generate([asked])
    assert reply.error is None
    pictures().put(reply.key, reply.picture)
    row = generator.read(seed, Reply(reply.key, reply.text))
    assert isinstance(row, Row)
    square = {"text2image", "promptmix"}
    shape = (64, 64) if name in square else (64, 48) if name == "reference" else (64, 46)
    assert pictures().open(row.image).size == (row.width, row.height) == shape
    assert row.mask is None or pictures().open(row.mask).size == shape
    for box in read_boxes(row.boxes):
        assert box.x + box.width <= shape[0] and box.y + box.height <= shape[1]
