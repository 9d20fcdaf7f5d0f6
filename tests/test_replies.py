from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal

import pytest

from augment.errors import RunError
from augment.records import Reply, Request
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
