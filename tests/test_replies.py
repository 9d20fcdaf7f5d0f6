from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from PIL import Image

from augment.errors import RunError
from augment.images.drawn import picture_reply
from augment.images.pictures import pixels_of
from augment.images.stamp import EDITED
from augment.images.store import pictures
from augment.records import Drawing, Reply, Request
from augment.replies import ReplyStore


def ask(i: int, max_tokens: int = 100) -> Request:
    return Request(f"r{i}", "g", 0, (("user", f"问{i}"),), "t", seed=i, max_tokens=max_tokens)


def test_what_was_put_is_answered(tmp_path):
    with ReplyStore(tmp_path / "s.sqlite") as store:
        store.put(ask(1), Reply(ask(1).key, "答", "stop", 3, 4))
        found = store.answered([ask(1), ask(2)])
    assert found == {ask(1).key: Reply(ask(1).key, "答", "stop", 3, 4)}


def test_a_truncated_reply_counts_only_up_to_its_limit(tmp_path):
    with ReplyStore(tmp_path / "s.sqlite") as store:
        store.put(ask(1), Reply(ask(1).key, "半", "length"))
        assert ask(1).key in store.answered([ask(1)])
        raised = dataclasses.replace(ask(1), max_tokens=200)
        assert store.answered([raised]) == {}
        store.put(raised, Reply(raised.key, "全", "stop"))
        assert store.answered([ask(1)])[ask(1).key].text == "全"


def test_many_keys_are_found_at_once(tmp_path):
    with ReplyStore(tmp_path / "s.sqlite") as store:
        for i in range(1200):
            store.put(ask(i), Reply(ask(i).key, str(i)))
        found = store.answered(ask(i) for i in range(1300))
    assert {reply.text for reply in found.values()} == {str(i) for i in range(1200)}


def test_what_was_asked_can_be_read_again(tmp_path):
    with ReplyStore(tmp_path / "s.sqlite") as store:
        store.put(ask(1), Reply(ask(1).key, "答"))
        asked, reply = store.asked(ask(1).key)
        assert asked["messages"] == [["user", "问1"]]
        assert reply.text == "答"
        assert store.asked("nope") is None


def _put_and_die(path) -> None:
    store = ReplyStore(path)
    for i in range(50):
        store.put(ask(i), Reply(ask(i).key, str(i)))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_reply_survives_the_death_of_the_process_at_once(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_put_and_die, args=(tmp_path / "s.sqlite",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with ReplyStore(tmp_path / "s.sqlite") as store:
        assert len(store.answered(ask(i) for i in range(50))) == 50


def test_a_file_that_is_no_store_is_said(tmp_path):
    (tmp_path / "s.sqlite").write_text("this is not a database, whatever its name says" * 100)
    with pytest.raises(RunError, match="cannot open the reply store"):
        ReplyStore(tmp_path / "s.sqlite")


def test_a_shorter_run_never_replaces_a_longer_answer(tmp_path):
    with ReplyStore(tmp_path / "s.sqlite") as store:
        long, short = ask(1, max_tokens=200), ask(1, max_tokens=100)
        store.put(long, Reply(long.key, "全", "stop"))
        store.put(short, Reply(short.key, "半", "length"))
        assert store.answered([long])[long.key].text == "全"
        store.put(ask(2, 100), Reply(ask(2).key, "短", "length"))
        store.put(ask(2, 50), Reply(ask(2).key, "更短", "length"))
        assert store.answered([ask(2, 100)])[ask(2).key].text == "短"


def test_a_failure_is_not_an_answer(tmp_path):
    with ReplyStore(tmp_path / "s.sqlite") as store:
        store.put(ask(1), Reply(ask(1).key, "", "error", error="HTTP 400: no"))
        assert store.answered([ask(1)]) == {}


@pytest.fixture
def shop(place: Path) -> Iterator[ReplyStore]:
    """A reply store beside a picture store of its own."""
    with ReplyStore(place / "home" / "replies.sqlite") as store:
        yield store


def drawn(i: int, shade: int = 0) -> tuple[Request, Reply]:
    drawing = Drawing("image", f"a cat, {i}", image="0" * 32, strength=0.5, width=64, height=64)
    request = Request(f"r{i}", "img2img", 0, (), "t@1", seed=i, drawing=drawing)
    return request, picture_reply(request, Image.new("RGB", (64, 64), (i, shade, 0)), EDITED)


def test_a_picture_is_kept_under_its_key_and_its_reply_comes_back_without_it(shop: ReplyStore) -> None:
    request, reply = drawn(1)
    shop.put(request, reply)
    assert pictures().raw(request.key) == reply.picture
    (found,) = shop.answered([request]).values()
    assert found == dataclasses.replace(reply, picture=b"")
    assert pixels_of(pictures().open(request.key)) == orjson.loads(found.text)["pixels"]


def test_a_picture_is_in_its_store_before_its_reply_is(shop: ReplyStore, place: Path) -> None:
    request, reply = drawn(1)
    (place / "home" / "images").write_text("no folder")
    with pytest.raises(RunError, match="cannot keep a picture"):
        shop.put(request, reply)
    (place / "home" / "images").unlink()
    assert shop.answered([request]) == {} and shop.asked(request.key) is None
    shop.put(request, reply)  # the failure has left nothing open
    assert request.key in shop.answered([request])


def test_a_drawing_whose_picture_is_gone_is_asked_again(shop: ReplyStore) -> None:
    for i in (1, 2):
        shop.put(*drawn(i))
    gone, there = drawn(1)[0], drawn(2)[0]
    pictures().path(gone.key).unlink()
    assert shop.answered([gone, there]).keys() == {there.key}
    shop.put(*drawn(1, shade=9))  # a server without seeds draws another
    (text,) = (each.text for each in shop.answered([gone]).values())
    assert orjson.loads(text)["pixels"] == pixels_of(pictures().open(gone.key))


def test_a_picture_without_its_reply_gives_way_to_the_one_that_is_drawn_next(shop: ReplyStore) -> None:
    request, first = drawn(1)
    pictures().put(request.key, first.picture)  # and then the process was killed
    assert pictures().open(request.key).getpixel((0, 0)) == (1, 0, 0)
    shop.put(*drawn(1, shade=9))
    assert pictures().open(request.key).getpixel((0, 0)) == (1, 9, 0)


def test_the_first_picture_under_a_key_stays(shop: ReplyStore) -> None:
    request, first = drawn(1)
    shop.put(request, first)
    shop.put(*drawn(1, shade=9))
    assert pictures().raw(request.key) == first.picture
    assert shop.answered([request])[request.key].text == first.text


def test_a_drawing_that_was_refused_is_answered_though_it_has_no_picture(shop: ReplyStore) -> None:
    request, reply = drawn(1)
    refused = Reply(request.key, "", "content_filter")
    shop.put(request, refused)
    assert shop.answered([request]) == {request.key: refused}
    other, reply = drawn(2)
    shop.put(other, reply)
    pictures().path(other.key).unlink()
    refused = Reply(other.key, "", "content_filter")
    shop.put(other, refused)  # drawn before, and refused when asked again
    assert shop.answered([other]) == {other.key: refused}


def test_what_was_to_be_drawn_can_be_read_again(shop: ReplyStore) -> None:
    request, reply = drawn(1)
    shop.put(request, reply)
    found = shop.asked(request.key)
    assert found is not None
    asked, told = found
    assert asked["drawing"] == orjson.loads(orjson.dumps(request.drawing))
    assert asked["pictures"] == ["0" * 32]
    assert told.text == reply.text


def test_what_was_shown_with_a_question_can_be_read_again(shop: ReplyStore) -> None:
    request = dataclasses.replace(ask(1), pictures=("0" * 32,))
    shop.put(request, Reply(request.key, "a cat"))
    found = shop.asked(request.key)
    assert found is not None and found[0]["pictures"] == ["0" * 32] and "drawing" not in found[0]
    assert request.key in shop.answered([request])  # words: no picture to miss


def _draw_and_die(path: Path, shade: int) -> None:
    store = ReplyStore(path)
    for i in range(20):
        store.put(*drawn(i, shade))
    os.kill(os.getpid(), signal.SIGKILL)


def test_two_processes_that_draw_the_same_keep_the_same(place: Path) -> None:
    path = place / "home" / "replies.sqlite"
    crew = [multiprocessing.get_context("spawn").Process(target=_draw_and_die, args=(path, each)) for each in (1, 2)]
    for each in crew:
        each.start()
    for each in crew:
        each.join()
        assert each.exitcode == -signal.SIGKILL
    with ReplyStore(path) as store:
        found = store.answered(drawn(i)[0] for i in range(20))
    assert len(found) == 20
    assert all(pixels_of(pictures().open(key)) == orjson.loads(each.text)["pixels"] for key, each in found.items())
