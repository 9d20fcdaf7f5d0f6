"""The engine that asks a server for pictures, against a real one on loopback: orders and counts, never seconds."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from augment.engines import EngineOptions, open_engine
from augment.engines.images import Dialect
from augment.engines.openai_images import OpenAIImages
from augment.engines.slots import AHEAD
from augment.errors import EngineError
from augment.images.drawn import Drawn, drawn
from augment.images.pictures import decode, pixels_of
from augment.images.stamp import DRAWN, EDITED, recipe_of
from augment.images.store import pictures
from augment.places import home
from augment.records import UNUSABLE, Drawing, Reply, Request
from augment.replies import ReplyStore
from tests import server as servers
from tests.server import Served

SECRET = "sk-very-secret-0123456789"
SIZE = (96, 69)
"""Of the parent, 70 × 50, where its longer side is 96; its canvas is 96 × 80."""


def serve(**settings: Any) -> contextlib.AbstractContextManager[Served]:
    return servers.serve("tests.images.server", **settings)


@pytest.fixture(autouse=True)
def _environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert "augment-slots" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
def parent() -> str:
    rows, columns = np.mgrid[0:50, 0:70]
    values = np.stack([rows * 5, columns * 3, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    return pictures().add(Image.fromarray(values))


@pytest.fixture
def mask() -> str:
    black = Image.new("RGB", (70, 50))
    black.paste("white", (20, 10, 50, 40))
    return pictures().add(black)


def ask(number: int, kind: str = "text", **more: Any) -> Request:
    size = {"width": 64, "height": 48} if kind in ("text", "reference") else {"width": 96, "height": 96}
    drawing = Drawing(kind, f"a cat, the {number}th", **{**size, **more})
    return Request(f"r{number}", "g", 0, (), "t@1", number, drawing=drawing, engine="openai-images", model="m")


def asks(number: int, kind: str = "text", **more: Any) -> list[Request]:
    return [ask(each, kind, **more) for each in range(number)]


def engine(server: Served, concurrency: int = 4, **more: Any) -> OpenAIImages:
    return OpenAIImages.open("", EngineOptions(base_url=server.url, concurrency=concurrency, **more))


def found(reply: Reply) -> Drawn:
    told = drawn(reply)
    assert isinstance(told, Drawn), reply
    assert told.pixels == pixels_of(decode(reply.picture))
    assert (told.width, told.height) == decode(reply.picture).size
    return told


def asked(server: Served) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = server.get("/asked")
    return told


def test_every_request_gets_its_own_picture_the_same_each_time() -> None:
    requests = asks(40)
    with serve() as server:
        first = {each.key: each for each in engine(server).generate(requests)}
        second = {each.key: each for each in engine(server, 1).generate(requests[::-1])}
        assert server.stats()["calls"] == 80
    assert first == second and first.keys() == {each.key for each in requests}
    assert len({found(each).pixels for each in first.values()}) == 40
    assert all(found(each).about == {} and each.tokens_out == 100 for each in first.values())
    recipe, source = recipe_of(first[requests[0].key].picture)
    assert source == DRAWN and recipe is not None and recipe["seed"] == 0


def test_it_is_opened_by_name_with_the_only_model_served() -> None:
    with serve(root="owner/painter") as server:
        opened = open_engine("openai-images", EngineOptions(base_url=server.url))
    assert (opened.name, opened.model, opened.revision) == ("openai-images", "test-painter", "owner/painter")


@pytest.mark.parametrize(
    ("model", "warnings"),
    [("stabilityai/stable-diffusion-xl-base-1.0", 1), ("Tongyi-MAI/Z-Image", 0), ("of-my-own", 0)],
)
def test_a_model_whose_outputs_may_train_nobody_for_certain_is_named_and_used(
    model: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(models=model) as server, caplog.at_level(logging.WARNING):
        assert found(next(engine(server).generate(asks(1))))
        assert engine(server, accept_licence=True)
    assert [model in record.getMessage() for record in caplog.records] == [True] * warnings


@pytest.mark.parametrize("suffix", ["", "/v1", "/v1/images/generations", "/v1/images/edits/"])
def test_the_address_may_be_written_in_any_way(suffix: str) -> None:
    with serve() as server:
        options = EngineOptions(base_url=server.url.removesuffix("/v1") + suffix)
        assert OpenAIImages.open("test-painter", options).server.url == server.url


def test_what_the_drawing_says_is_sent() -> None:
    drawing = {"negative": "blurry", "steps": 7, "guidance": 4.5}
    with serve() as server:
        list(engine(server).generate([ask(3, **drawing)]))
        (call,) = asked(server)
    assert call["fields"] == {
        "model": "test-painter",
        "prompt": "a cat, the 3th",
        "n": 1,
        "size": "64x48",
        "response_format": "b64_json",
        "output_format": "png",
        "seed": 3,
        "negative_prompt": "blurry",
        "num_inference_steps": 7,
        "guidance_scale": 4.5,
    }


@pytest.mark.parametrize(
    ("model", "name"), [("black-forest/klein", "guidance_scale"), ("Qwen-Image", "true_cfg_scale")]
)
def test_guidance_is_called_as_the_model_calls_it(model: str, name: str) -> None:
    with serve(models=model) as server:
        list(engine(server).generate([ask(3, guidance=4.5)]))
        (call,) = asked(server)
    assert call["fields"][name] == 4.5 and len({"guidance_scale", "true_cfg_scale"} & call["fields"].keys()) == 1


@pytest.mark.parametrize("kind", ["image", "instruct", "inpaint"])
def test_an_edit_goes_out_on_our_canvas_and_comes_back_off_it(kind: str, parent: str, mask: str) -> None:
    masked = {"mask": mask} if kind == "inpaint" else {}
    with serve() as server:
        (reply,) = engine(server).generate([ask(3, kind, image=parent, strength=0.5, **masked)])
        (call,) = asked(server)
    told = found(reply)
    assert (told.width, told.height) == SIZE and told.about == {}
    assert recipe_of(reply.picture)[1] == EDITED
    assert call["path"] == "/v1/images/edits"
    assert call["fields"]["size"] == "96x80" and call["fields"]["strength"] == "0.5" and call["fields"]["seed"] == "3"
    assert call["files"]["image"]["size"] == [96, 80]
    before = np.asarray(pictures().open(parent).resize(SIZE, Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(np.asarray(decode(reply.picture)) - before).max() > 50


def test_a_mask_says_where_to_draw_in_every_servers_words(parent: str, mask: str) -> None:
    with serve() as server:
        list(engine(server).generate([ask(3, "inpaint", image=parent, mask=mask)]))
        (call,) = asked(server)
    told = call["files"]["mask"]
    share = (96 * 30 / 70) * (69 * 30 / 50) / (96 * 80)  # of the canvas
    assert told["size"] == [96, 80] and told["mode"] == "RGBA"
    assert told["white"] == told["clear"] == pytest.approx(share, rel=0.05)
    assert call["fields"]["mask_image"].startswith("data:image/png;base64,")


def test_nothing_changes_outside_the_mask(parent: str, mask: str) -> None:
    with serve() as server:
        (reply,) = engine(server).generate([ask(3, "inpaint", image=parent, mask=mask)])
    before = np.asarray(pictures().open(parent).resize(SIZE, Image.Resampling.LANCZOS)).astype(int)
    inside = np.asarray(pictures().open(mask).resize(SIZE, Image.Resampling.NEAREST))[..., 0] > 0
    difference = np.abs(np.asarray(decode(reply.picture)) - before).sum(-1)
    assert difference[~inside].max() == 0 and (difference[inside] > 0).mean() > 0.9


def test_a_reference_is_sent_as_it_is_and_drawn_at_the_size_asked_for(parent: str) -> None:
    with serve() as server:
        (reply,) = engine(server).generate([ask(3, "reference", image=parent)])
        (call,) = asked(server)
    assert (found(reply).width, found(reply).height) == (64, 48)
    assert call["files"]["image"]["size"] == [70, 50] and "mask" not in call["files"]


def test_another_parent_is_another_picture(parent: str, mask: str) -> None:
    with serve() as server:
        one, other = engine(server).generate([ask(3, "image", image=each) for each in (parent, mask)])
    assert found(one).pixels != found(other).pixels


def test_what_no_server_can_draw_ends_the_run_in_one_line(parent: str) -> None:
    with serve() as server:
        with pytest.raises(EngineError, match="has no kind control; give --engine diffusers:MODEL"):
            list(engine(server).generate([ask(3, "control", control=parent)]))
        with pytest.raises(EngineError, match="knows no subjects"):
            list(engine(server).generate([ask(3, adapters=("0" * 32,))]))
        with pytest.raises(EngineError, match="cannot find where to inpaint without a mask"):
            list(engine(server).generate([ask(3, "inpaint", image=parent, before="a cat")]))
        assert server.stats()["calls"] == 0


def test_a_picture_that_is_missing_costs_its_row(parent: str) -> None:
    requests = [ask(1, "image", image="f" * 32), ask(2, "image"), ask(3, "image", image=parent)]
    with serve() as server:
        replies = {each.key: each for each in engine(server).generate(requests)}
        assert server.stats()["calls"] == 1
    assert (replies[requests[0].key].error or "").startswith("no picture: picture ffff")
    assert replies[requests[1].key].error == "no picture: there is none to draw from by kind image"
    assert found(replies[requests[2].key])


def test_it_answers_nothing_in_words() -> None:
    with serve() as server:
        (reply,) = engine(server).generate([Request("r", "g", 0, (("user", "?"),), "t@1", 1)])
    assert (reply.error or "").startswith("no drawing:")


def test_a_bad_request_costs_one_row_and_is_never_retried() -> None:
    with serve(fail_400_share=0.2) as server:
        replies = list(engine(server).generate(asks(60)))
        assert server.stats()["calls"] == 60
    bad = [reply for reply in replies if reply.error]
    assert len(replies) == 60 and 0 < len(bad) < 30
    assert {reply.error for reply in bad} == {"HTTP 400: This prompt is longer than 77 tokens"}


def test_transient_errors_are_retried_until_there_is_a_picture() -> None:
    with serve(transient_share=0.2) as server:
        replies = list(engine(server, 16).generate(asks(40)))
        stats = server.stats()
    assert len([found(reply) for reply in replies]) == 40
    assert stats["statuses"]["500"] > 0 and stats["statuses"]["429"] > 0
    assert set(stats["by_key"].values()) == {1} and len(stats["by_key"]) == 40


def test_a_retry_after_is_honoured() -> None:
    with serve(transient_share=0.3, retry_after="1") as server:
        assert len(list(engine(server, 40).generate(asks(40)))) == 40
        log = server.log()
    refused = [(key, ended) for key, _, ended, status in log if status == 429]
    assert refused
    for key, ended in refused:
        assert min(begun for other, begun, _, _ in log if other == key and begun > ended) >= ended + 1.0


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_for_all_stops_at_once_and_keeps_earlier_pictures(status: int) -> None:
    replies: list[Reply] = []
    with serve(fatal_after=9, fatal_status=status) as server:
        with pytest.raises(EngineError, match=f"HTTP {status}: no more pictures for you"):
            replies.extend(engine(server).generate(asks(100)))
        assert server.stats()["finished"] == 9
    assert 9 - 4 < len(replies) <= 9  # what a slot has not decoded yet is in flight


def test_a_server_without_edits_is_one_line_with_the_flag(parent: str) -> None:
    with serve(no_edits=True) as server:
        assert found(next(engine(server).generate(asks(1))))
        with pytest.raises(EngineError, match="/v1/images/edits is not there.*with --engine-url") as raised:
            list(engine(server).generate([ask(1, "image", image=parent)]))
    assert "\n" not in str(raised.value)


def test_nobody_there_names_the_engines_own_flag() -> None:
    with pytest.raises(EngineError, match="give --engine-url http://HOST:PORT/v1"):
        OpenAIImages.open("m", EngineOptions())
    with pytest.raises(EngineError, match="no answer from http://127.0.0.1:9/v1: .*--engine-url"):
        OpenAIImages.open("m", EngineOptions(base_url="127.0.0.1:9"))


@pytest.mark.parametrize("pydantic", [False, True])
def test_refused_fields_are_left_out_once_for_all(pydantic: bool, caplog: pytest.LogCaptureFixture) -> None:
    with serve(refuse="seed,response_format,negative_prompt", pydantic=pydantic) as server:
        with caplog.at_level(logging.WARNING):
            replies = list(engine(server).generate(asks(30, negative="blurry")))
        assert server.stats()["calls"] - 30 <= 3 * 4  # only those out before a refusal came back
    assert len(caplog.records) == 3
    assert len(replies) == 30
    for reply in replies:
        assert found(reply).about == {"left_out": ["seed", "negative_prompt"], "reproducible": False}


def test_a_server_without_seeds_says_so_in_every_row(caplog: pytest.LogCaptureFixture) -> None:
    with serve(refuse="seed") as server, caplog.at_level(logging.WARNING):
        first, second = (next(engine(server).generate([ask(1)])) for _ in range(2))
    assert found(first).pixels != found(second).pixels
    assert found(first).about == {"left_out": ["seed"], "reproducible": False}
    assert "cannot be drawn again the same" in caplog.text


def test_a_field_that_would_be_ignored_without_a_word_is_left_out(
    parent: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(declare="num_inference_steps", ignore="strength") as server, caplog.at_level(logging.WARNING):
        opened = engine(server)
        requests = asks(9, "image", image=parent, strength=0.3, steps=5)
        assert {str(found(each).about) for each in opened.generate(requests)} == {"{'left_out': ['strength']}"}
        assert found(next(opened.generate([ask(1, steps=5)]))).about == {}
        assert all("strength" not in call["fields"] for call in asked(server))
    assert [record.getMessage() for record in caplog.records] == [
        "asking without strength from here on (the server says: it is not among the fields that it lists)"
    ]


def test_a_size_that_is_refused_is_left_to_the_server_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with serve(sizes="128x128") as server, caplog.at_level(logging.WARNING):
        (reply,) = engine(server).generate([ask(1)])
    told = found(reply)
    assert (told.width, told.height) == (64, 48) and told.about == {"resized_from": [96, 96]}
    assert "without size" in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        "Requested image size 4096x4096 exceeds the maximum allowed size of 1048576 pixels.",
        "Your prompt is too long: size of 900 is not supported",
        "guidance_scale: Input should be less than or equal to 20",
        "The model is overloaded",
    ],
)
def test_a_value_that_is_too_much_costs_its_row_and_no_field(message: str) -> None:
    dialect = Dialect("m")
    assert not dialect.adapt(400, orjson.dumps({"error": {"message": message}}), message, dialect.version)
    assert dialect.version == 0


@pytest.mark.parametrize("draws", ["192x160", "48x40"])
def test_an_edit_of_another_size_is_resized_and_says_so(draws: str, parent: str) -> None:
    with serve(draws=draws) as server:
        (reply,) = engine(server).generate([ask(1, "image", image=parent)])
    told = found(reply)
    assert (told.width, told.height) == SIZE
    assert told.about == {"resized_from": [int(each) for each in draws.split("x")]}


def test_an_edit_of_another_shape_is_lost_once_and_said_once(parent: str, caplog: pytest.LogCaptureFixture) -> None:
    with serve(draws="96x96") as server, caplog.at_level(logging.WARNING):
        replies = list(engine(server).generate(asks(5, "image", image=parent)))
        assert server.stats()["calls"] == 5
    assert {reply.finish for reply in replies} == {UNUSABLE}
    assert len(caplog.records) == 1 and "answers an edit of 96 × 80 with 96 × 96" in caplog.text


def test_a_picture_from_words_in_another_shape_is_cut_not_stretched() -> None:
    with serve(draws="96x96") as server:
        (reply,) = engine(server).generate([ask(1)])
    with serve(draws="96x72") as server:
        (same,) = engine(server).generate([ask(1)])
    assert found(reply).about == {"resized_from": [96, 96]} and found(same).about == {"resized_from": [96, 72]}
    assert (found(reply).width, found(reply).height) == (64, 48)


def test_a_broken_picture_is_asked_for_three_times_and_is_an_answer_without_one() -> None:
    requests = asks(40)
    with serve(broken_share=0.3) as server:
        replies = list(engine(server, 40).generate(requests))
        calls = [key for key, *_ in server.log()]
    bad = [reply for reply in replies if reply.finish == UNUSABLE]
    assert 5 <= len(bad) < 25 and len(replies) == 40
    assert all(reply.error is None and reply.text == "" and reply.picture == b"" for reply in bad)
    assert sorted({calls.count(key) for key in calls}) == [1, 3]
    assert len(calls) == 40 + 2 * len(bad)


@pytest.mark.parametrize("code", ["content_policy_violation", "moderation_blocked"])
def test_what_a_policy_refuses_is_an_answer_and_not_asked_again(code: str) -> None:
    with serve(policy_share=0.3, policy_code=code) as server:
        replies = list(engine(server).generate(asks(30)))
        assert server.stats()["calls"] == 30
    withheld = [reply for reply in replies if reply.finish == "content_filter"]
    assert 2 < len(withheld) < 20
    assert all(reply.error is None and reply.text == "" for reply in withheld)


def test_a_black_picture_is_a_safety_checkers_and_is_never_kept() -> None:
    with serve(black_share=0.3) as server:
        replies = list(engine(server).generate(asks(30)))
    black = [reply for reply in replies if reply.finish == "content_filter"]
    assert 2 < len(black) < 20 and all(reply.picture == b"" for reply in black)
    assert all(decode(reply.picture).getbbox() for reply in replies if reply not in black)


@pytest.mark.parametrize("how", ["own", "absolute", "data"])
def test_a_picture_may_be_at_an_address_of_the_server_itself(how: str) -> None:
    with serve() as server:
        (plain,) = engine(server).generate([ask(1)])
    with serve(url=how) as server:
        (reply,) = engine(server).generate([ask(1)])
    assert found(reply).pixels == found(plain).pixels


def test_a_picture_is_fetched_from_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with serve(url="elsewhere", key=SECRET) as server:
        with pytest.raises(EngineError, match=r"at pictures\.example\.com, and only its own are fetched") as raised:
            list(engine(server, 1).generate(asks(9)))
        assert server.stats()["calls"] == 1
    assert "\n" not in str(raised.value) and SECRET not in str(raised.value)


def test_no_redirect_is_followed_to_a_picture() -> None:
    with serve(url="redirect") as server:
        (reply,) = engine(server).generate([ask(1)])
        assert server.stats()["calls"] == 3
    assert reply.finish == UNUSABLE


def test_the_prompt_that_was_drawn_instead_is_said() -> None:
    with serve(revise=True) as server:
        (reply,) = engine(server).generate([ask(1)])
    assert found(reply).about == {"revised_prompt": "a cat, the 1th, in detail"}


def test_the_key_is_sent_and_never_shown(
    parent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(key=SECRET, refuse="seed") as server, caplog.at_level(logging.DEBUG):
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        opened = engine(server)
        replies = list(opened.generate([ask(1), ask(2, "image", image=parent)]))
        assert SECRET not in repr(opened)
        assert all(SECRET.encode() not in reply.picture and SECRET not in reply.text for reply in replies)
        assert SECRET not in str(asked(server))
        monkeypatch.setenv("OPENAI_API_KEY", SECRET[:-1])
        with pytest.raises(EngineError, match="refuses the key.*OPENAI_API_KEY") as raised:
            engine(server)
        assert SECRET[:-1] not in str(raised.value)
    assert SECRET[:-1] not in caplog.text


def test_a_200_that_quotes_the_key_is_masked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with serve(error_200=f"bad key {SECRET}") as server, caplog.at_level(logging.DEBUG):
        (reply,) = engine(server, retries=1).generate(asks(1))
    assert reply.error == "unusable answer: bad key ***"
    assert SECRET not in caplog.text


def test_a_slow_picture_holds_nobody_else_and_drawing_ends_when_drained() -> None:
    with serve(latency=0.1) as server:
        opened = engine(server, 4)
        replies = opened.generate(asks(100))
        got = [next(replies)]
        opened.drain()
        got += replies
        stats = server.stats()
    assert stats["max_in_flight"] == 4
    assert stats["calls"] == stats["finished"] == len(got) <= AHEAD * 4 + 4


def _draw(url: str) -> None:
    """Draws sixty pictures and keeps each, until it is killed."""
    opened = OpenAIImages.open("", EngineOptions(base_url=url, concurrency=4))
    with ReplyStore(home() / "replies.sqlite") as store:
        for _ in opened.generate(asks(60), store.put):
            pass


def test_a_run_that_is_killed_draws_again_only_what_was_in_flight() -> None:
    requests = asks(60)
    with serve(latency=0.05) as server:
        process = multiprocessing.get_context("spawn").Process(target=_draw, args=(server.url,))
        process.start()
        while server.stats()["finished"] < 12:
            time.sleep(0.02)
        process.kill()
        process.join()
        with ReplyStore(home() / "replies.sqlite") as store:
            known = store.answered(requests)
            assert 8 <= len(known) < 60
            missing = [each for each in requests if each.key not in known]
            kept = [reply.key for reply in engine(server).generate(missing, store.put)]
            everything = store.answered(requests)
        calls = server.stats()["calls"]
    assert sorted(kept) == sorted(each.key for each in missing)
    assert everything.keys() == {each.key for each in requests}
    assert 60 <= calls <= 60 + 4
    for key, reply in everything.items():
        assert orjson.loads(reply.text)["pixels"] == pixels_of(pictures().open(key))
