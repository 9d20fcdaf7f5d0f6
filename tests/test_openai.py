"""The HTTP engine against a real server on loopback: orders and counts, never seconds."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import orjson
import pytest

from augment.engines import EngineOptions
from augment.engines.chat import MOST_TOKENS, Dialect
from augment.engines.openai import OpenAI
from augment.engines.server import Server
from augment.engines.slots import AHEAD
from augment.errors import EngineError
from augment.records import UNUSABLE, Reply, Request
from tests.server import Served, content, serve

SCHEMA = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}
SECRET = "sk-very-secret-0123456789"
DEADLINE = 60.0
"""Seconds after which a test that hangs fails; the slowest takes three."""


@pytest.fixture(autouse=True)
def _deadline() -> Iterator[None]:
    """Interrupts whatever the main thread waits for, and again every few seconds while it cleans up."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"no end after {DEADLINE:g} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE, 5.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert "augment-slots" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture(scope="module")
def plain() -> Iterator[Served]:
    with serve() as server:
        yield server


def ask(number: int, **more: Any) -> Request:
    messages = (("system", "You are kind."), ("user", f"My head hurts, I took {number} mg. What now?"))
    return Request(f"r{number}", "paraphrase", 0, messages, "t@1", number, **more)


def asks(number: int, **more: Any) -> list[Request]:
    return [ask(each, **more) for each in range(number)]


def engine(server: Served, concurrency: int = 16, **more: Any) -> OpenAI:
    return OpenAI.open("", EngineOptions(base_url=server.url, concurrency=concurrency, **more))


def key_of(request: Request) -> str:
    """The server's name for a request."""
    messages = [{"content": text} for _, text in request.messages]
    return content({"messages": messages, "seed": request.seed})


def test_every_request_gets_its_own_reply(plain: Served) -> None:
    requests = asks(200)
    replies = {reply.key: reply for reply in engine(plain).generate(requests)}
    assert replies.keys() == {request.key for request in requests}
    assert all(f"{each.seed} mg" in replies[each.key].text for each in requests)
    assert all(r.error is None and r.finish == "stop" and r.tokens_in and r.tokens_out for r in replies.values())


def test_a_bad_request_costs_one_row() -> None:
    with serve(fail_400_share=0.1) as server:
        replies = list(engine(server).generate(asks(200)))
        bad = [reply for reply in replies if reply.error]
        assert len(replies) == 200 and 0 < len(bad) < 50
        assert {reply.error for reply in bad} == {"HTTP 400: This prompt is too long for the context window"}
        assert all(reply.text == "" for reply in bad)
        assert server.stats()["calls"] == 200  # a permanent error is never retried


def test_transient_errors_are_retried_until_answered() -> None:
    with serve(transient_share=0.1, retry_after="0") as server:
        replies = list(engine(server, 64).generate(asks(150)))
        stats = server.stats()
    assert len(replies) == 150 and not [reply for reply in replies if reply.error]
    assert stats["statuses"]["500"] > 0 and stats["statuses"]["429"] > 0
    assert stats["finished"] == 150 and set(stats["by_key"].values()) == {1}


@pytest.mark.parametrize(("header", "least"), [("1", 1.0), ("date", 0.9)])  # a date has whole seconds
def test_retry_after_is_honoured(header: str, least: float) -> None:
    with serve(transient_share=0.06, retry_after=header) as server:
        assert len(list(engine(server, 32).generate(asks(64)))) == 64
        log = sorted(server.log(), key=lambda entry: entry[1])
    refused = [(key, ended) for key, _, ended, status in log if status == 429]
    assert refused
    for key, ended in refused:
        assert min(begun for other, begun, _, _ in log if other == key and begun > ended) >= ended + least


def test_retries_end_and_cost_one_row() -> None:
    with serve(transient_share=1.0, retry_after="0") as server:
        replies = list(engine(server, retries=0).generate(asks(10)))
    assert {reply.error for reply in replies} <= {"HTTP 500: Internal error", "HTTP 429: Slow down"}
    assert len(replies) == 10 and all(reply.error for reply in replies)


def test_an_endless_retry_after_stops_the_run() -> None:
    with (
        serve(rate_limit=1, retry_after="86400") as server,
        pytest.raises(EngineError, match="wants 86400 s of silence"),
    ):
        list(engine(server, 4).generate(asks(8)))


@pytest.mark.parametrize(
    ("status", "words"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "it serves: test-model")]
)
def test_a_refused_key_or_model_stops_at_once_and_keeps_earlier_replies(status: int, words: str) -> None:
    replies: list[Reply] = []
    with serve(fatal_after=40, fatal_status=status) as server:
        with pytest.raises(EngineError, match=f"HTTP {status}: no more of test-model for you.*{words}"):
            replies.extend(engine(server, 4).generate(asks(1000)))  # extend keeps what came before the raise
        assert len(replies) == server.stats()["finished"] == 40
        assert server.stats()["calls"] <= 40 + 4


def test_nobody_there_is_one_line_with_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"no answer from {url}/v1: .*--base-url") as raised:
            OpenAI.open("m", EngineOptions(base_url=url))
    assert "\n" not in str(raised.value)


def test_no_address_and_no_key_says_what_to_give() -> None:
    with pytest.raises(EngineError, match="--base-url"):
        OpenAI.open("m", EngineOptions())


def test_a_server_that_dies_ends_the_run() -> None:
    with serve(latency=0.01) as server:
        replies = engine(server, 4, retries=1).generate(map(ask, count()))
        next(replies)
        server.kill()
        with pytest.raises(EngineError, match="has gone"):
            list(replies)


@pytest.mark.parametrize("concurrency", [1, 40])  # 40: all rows are begun, so no other answer vouches for the server
def test_a_request_that_drops_every_connection_costs_one_row(concurrency: int) -> None:
    with serve(drop_share=0.1) as server:
        requests = asks(40)
        replies = list(engine(server, concurrency, retries=0).generate(requests))
        dropped = {key for key, *_, status in server.log() if status == 499}
    bad = {reply.key: reply.error for reply in replies if reply.error}
    assert len(replies) == 40 and 0 < len(bad) < 15
    assert {request.key for request in requests if key_of(request) in dropped} == bad.keys()
    assert all(error and "Disconnected" in error for error in bad.values())


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@127.0.0.1:9",
        "user:hunter2@example.com/v1",
        "http://user:hunter2/x@example.com",
        "http://user:hunter2＠example.com",
        "https://example.com/v1?api-key=hunter2",
        "https://example.com/v1#hunter2",
    ],
)
def test_an_address_with_a_secret_is_refused_unseen(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (url, None):  # by flag, then by variable
        with pytest.raises(EngineError, match="put the key into OPENAI_API_KEY: nothing secret") as raised:
            OpenAI.open("m", EngineOptions(base_url=given))
        assert "hunter2" not in str(raised.value) and "\n" not in str(raised.value)
        monkeypatch.setenv("OPENAI_BASE_URL", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "[::1",
        "http://例え.jp:9",
        "例え.jp:9",
        "http://127.0.0.1:9/é",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "ftp://127.0.0.1",
        "http://",
        "http://a..b",
    ],
)
def test_what_is_no_address_is_one_line(url: str) -> None:
    with pytest.raises(EngineError, match="is no address; write|no answer from http://a") as raised:
        OpenAI.open("m", EngineOptions(base_url=url))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("scheme", "address"),
    [
        ("http", "localhost"),
        ("http", "LOCALHOST:8000"),
        ("http", "127.0.0.1:8000"),
        ("http", "10.1.2.3:8000"),
        ("http", "172.16.0.9"),
        ("http", "192.168.1.2:8000"),
        ("http", "[::1]:8000"),
        ("https", "10.evil.com"),
        ("https", "127.evil.com:8000"),
        ("https", "192.168.evil.com"),
        ("https", "localhost.evil.com"),
        ("https", "8.8.8.8:8000"),
        ("https", "[2606:4700::1111]:8000"),
        ("https", "api.example.com"),
    ],
)
def test_only_a_private_address_is_asked_without_encryption(scheme: str, address: str) -> None:
    assert Server.find(f"{address}/v1").url == f"{scheme}://{address}/v1"


@pytest.mark.parametrize("suffix", ["", "/", "/v1/"])
def test_the_address_may_be_written_in_any_way(plain: Served, suffix: str) -> None:
    options = EngineOptions(base_url=plain.url.removesuffix("/v1") + suffix)
    assert OpenAI.open("test-model", options).servers[0].url == plain.url


def test_the_only_model_served_is_used(plain: Served) -> None:
    assert (engine(plain).model, engine(plain).revision) == ("test-model", "")


def test_several_or_unknown_models_are_listed() -> None:
    with serve(models="a,b", root="Qwen/Qwen3-8B") as server:
        options = EngineOptions(base_url=server.url)
        with pytest.raises(EngineError, match="it serves: a, b"):
            OpenAI.open("", options)
        with pytest.raises(EngineError, match="does not serve 'c'; it serves: a, b"):
            OpenAI.open("c", options)
        assert OpenAI.open("b", options).revision == "Qwen/Qwen3-8B"


def test_a_server_without_a_list_is_accepted() -> None:
    with serve(models="-") as server:
        opened = OpenAI.open("anything", EngineOptions(base_url=server.url))
        assert len(list(opened.generate(asks(3)))) == 3


def test_a_schema_goes_to_the_decoder(plain: Served) -> None:
    opened = engine(plain)
    replies = list(opened.generate(asks(5, schema=SCHEMA)))
    assert all("question" in orjson.loads(reply.text) for reply in replies)
    assert opened.structured and [reply.rung for reply in replies] == ["schema"] * 5


def test_without_decoder_support_the_schema_goes_into_the_prompt_once_for_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serve(no_schema=True) as server, caplog.at_level(logging.WARNING):
        opened = engine(server, 4)
        replies = list(opened.generate(asks(50, schema=SCHEMA)))
        assert server.stats()["statuses"]["400"] <= 2 * 4  # only those out before the first refusal came back
    assert len(replies) == 50 and not [reply for reply in replies if reply.error]
    assert not opened.structured and {reply.rung for reply in replies} == {"prompt"}
    assert len([record for record in caplog.records if "schema" in record.message]) == 1


@pytest.mark.parametrize(
    "message",
    [
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        "Invalid schema for response_format 'x': In context=(), 'additionalProperties' is required to be supplied",
        "Unsupported parameter: 'response_format'",
        "This response_format type is unavailable now",
        "This model does not support response format `json_schema`",
        'response_format type must be one of "text" or "json_object", but got: json_schema',
        "JSON schema conversion failed: Unrecognized schema",
        "Failed to parse grammar",
        "'response_format.type' must be 'text'",
        "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': \"Input should be 'text'\"}]",
        '[{"type":"extra_forbidden","loc":["body","response_format"],"msg":"Extra inputs are not permitted"}]',
        "The provided JSON schema contains features not supported by xgrammar.",
        "guided_json is not supported by this engine",
        "Guided decoding is not supported with speculative decoding",
        "Structured outputs are not supported on the TPU backend",
        "Failed to transform json schema into a grammar",
        "Grammar-based generation (json_schema, regex, ebnf) is not supported when launched with --grammar-backend none",
        "Failed to compile json grammar: Invalid type",
    ],
)
def test_a_decoder_that_cannot_follow_a_schema_is_recognised(message: str) -> None:
    dialect = Dialect("m")
    assert dialect.adapt(ask(1, schema=SCHEMA), 400, message, dialect.version)
    assert not dialect.structured


@pytest.mark.parametrize(
    "message",
    [
        "This prompt about a database schema is too long for the context window",
        "Request body does not match the schema: messages[1].content: string too long",
        "Content policy: discussing schema therapy and structured interviews is not allowed",
        "The prompt is invalid: it asks for guided meditation",
        "maximum context length is 8192 tokens, response_format included",
        "Generated JSON does not match the expected schema. Error: jsonschema: '' does not validate with /required",
    ],
)
def test_a_refusal_that_only_mentions_a_schema_costs_its_row(message: str) -> None:
    dialect = Dialect("m")
    assert not dialect.adapt(ask(1, schema=SCHEMA), 400, message, dialect.version)
    assert dialect.structured and dialect.version == 0


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ('{"prompt_tokens": 1180591620717411303424, "completion_tokens": 18446744073709551615}', (0, MOST_TOKENS)),
        ('{"prompt_tokens": -7, "completion_tokens": 4294967296}', (0, MOST_TOKENS)),
        ('{"prompt_tokens": 1.5, "completion_tokens": "12"}', (0, 0)),
        ('{"prompt_tokens": true, "completion_tokens": null}', (0, 0)),
        ('{"prompt_tokens": 12, "completion_tokens": 2147483647}', (12, MOST_TOKENS)),
        ("[3]", (0, 0)),
        ("null", (0, 0)),
    ],
)
def test_nonsense_about_usage_becomes_small_numbers(usage: str, expected: tuple[int, int]) -> None:
    raw = f'{{"choices": [{{"message": {{"content": "Rest."}}}}], "usage": {usage}}}'.encode()
    reply = Dialect("m").read(ask(1), raw, True)
    assert (reply.tokens_in, reply.tokens_out) == expected
    assert [type(reply.tokens_in), type(reply.tokens_out)] == [int, int]
    assert (reply.text, reply.finish) == ("Rest.", "stop")  # no finish_reason there


def test_refused_fields_are_left_out_once_for_all(caplog: pytest.LogCaptureFixture) -> None:
    with serve(refuse="seed,max_tokens") as server, caplog.at_level(logging.WARNING):
        replies = list(engine(server, 4).generate(asks(50)))
        assert server.stats()["statuses"]["400"] <= 4 * 4
    assert len(replies) == 50 and not [reply for reply in replies if reply.error]
    assert len(caplog.records) == 2


def test_how_an_answer_finished_is_carried() -> None:
    with serve(truncate_share=0.5, enough=2000, filter_share=0.1) as server:
        finishes = [reply.finish for reply in engine(server).generate(asks(100))]
        again = [reply.finish for reply in engine(server).generate(asks(100, max_tokens=2000))]
    assert set(finishes) == {"stop", "length", "content_filter"} and "length" not in again


def test_an_unusable_200_is_an_answer_without_text_after_two_retries() -> None:
    with serve(garble_share=0.05) as server:
        requests = asks(80)
        replies = list(engine(server, 80).generate(requests))
        calls = [key for key, *_ in server.log()]
    bad = {reply.key for reply in replies if reply.finish == UNUSABLE}
    assert 0 < len(bad) < 20 and len(replies) == 80
    assert all(reply.error is None and (reply.text == "") == (reply.key in bad) for reply in replies)
    for request in requests:
        assert calls.count(key_of(request)) == (3 if request.key in bad else 1)


def test_a_slow_answer_holds_nobody_else() -> None:
    with serve(latency=0.02, tail_share=0.05, tail_factor=40) as server:
        requests = asks(120)
        finished = [reply.key for reply in engine(server, 8).generate(requests)]
        slow = {key for key, begun, ended, _ in server.log() if ended - begun > 0.4}
    assert 0 < len(slow) < 8
    first = next(index for index, each in enumerate(requests) if key_of(each) in slow)
    overtaken = requests[first + 1 : first + 9]
    assert all(
        finished.index(each.key) < finished.index(requests[first].key) for each in overtaken if key_of(each) not in slow
    )


def test_requests_are_drawn_only_as_slots_come_free(plain: Served) -> None:
    drawn = 0

    def source() -> Iterator[Request]:
        nonlocal drawn
        for request in map(ask, count()):
            drawn += 1
            yield request

    replies = engine(plain, 4).generate(source())
    for taken in range(50):
        assert drawn <= taken + AHEAD * 4 + 1
        next(replies)
    replies.close()  # type: ignore[attr-defined]


def test_the_source_is_iterated_in_the_calling_thread(plain: Served) -> None:
    threads = set()

    def source() -> Iterator[Request]:
        for request in asks(20):
            threads.add(threading.get_ident())
            yield request

    assert len(list(engine(plain).generate(source()))) == 20
    assert threads == {threading.get_ident()}


def test_a_source_that_raises_ends_it_after_the_replies_that_came(plain: Served) -> None:
    def source() -> Iterator[Request]:
        yield from asks(30)
        raise ValueError("broken row")

    replies: list[Reply] = []
    with pytest.raises(ValueError, match="broken row"):
        replies.extend(engine(plain, 2).generate(source()))
    assert len(replies) >= 30 - AHEAD * 2


def test_closing_early_leaves_nothing_behind() -> None:
    with serve(latency=0.05) as server:
        replies = engine(server, 8).generate(map(ask, count()))
        next(replies)
        replies.close()  # type: ignore[attr-defined]
        calls = server.stats()["calls"]
        time.sleep(0.15)
        assert server.stats()["calls"] == calls  # the fixture looks for the thread


def test_an_exception_in_the_consumer_leaves_nothing_behind(plain: Served) -> None:
    with pytest.raises(KeyError):
        for _ in engine(plain).generate(map(ask, count())):
            raise KeyError


def test_drain_answers_what_is_in_flight_and_ends() -> None:
    with serve(latency=0.1) as server:
        opened = engine(server, 4)
        replies = opened.generate(map(ask, count()))
        got = [next(replies)]
        timer = threading.Timer(0.05, opened.drain)
        timer.start()
        got += replies
        stats = server.stats()
    assert stats["calls"] == stats["finished"] == len(got) <= 3 * 4
    assert list(opened.generate(asks(3))) == []  # drained for good


def test_drain_withdraws_what_is_drawn_and_not_sent() -> None:
    with serve(latency=1.0) as server:
        opened = engine(server, 4)
        drawn: list[Request] = []

        def source() -> Iterator[Request]:
            for request in map(ask, count()):
                drawn.append(request)
                yield request

        def drain_when_full() -> None:
            while len(drawn) < AHEAD * 4 or server.stats()["max_in_flight"] < 4:
                time.sleep(0.01)
            opened.drain()

        thread = threading.Thread(target=drain_when_full, daemon=True)
        thread.start()
        got = [reply.key for reply in opened.generate(source())]
        thread.join()
        seen = [key for key, *_ in server.log()]
        assert server.stats()["calls"] == 4
    assert sorted(got) == sorted(request.key for request in drawn[:4])
    assert len(drawn) == AHEAD * 4 and sorted(seen) == sorted(key_of(request) for request in drawn[:4])


def test_drain_while_the_consumer_works(plain: Served) -> None:
    opened = engine(plain, 4)
    replies = opened.generate(map(ask, count()))
    next(replies)
    opened.drain()
    assert len(list(replies)) <= AHEAD * 4


def test_an_engine_answers_again_after_it_has_answered(plain: Served) -> None:
    opened = engine(plain)
    assert [len(list(opened.generate(asks(10)))) for _ in range(2)] == [10, 10]


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with serve(key=SECRET) as server, caplog.at_level(logging.DEBUG):
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        opened = engine(server)
        assert len(list(opened.generate(asks(3)))) == 3
        assert SECRET not in repr(opened)
        monkeypatch.setenv("OPENAI_API_KEY", SECRET[:-1])
        with pytest.raises(EngineError, match="refuses the key.*OPENAI_API_KEY") as raised:
            engine(server)
        assert SECRET[:-1] not in str(raised.value)
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(EngineError, match="wants a key"):
            engine(server)
    assert SECRET[:-1] not in caplog.text


def test_a_200_that_quotes_the_key_is_masked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with serve(error_200=f"bad key {SECRET}") as server, caplog.at_level(logging.DEBUG):
        (reply,) = engine(server, retries=1).generate(asks(1))
    assert reply.error == "unusable answer: bad key ***"
    assert SECRET not in caplog.text


def test_a_model_that_is_not_known_and_no_list_names_the_flag() -> None:
    server = Server.find("http://127.0.0.1:1/v1", "--set judge.base_url")
    told = str(server.refusal(404, b"{}", model="nope"))
    assert told.endswith("check the model's name and --set judge.base_url")
