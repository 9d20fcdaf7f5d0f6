"""One model behind several servers, and limits a minute: real servers on loopback, counts and orders."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from augment.engines import EngineOptions
from augment.engines.openai import OpenAI
from augment.errors import EngineError
from tests.server import Served, serve
from tests.test_openai import asks


def engine(*servers: Served | str, concurrency: int = 8, **more: object) -> OpenAI:
    urls = ",".join(each if isinstance(each, str) else each.url for each in servers)
    return OpenAI.open("", EngineOptions(base_url=urls, concurrency=concurrency, **more))


def test_equal_servers_share_the_work_and_each_request_is_answered_once():
    with serve(latency=0.01) as one, serve(latency=0.01) as other:
        requests = asks(200)
        replies = list(engine(one, other).generate(requests))
        calls = [server.stats()["calls"] for server in (one, other)]
    assert sorted(reply.key for reply in replies) == sorted(each.key for each in requests)
    assert sum(calls) == 200 and min(calls) > 60


def test_a_slow_server_does_not_hold_the_others_up():
    with serve(latency=0.01) as fast, serve(latency=0.5) as slow:
        list(engine(fast, slow).generate(asks(300)))
        calls = [server.stats()["calls"] for server in (fast, slow)]
    assert sum(calls) == 300
    assert calls[1] < 60


def test_a_server_that_dies_costs_nothing_and_is_asked_again_once_it_is_back(caplog):
    caplog.set_level(logging.WARNING)
    with serve(latency=0.02) as one, serve(latency=0.02) as other:
        opened, replies, back = engine(one, other, concurrency=4), [], threading.Event()
        with_port = {"latency": 0.02, "port": one.port}
        for reply in opened.generate(asks(600)):
            replies.append(reply)
            if len(replies) == 100:
                one.kill()
            if len(replies) == 200:
                again = serve(**with_port)
                revived = again.__enter__()
                back.set()
        assert revived.stats()["finished"] > 20
        again.__exit__(None, None, None)
    assert len(replies) == 600 and not [reply for reply in replies if reply.error]
    said = [record.getMessage() for record in caplog.records]
    assert sum("asking the others" in line for line in said) == 1
    assert sum("answers again" in line for line in said) == 1


def test_a_server_that_is_away_at_the_start_is_not_waited_for(caplog):
    with serve() as one:
        replies = list(engine("http://127.0.0.1:9/v1", one).generate(asks(20)))
    assert len(replies) == 20 and not [reply for reply in replies if reply.error]
    assert "http://127.0.0.1:9/v1 does not answer; asking the others" in caplog.text


def test_when_all_are_away_it_is_one_line():
    with pytest.raises(EngineError, match="no answer from"):
        engine("http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1")


def test_when_all_die_it_is_one_line():
    with serve(latency=0.01) as one, serve(latency=0.01) as other:
        opened, seen = engine(one, other, retries=2), 0
        with pytest.raises(EngineError, match="has gone"):
            for _ in opened.generate(asks(300)):
                seen += 1
                if seen == 50:
                    one.kill()
                    other.kill()
    assert seen >= 50


@pytest.mark.parametrize("settings", [{"models": "another"}, {"root": "other/weights"}])
def test_servers_of_different_models_are_refused(settings):
    said = pytest.raises(EngineError, match="serve .* give --base-url servers of one model")
    with serve(root="these/weights") as one, serve(**{"root": "these/weights", **settings}) as other, said:
        engine(one, other)


def test_one_that_refuses_for_a_while_is_passed_by():
    with serve(rate_limit=5, retry_after="1") as held, serve(latency=0.005) as free:
        replies = list(engine(held, free).generate(asks(300)))
        assert len(replies) == 300 and not [reply for reply in replies if reply.error]
        assert free.stats()["finished"] > 200


def test_requests_a_minute_are_kept_to_whoever_asks_how_fast():
    with serve() as server:
        list(engine(server, rpm=1200).generate(asks(60)))
        times = sorted(begun for _, begun, _, _ in server.log())
    assert all(times[place + 30] - times[place] >= 0.4 for place in range(30))  # 20 at once, then under 20 a second


def test_tokens_a_minute_are_kept_to(place, augment):
    with serve() as server:
        flags = ("--source", "sample", "--limit", "20", "--n", "1x", "--filters", "none", "--json")
        ran = augment("text", *flags, "--llm", "openai:test-model", "--base-url", server.url, "--tpm", "120000")
        took = server.stats()["last"] - server.stats()["first"]
    assert ran.code == 0
    assert took > 1, "twenty rewrites of some 300 tokens are three seconds at 2,000 a second"


def test_limits_are_divided_among_engines_side_by_side():
    shared = EngineOptions(rpm=600, tpm=None).shared(4)
    assert (shared.rpm, shared.tpm) == (150, None)


def test_a_request_that_takes_servers_down_costs_itself_alone():
    """It is tried elsewhere so often and no more."""
    with serve(drop_share=0.02, latency=0.005) as one, serve(drop_share=0.02, latency=0.005) as other:
        start = time.monotonic()
        replies = list(engine(one, other, retries=2).generate(asks(200)))
        assert time.monotonic() - start < 60
    lost = [reply for reply in replies if reply.error]
    assert len(replies) == 200
    assert 0 < len(lost) < 30
