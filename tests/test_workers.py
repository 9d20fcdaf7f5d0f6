"""Runs answered by Ray workers: real Ray, real kills, a real server on loopback; one cluster for all that share one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("ray")

import ray
from ray.cluster_utils import Cluster

from augment.engines import EngineOptions
from augment.executors.worker import Assignment
from augment.generators.rules import variants_of
from tests.engines import LOG, declare
from tests.server import Served, serve
from tests.test_pipeline import seeds
from tests.test_resume import bytes_of

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that a cluster and its users share, with the engines of `tests.engines`."""
    base = tmp_path_factory.mktemp("world")
    changed = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(declare(base / "engines"))]),
        LOG: str(base / "log"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changed.items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(base / "engines"))
        yield changed


@pytest.fixture(scope="module")
def cluster(world: dict[str, str]) -> Iterator[Cluster]:
    """Ray with two processors to give away."""
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture
def notes(place: Path, world: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the engines opened from now on leave their notes; emptied for each test."""
    path = Path(world[LOG])
    path.write_text("")
    return path


def pids(notes: Path, least: int = 0) -> list[int]:
    """The workers that opened an engine, in order, without the process that planned the run."""
    end = time.monotonic() + PATIENCE
    while len(found := [int(each) for each in notes.read_text().split() if each.isdigit()][1:]) < least:
        assert time.monotonic() < end, f"fewer than {least} workers came"
        time.sleep(0.01)
    return found


def wait_for(server: Served, count: int) -> None:
    """Until the server has answered so many; a start of Ray may take its time."""
    end = time.monotonic() + PATIENCE
    while server.stats()["finished"] < count:
        assert time.monotonic() < end, "the server never got that far"
        time.sleep(0.005)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def words(*more: object) -> list[str]:
    flags = ("--source", "seeds.jsonl", "--generators", "persona", "--filters", "none", "--n", "4x", "--out", "r")
    return ["text", *flags, *map(str, more)]


def served(server: Served, *more: object) -> list[str]:
    return words("--llm", "watched:test-model", "--base-url", server.url, "--concurrency", 8, *more)


def start(place: Path, *command: object, **more: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "augment.cli", *map(str, command)],
        cwd=place,
        env={**os.environ, "AUGMENT_HOME": str(place / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def on(cluster: Cluster, workers: int = 2) -> tuple[object, ...]:
    return ("--ray", cluster.address, "--workers", workers)


def whole(place: Path, augment, command: list[str], *more: object) -> dict[str, bytes]:
    """What the run makes without workers, with a store of its own."""
    ran = augment(*command, "--out", "whole", *more)
    assert ran.code == 0, ran.err
    (place / "home").rename(place / "other-home")
    return bytes_of(place, "whole")


def repeats(server: Served, since: int) -> tuple[int, int]:
    """How many different requests the server has seen, and how many calls beyond one each."""
    calls = Counter(key for key, *_ in server.log()[since:])
    return len(calls), sum(calls.values()) - len(calls)


@pytest.mark.parametrize("how", ["openai", "echo and rules", "rules"])
def test_the_same_recipe_gives_the_same_bytes_with_and_without_ray(place, augment, cluster, how):
    seeds(place)
    with serve() as server:
        command = {
            "openai": words("--llm", "openai:test-model", "--base-url", server.url),
            "echo and rules": words("--llm", "echo", "--generators", "persona,rules:2", "--filters", "default"),
            "rules": words("--generators", "rules", "--filters", "default"),
        }[how]
        wanted = whole(place, augment, command)
        variants_of.cache_clear()
        ran = augment(*command, *on(cluster))
        assert ran.code == 0, ran.err
    assert variants_of.cache_info().misses == 0, "the workers apply the rules"
    assert bytes_of(place) == wanted
    alike = [json.loads((place / run / "summary.json").read_text()) for run in ("whole", "r")]
    assert {**alike[0], "seconds": 0} == {**alike[1], "seconds": 0}


def test_each_worker_opens_its_engine_once_however_many_rounds_there_are(place, augment, cluster, notes):
    seeds(place)
    with serve(fail_400_share=0.3, latency=0.1) as server:
        found = json.loads(augment(*served(server, *on(cluster), "--json")).out)
    assert found["rounds"] > 2
    assert len(set(pids(notes))) == len(pids(notes)) == 2


def test_a_killed_worker_loses_nothing_and_repeats_only_what_was_in_flight(place, augment, cluster, notes):
    seeds(place)
    with serve(latency=0.2) as server:
        wanted = whole(place, augment, served(server), "--concurrency", 64)
        notes.write_text("")
        before = len(server.log())
        process = start(place, *served(server, *on(cluster)))
        first, _ = pids(notes, least=2)
        wait_for(server, before + 40)
        os.kill(first, signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        different, repeated = repeats(server, before)
    assert "a worker died" in err
    assert bytes_of(place) == wanted
    assert different == 160
    assert 0 < repeated <= 2 * 8, "at most what it was asking, and what it had not yet handed over"
    assert len(pids(notes)) <= 3, "the other one goes on as it is"


def test_workers_that_are_killed_again_and_again_come_back(place, augment, cluster, notes):
    seeds(place)
    with serve(latency=0.2) as server:
        wanted = whole(place, augment, served(server), "--concurrency", 64)
        notes.write_text("")
        before = len(server.log())
        process = start(place, *served(server, *on(cluster)))
        for cut in (1, 2):
            found = pids(notes, least=2 * cut)
            wait_for(server, before + 24 * cut)
            for each in found[-2:]:
                os.kill(each, signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        different, repeated = repeats(server, before)
    assert bytes_of(place) == wanted
    assert different == 160
    assert repeated <= 2 * 4 * 8
    assert len(pids(notes)) == 6


def test_a_row_that_kills_its_worker_costs_that_row_alone(place, augment, cluster, notes):
    seeds(place)
    ran = augment(*words("--llm", "poisoned:第7号", "--n", "1x", "--max-attempts", "1x", "--json", *on(cluster)))
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["kept"], found["failed"]) == (39, 1)
    assert notes.read_text().count("killed") == 3
    row = pl.read_parquet(place / "r/rejected.parquet").filter(pl.col("dropped_by") == "engine")
    assert row["reason"].to_list() == ["worker died 3 times"]
    assert row["parents"].list.first().to_list() == [each["id"] for each in found["seeds_short"]]


def test_a_run_survives_a_node_whose_raylet_is_killed(place, augment, cluster, notes):
    seeds(place)
    node = cluster.add_node(num_cpus=1)
    try:
        with serve(latency=0.3) as server:
            wanted = whole(place, augment, served(server), "--n", "8x", "--concurrency", 64)
            notes.write_text("")
            before = len(server.log())
            process = start(place, *served(server, "--n", "8x", *on(cluster, 3)))
            raylet = node.all_processes["raylet"][0].process
            (there,) = (each for each in pids(notes, least=3) if parent(each) == raylet.pid)
            wait_for(server, before + 40)
            raylet.kill()
            os.kill(there, signal.SIGKILL)  # with a machine both go; a worker alone would go on for some seconds
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, err
            different, _ = repeats(server, before)
    finally:
        cluster.remove_node(node, allow_graceful=False)
    assert "a worker died" in err
    assert bytes_of(place) == wanted
    assert different == 320


def ours(place: Path) -> list[str]:
    """The command lines of the processes that have this place as their home.

    But for the test's own server, and for two idle agents of Ray's that take a minute to find out that they are alone.
    """
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"AUGMENT_HOME={place / 'home'}".encode() in (each / "environ").read_bytes():
                found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
        except OSError:
            continue
    return [each for each in found if each and "tests.server" not in each and "Agent" not in each]


def test_a_killed_driver_leaves_nothing_behind_and_is_repeated_only_where_it_was(place, augment, notes):
    seeds(place)
    with serve(latency=0.05) as server:
        wanted = whole(place, augment, served(server))
        before = len(server.log())
        process = start(place, *served(server, "--workers", 2))
        wait_for(server, before + 40)
        assert any("raylet" in each for each in ours(place))
        process.kill()
        process.communicate()
        end = time.monotonic() + 20
        while (left := ours(place)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not left
        process = start(place, *served(server, "--workers", 2))
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        different, repeated = repeats(server, before)
    assert not [line for line in err.splitlines() if "ray" in line.lower()], "Ray says nothing"
    assert bytes_of(place) == wanted
    assert different == 160
    assert repeated <= 2 * 2 * 8
    assert not ours(place)


def test_ctrl_c_drains_the_workers_says_how_to_go_on_and_repeats_nothing(place, augment, cluster, notes):
    seeds(place)
    with serve(latency=1) as server:
        process = start(place, *served(server, *on(cluster)), start_new_session=True)
        wait_for(server, 10)
        os.killpg(process.pid, signal.SIGINT)  # a terminal asks everyone, Ray's processes included
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, err
        assert "to go on, give the same command again" in err
        assert "Traceback" not in err
        assert len(server.log()) < 2 * 8 * 2 + 8, "what waits for a slot is not asked any more"
        assert augment(*served(server, *on(cluster), "--concurrency", 64)).code == 0
        assert repeats(server, 0) == (160, 0)


def test_a_stopped_run_without_an_engine_drains_too(place, cluster, notes):
    seeds(place)
    process = start(place, *words("--generators", "rules", "--n", "200x", *on(cluster)))
    while not list((place / "r").rglob("*.parquet")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert not (place / "r/manifest.json").exists()


def test_a_wrong_key_stops_at_once_and_keeps_what_was_answered(place, augment, cluster):
    seeds(place)
    with serve(fatal_after=50, fatal_status=401) as server:
        ran = augment(*served(server, *on(cluster)))
        assert ran.code == 2
        assert "401" in ran.err
        assert "Traceback" not in ran.err
        answered = server.stats()["statuses"]["200"]
    with serve() as server:
        again = json.loads(augment(*served(server, *on(cluster), "--json")).out)
    assert answered - 2 * 8 <= again["replies_reused"] <= answered
    assert again["kept"] == 160


def test_a_worker_has_the_key_and_nobody_else_sees_it(place, augment, cluster, monkeypatch):
    seeds(place)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with serve(key="sk-very-secret") as server:
        assert augment(*served(server, *on(cluster))).code == 0
    assignment = Assignment("openai:m", EngineOptions(), (), ".", {"OPENAI_API_KEY": "sk-very-secret"})
    assert "secret" not in repr(assignment)
    session = Path(cluster.head_node.get_session_dir_path())
    logs = [each for each in session.rglob("*") if each.is_file()]
    assert logs
    assert not [each for each in logs if b"very-secret" in each.read_bytes()]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ray", "127.0.0.1:1", "--workers", 2], "no Ray at 127.0.0.1:1"),
        (["--ray", "nowhere"], "--ray 'nowhere' is no address; write auto, or HOST:PORT"),
        (["--ray", "ray://127.0.0.1:10001"], "is no address"),
        (["--gpus-per-worker", 1], "no workers to give GPUs to; add --workers 8 or --ray auto"),
        (["--workers", 0], "workers: "),
        (["--workers", 1, "--gpus-per-worker", 1.5], "'1.5' is no number of GPUs"),
    ],
)
def test_what_a_user_can_fix_is_one_line_and_exit_code_2(place, augment, flags, said):
    ran = augment("text", "--source", "sample", *flags)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_cluster_without_room_for_one_worker_says_what_it_has(augment, cluster):
    ran = augment("text", "--source", "sample", *on(cluster), "--gpus-per-worker", 1)
    assert ran.code == 2
    assert "the cluster has room for 0 workers (2 CPUs, 0 GPUs; one takes a CPU and 1 GPUs)" in ran.err


def test_a_cluster_with_room_for_some_workers_starts_with_those(place, augment, cluster, notes, caplog):
    seeds(place)
    with serve(latency=0.2) as server:
        assert augment(*served(server, *on(cluster, 3))).code == 0
    assert "room for 2 workers (2 CPUs, 0 GPUs; one takes a CPU), 3 were asked for" in caplog.text
    assert len(pids(notes)) == 2


def test_a_cluster_alone_gives_as_many_workers_as_it_has_room_for(place, augment, cluster, notes):
    seeds(place)
    with serve(latency=0.2) as server:
        assert augment(*served(server, "--ray", cluster.address)).code == 0
    assert len(pids(notes)) == 2


def test_a_cluster_that_is_busy_is_not_waited_for_for_ever(place, augment, cluster, monkeypatch):
    monkeypatch.setattr("augment.executors.crew.PATIENCE", 1.0)
    program = "import ray, sys, time; ray.init(sys.argv[1]); a = ray.remote(type('A', (), {'f': lambda self: 1}))\n"
    program += "b = a.options(num_cpus=2).remote(); print(ray.get(b.f.remote()), flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", program, cluster.address], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            ran = augment("text", "--source", "sample", *on(cluster))
        finally:
            holder.kill()
    assert ran.code == 2
    assert "no worker for 1 s; see `ray status`" in ran.err


@pytest.mark.parametrize(
    ("llm", "said"),
    [
        ("fickle:gone", "augment: a worker cannot open its engine: no model at gone; give its path\n"),
        ("fickle", "a worker's engine is fickle echo-1 there, here it is fickle echo-1 here; make them the same\n"),
    ],
)
def test_an_engine_that_is_not_the_same_on_a_worker_is_said_in_one_line(place, augment, cluster, llm, said):
    seeds(place)
    ran = augment(*words("--llm", llm, *on(cluster)))
    assert ran.code == 2
    assert ran.err.endswith(said), ran.err
    assert "Traceback" not in ran.err


def test_a_relative_path_means_the_drivers_folder(place, augment, cluster):
    assert augment(*words("--llm", f"fickle:{seeds(place)}", *on(cluster))).code == 0


def test_another_version_on_the_workers_is_said(place, augment, cluster, monkeypatch):
    monkeypatch.setattr("augment.executors.crew.__version__", "9.9.9")
    ran = augment("text", "--source", "sample", *on(cluster))
    assert ran.code == 2
    assert "this is 9.9.9; install the same on all nodes" in ran.err


def test_workers_that_die_whatever_they_are_asked_end_the_run(place, augment, cluster, notes):
    seeds(place)
    ran = augment(*words("--llm", "poisoned:号", *on(cluster, 1)))
    assert ran.code == 2
    assert "5 workers died in a row, the last like this: The actor is dead" in ran.err
    assert notes.read_text().count("killed") == 5


def test_without_ray_installed_the_command_says_how_to_install_it(place):
    code = "import sys; sys.modules['ray'] = None; from augment.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "text", "--source", "sample", "--workers", "2"],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert "pip install 'augment[ray]'" in done.stderr
    assert "Traceback" not in done.stderr
