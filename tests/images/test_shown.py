"""Questions with pictures: what a model is shown, and what is said where none is looked at."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from augment.engines import EngineOptions, open_engine
from augment.engines.chat import SCHEMA_PROMPT, Dialect, blind
from augment.engines.echo import Echo
from augment.engines.openai import OpenAI
from augment.errors import EngineError
from augment.images.pictures import decode
from augment.images.shown import shown
from augment.images.store import pictures
from augment.records import Request
from tests.finetune.bases import save_base
from tests.server import serve

SCHEMA = {"type": "object", "properties": {"caption": {"type": "string"}}, "required": ["caption"]}


@pytest.fixture(autouse=True)
def _place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def kept(width: int, height: int) -> str:
    rows, columns = np.mgrid[0:height, 0:width]
    return pictures().add(
        Image.fromarray(np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8))
    )


def seen(address: str) -> tuple[str, Image.Image]:
    kind, _, coded = address.partition(";base64,")
    return kind.removeprefix("data:image/"), decode(base64.b64decode(coded))


def ask(*names: str, **more: Any) -> Request:
    messages = (("system", "You describe."), ("user", "What is it?"))
    return Request("r1", "recaption", 0, messages, "t@1", 1, pictures=names, **more)


def last(request: Request, dialect: Dialect | None = None) -> Any:
    return orjson.loads((dialect or Dialect("m")).encode(request))["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("size", "kind", "expected"),
    [
        ((96, 64), "png", (96, 64)),
        ((8, 8), "png", (56, 56)),  # too small to be looked at
        ((400, 300), "jpeg", (400, 300)),
        ((2048, 1024), "jpeg", (1024, 512)),
        ((4096, 16), "png", (1024, 4)),  # a strip stays one
    ],
)
def test_a_picture_is_shown_no_larger_than_a_model_looks(
    size: tuple[int, int], kind: str, expected: tuple[int, int]
) -> None:
    address = shown(kept(*size))
    assert address == shown(kept(*size))
    assert address.startswith(f"data:image/{kind};base64,")
    if min(expected) >= 8:
        assert seen(address)[1].size == expected


def test_a_small_picture_loses_nothing() -> None:
    name = kept(96, 64)
    assert np.array_equal(np.asarray(seen(shown(name))[1]), pictures().array(name))


def test_pictures_are_shown_with_what_the_user_says_last() -> None:
    one, other = kept(96, 64), kept(64, 96)
    images, text = last(ask(one, other))[:-1], last(ask(one, other))[-1]
    assert [seen(each["image_url"]["url"])[1].size for each in images] == [(96, 64), (64, 96)]
    assert [each["type"] for each in images] == ["image_url"] * 2
    assert text == {"type": "text", "text": "What is it?"}
    assert Dialect("m").encode(ask(one, other)) == Dialect("m").encode(ask(one, other))


def test_they_are_the_users_though_somebody_spoke_after() -> None:
    request = Request("r", "g", 0, (("user", "What is it?"), ("assistant", "It is")), "t", 1, pictures=(kept(96, 64),))
    asked = orjson.loads(Dialect("m").encode(request))["messages"]
    assert asked[0]["content"][1] == {"type": "text", "text": "What is it?"} and asked[1]["content"] == "It is"


def test_a_schema_that_goes_into_the_prompt_goes_beside_them() -> None:
    dialect = Dialect("m")
    dialect.structured = False
    text = last(ask(kept(96, 64), schema=SCHEMA), dialect)[-1]["text"]
    assert text.startswith("What is it?" + SCHEMA_PROMPT)


def test_without_pictures_a_message_is_a_string() -> None:
    assert last(ask()) == "What is it?"


def test_a_server_is_shown_them() -> None:
    with serve() as server:
        opened = OpenAI.open("", EngineOptions(base_url=server.url, concurrency=2))
        (reply,) = opened.generate([ask(kept(96, 64))])
    assert "data:image/png" in reply.text


def test_a_picture_that_is_missing_costs_its_row() -> None:
    with serve() as server:
        opened = OpenAI.open("", EngineOptions(base_url=server.url, concurrency=1))
        lost, answered = opened.generate([ask("f" * 32), ask(kept(96, 64))])
        assert server.stats()["calls"] == 1
    assert (lost.error or "").startswith("no picture: picture ffff") and answered.text


@pytest.mark.parametrize(
    "words",
    [
        "Qwen3-8B is not a multimodal model",
        "At most 0 image(s) may be provided in one prompt.",
        "Invalid content type. image_url is only supported by certain models.",
    ],
)
def test_a_server_that_looks_at_none_is_one_line_and_nothing_is_left_out(
    words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(blind=words) as server, caplog.at_level(logging.WARNING):
        opened = OpenAI.open("", EngineOptions(base_url=server.url, concurrency=1))
        with pytest.raises(EngineError, match="does not look at pictures.*with --llm") as raised:
            list(opened.generate([ask(kept(96, 64))]))
        assert server.stats()["calls"] == 1
        assert len(list(opened.generate([ask()]))) == 1  # words alone it still answers
    assert "\n" not in str(raised.value) and not caplog.records


@pytest.mark.parametrize(
    "message",
    [
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "unknown variant `image_url`, expected `text`",
        "this model is missing data required for image input",
        "Image input is not enabled for this model",
        "This model does not support image inputs",
        "Multimodal inputs are not supported for this model",
        '[{"type":"string_type","loc":["body","messages",0,"content"],"msg":"Input should be a valid string"}]',
    ],
)
def test_a_model_that_is_blind_is_recognised(message: str) -> None:
    assert blind(ask("f" * 32), 400, message)
    assert not blind(ask(), 400, message)


@pytest.mark.parametrize(
    "message",
    [
        "height:8 or width:8 must be larger than factor:28",
        "Failed to load image: cannot identify image file",
        "Unsupported image size 9000 x 9000",
        "The image size is not supported: at most 50 megapixels",
        "At most 1 image(s) may be provided in one prompt.",
        "This prompt about an image is too long for the context window",
    ],
)
def test_a_picture_that_cannot_be_used_costs_its_row(message: str) -> None:
    assert not blind(ask("f" * 32), 400, message)


def test_echo_answers_and_transformers_says_that_it_looks_at_none(tmp_path: Path) -> None:
    (reply,) = Echo().generate([ask("f" * 32)])
    assert reply.text and reply.error is None
    engine = open_engine(f"transformers:{save_base(tmp_path / 'base', initializer_range=0.3)}", EngineOptions())
    requests = [ask("f" * 32, max_tokens=4), ask(max_tokens=4)]
    replies = {each.key: each for each in engine.generate(requests)}
    assert (replies[requests[0].key].error or "").endswith("does not look at pictures")
    assert replies[requests[1].key].error is None
