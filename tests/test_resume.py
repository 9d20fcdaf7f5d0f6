"""Runs against a real server on loopback that fails, stops or is cut off: nothing is lost, nothing paid twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tests.server import Served, serve
from tests.test_pipeline import seeds

ROOT = Path(__file__).parent.parent


def words(server: Served, place: Path, *more: object) -> list[str]:
    flags = (
        "--source",
        "seeds.jsonl",
        "--llm",
        "openai:test-model",
        "--base-url",
        server.url,
        "--generators",
        "persona",
    )
    return ["text", *flags, "--filters", "none", "--n", "4x", "--out", "r", *map(str, more)]


def start(server: Served, place: Path, *more: object, shard: int = 1000) -> subprocess.Popen[str]:
    """The command in a process of its own, as a shell starts it; with shards of another size."""
    environment = {**os.environ, "AUGMENT_HOME": str(place / "home"), "PYTHONPATH": str(ROOT)}
    program = f"import augment.quota\naugment.quota.SHARD = {shard}\nfrom augment.cli import main\nmain()"
    command = [sys.executable, "-c", program, *words(server, place, *more)]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(server: Served, count: int, of: str = "finished") -> None:
    deadline = time.monotonic() + 90
    while server.stats()[of] < count:
        assert time.monotonic() < deadline, "the server never got that far"
        time.sleep(0.005)


def bytes_of(place: Path, run: str = "r") -> dict[str, bytes]:
    return {name: (place / run / name).read_bytes() for name in ("curated/train.parquet", "rejected.parquet")}


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(place, augment):
    seeds(place)
    with serve(latency=0.05) as server:
        assert augment(*words(server, place, "--out", "whole", "--concurrency", 8)).code == 0
    (place / "home").rename(place / "other-home")
    with serve(latency=0.05) as server:
        for cut in (30, 90):
            process = start(server, place, "--concurrency", 8)
            wait_for(server, cut)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert not (place / "r/manifest.json").exists()
        process = start(server, place, "--concurrency", 8)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        calls = Counter(key for key, *_ in server.log())
    assert bytes_of(place) == bytes_of(place, "whole")
    assert len(calls) == 160
    repeated = sum(count - 1 for count in calls.values())
    assert repeated <= 2 * 8, "only what was in flight at a kill may be asked again"


@pytest.mark.parametrize("shard", [1000, 5])
def test_a_stopped_run_drains_says_how_to_go_on_and_repeats_nothing(place, augment, shard):
    seeds(place)
    with serve(latency=0.05) as server:
        process = start(server, place, "--concurrency", 8, shard=shard)
        wait_for(server, 40)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "to go on, give the same command again" in err
        again = err.splitlines()[-1].split()
        assert again[0] == "augment"
        assert again[1:] == words(server, place, "--concurrency", 8)
        assert "Traceback" not in err
        assert not (place / "r/manifest.json").exists()
        assert augment(*words(server, place)).code == 0
        calls = Counter(key for key, *_ in server.log())
    assert set(calls.values()) == {1}
    assert len(calls) == 160


def test_a_refused_request_costs_its_row_alone_and_is_listed(place, augment):
    seeds(place)
    with serve(fail_400_share=0.1) as server:
        ran = augment(*words(server, place, "--json"))
    found = json.loads(ran.out)
    rows = pl.read_parquet(place / "r/rejected.parquet").filter(pl.col("dropped_by") == "engine")
    assert found["failed"] == len(rows) > 0
    assert rows["reason"].unique().to_list() == ["HTTP 400"]
    assert rows["detail"].str.len_chars().min() > 0
    assert found["candidates"] == found["kept"] + found["failed"]
    assert found["kept"] == 160, "a failed request is refilled like a rejected row"


def test_transient_errors_lose_no_row(place, augment):
    seeds(place)
    with serve(transient_share=0.3, retry_after="0") as server:
        found = json.loads(augment(*words(server, place, "--json")).out)
    assert (found["kept"], found["failed"], found["candidates"]) == (160, 0, 160)


def test_a_truncated_reply_is_never_data_and_a_higher_limit_asks_only_those_again(place, augment):
    seeds(place)
    with serve(truncate_share=0.2, enough=200) as server:
        first = json.loads(augment(*words(server, place, "--json", "--max-tokens", 100, "--max-attempts", "1x")).out)
        before = len(server.log())
        again = json.loads(
            augment(*words(server, place, "--json", "--max-tokens", 200, "--max-attempts", "1x", "--out", "s")).out
        )
        calls = len(server.log()) - before
    truncated = first["rejected"]["reply"]["truncated"]
    assert truncated > 10
    assert first["kept"] == 160 - truncated
    assert again["requests_sent"] == calls == truncated
    assert again["kept"] == 160


def test_a_wrong_key_stops_at_once_with_the_servers_words_and_keeps_what_was_answered(place, augment, monkeypatch):
    seeds(place)
    with serve(fatal_after=50, fatal_status=401) as server:
        ran = augment(*words(server, place, "--concurrency", 4))
        assert ran.code == 2
        assert "401" in ran.err
        assert "Traceback" not in ran.err
        answered = server.stats()["statuses"].get("200", 0)
    with serve() as server:
        again = json.loads(augment(*words(server, place, "--json")).out)
    assert again["replies_reused"] == answered
    assert again["kept"] == 160


def test_a_second_process_is_refused_with_the_holders_pid(place, augment):
    seeds(place)
    with serve(latency=0.3) as server:
        process = start(server, place, "--concurrency", 2)
        wait_for(server, 1)
        ran = augment(*words(server, place))
        process.kill()
        process.communicate()
        assert ran.code == 2
        assert f"pid {process.pid}" in ran.err
        assert augment(*words(server, place, "--n", "1x", "--out", "q", "--concurrency", 64)).code == 0


def test_garbled_answers_never_become_rows(place, augment):
    seeds(place)
    with serve(garble_share=0.3) as server:
        found = json.loads(augment(*words(server, place, "--json")).out)
    rows = pl.read_parquet(place / "r/curated/train.parquet")
    assert found["candidates"] == found["kept"] + found["failed"] + sum(
        sum(each.values()) for each in found["rejected"].values()
    )
    assert rows["prompt"].str.strip_chars().str.len_chars().min() > 0
    assert found["rejected"]["reply"]["unusable answer"] > 10


def test_what_was_paid_for_in_vain_is_not_paid_for_again(place, augment):
    seeds(place)
    with serve(garble_share=0.2) as server:
        first = json.loads(augment(*words(server, place, "--json")).out)
        before = len(server.log())
        again = json.loads(augment(*words(server, place, "--json")).out)
        assert len(server.log()) == before
    volatile = ("structured", "requests_sent", "replies_reused", "tokens_in", "tokens_out", "seconds")
    assert {**first, **dict.fromkeys(volatile)} == {**again, **dict.fromkeys(volatile)}


def test_ctrl_c_drains_as_a_stop_does(place):
    seeds(place)
    with serve(latency=0.05) as server:
        process = start(server, place, "--concurrency", 8)
        wait_for(server, 20)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopping" in err
    assert "give the same command again" in err


def test_a_second_signal_does_not_wait_for_the_answers_in_flight(place):
    seeds(place)
    with serve(latency=15) as server:
        process = start(server, place, "--concurrency", 8)
        wait_for(server, 1, "max_in_flight")
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "give the same command again" in err
