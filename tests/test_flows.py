"""`augment text` as a Prefect flow, by hand, against a real server: the same run, and what Prefect shows of it."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from tests.prefect_server import Json, Server, Started, free_port, until
from tests.server import Served, serve
from tests.test_pipeline import seeds
from tests.test_resume import bytes_of, wait_for


def words(llm: Served, *more: object) -> list[str]:
    flags = ("--source", "seeds.jsonl", "--llm", "openai:test-model", "--base-url", llm.url, "--n", "4x", "--out", "r")
    return ["text", *flags, "--generators", "persona", "--filters", "none", *map(str, more)]


@dataclass(frozen=True)
class Twice:
    """The same recipe run as a flow and without, each in a folder of its own."""

    flow: Started
    plain: Started
    place: Path
    run: Json


@pytest.fixture(scope="module")
def twice(prefect: Server, tmp_path_factory: pytest.TempPathFactory) -> Twice:
    """LLM and rules, refused and passing requests, drops by a filter: everything that a run may meet."""
    place = tmp_path_factory.mktemp("flow")
    plain = tmp_path_factory.mktemp("plain")
    more = ("--generators", "persona,rules", "--filters", "length,exact_dup", "--set", "length.max_prompt=60")
    with serve(fail_400_share=0.1, transient_share=0.2, retry_after="0") as llm:
        started = []
        for folder, flag in ((place, ()), (plain, ("--no-prefect",))):
            seeds(folder, 60)
            started.append(prefect.command(folder, *words(llm, *more, *flag, "--max-attempts", "2x", "--seed", 7)))
        flow, direct = (each for each in started if each.end() == 0)
    names = re.findall(r"Beginning flow run '(.+?)'", flow.err)
    return Twice(flow, direct, place, prefect.only_run(names[0]))


def test_a_flow_run_says_and_writes_the_same_as_a_plain_one(twice):
    def timeless(out: str) -> str:
        return re.sub(r"in [\d.]+ s:", "", out)

    assert timeless(twice.flow.out) == timeless(twice.plain.out)
    assert "failed" in twice.flow.out
    assert bytes_of(twice.place) == bytes_of(Path(twice.plain._files[0]).parent)
    assert "Prefect" not in twice.plain.err
    assert "Flow run" not in twice.plain.err


def test_prefect_shows_the_run_with_its_stages_in_order(twice, prefect):
    assert twice.run["name"] == "seeds.jsonl 4x"
    assert twice.run["state_name"] == "Completed"
    assert " kept, " in twice.run["state"]["message"]
    tasks = until(lambda: [each for each in prefect.task_runs(twice.run["id"]) if each["name"].startswith("publish")])
    tasks = prefect.task_runs(twice.run["id"])
    names = [each["name"] for each in tasks]
    first, *middle, last = names
    assert (first, last) == ("read seeds.jsonl", "publish r")
    assert middle[0] == "generate and sift: part 1"
    assert all(
        re.fullmatch(rf"(generate and sift:|refill: from round \d+,) part {i}", each)
        for i, each in enumerate(middle, 1)
    )
    assert {each["state_name"] for each in tasks} == {"Completed"}
    assert len(tasks) < 300


def test_the_artifacts_are_a_summary_the_drops_the_folder_the_card_and_one_progress(twice, prefect):
    found = prefect.artifacts(twice.run["id"])
    kinds = Counter(each["type"] for each in found)
    assert kinds == {"markdown": 3, "table": 1, "progress": 1}, "links are markdown to the API"
    summary = json.loads((twice.place / "r/summary.json").read_text())
    by_key = {each["key"].rpartition("-")[2]: each["data"] for each in found}
    assert by_key["summary"].startswith(f"# seeds: {summary['kept']:,} of {summary['target']:,} variants")
    assert f"| kept | {summary['kept']:,} |" in by_key["summary"]
    assert f"`{twice.place / 'r'}`, version 1" in by_key["summary"]
    rejected = pl.read_parquet(twice.place / "r/rejected.parquet").filter(pl.col("dropped_by") != "source")
    counted = {(by, why): rows for by, why, rows in rejected.group_by("dropped_by", "reason").len().iter_rows()}
    table = by_key["drops"] if isinstance(by_key["drops"], list) else json.loads(by_key["drops"])
    assert {(each["dropped by"], each["reason"]): each["rows"] for each in table} == counted
    assert {"engine", "length"} <= {by for by, _ in counted}
    assert [each["rows"] for each in table] == sorted(counted.values(), reverse=True)
    assert by_key["run"] == f"[Run folder]({(twice.place / 'r').as_uri()})"
    assert re.fullmatch(r"\[(README.md|report.html)\]\(file://.*/r/\1\)", by_key["report"])
    reached = round(100 * summary["kept"] / summary["target"], 1)
    assert float(by_key["progress"]) == reached < 100


def test_our_log_lines_are_among_the_runs(twice, prefect):
    def ours() -> set[str]:
        return {each["name"] for each in prefect.logs(twice.run["id"])} & {"augment.pipeline", "flows.curation"}

    assert until(lambda: len(ours()) == 2)
    lines = [each["message"] for each in prefect.logs(twice.run["id"])]
    assert any(re.match(r"\d+ candidates: \d+ of 240 kept", line) for line in lines)


MODULES = """
import sys
sys.argv = ["augment", "text", "--source", "seeds.jsonl", "--n", "1x", *sys.argv[1:]]
from augment.cli import main
try:
    main()
finally:
    print(sorted(name for name in sys.modules if name.partition(".")[0] in ("prefect", "flows")), file=sys.stderr)
"""


@pytest.mark.parametrize("flags, variable", [((), False), (("--no-prefect",), True)])
def test_without_a_flow_nothing_of_prefect_is_imported(place, flags, variable):
    seeds(place, 5)
    nobody = Server(place)  # not started: what it says of itself is enough
    address = nobody.url if variable else ""
    ran = nobody.python(place, "-c", MODULES, *flags, PREFECT_API_URL=address)
    assert ran.end() == 0, ran.err
    assert ran.err.splitlines()[-1] == "[]"


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "prefect":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
sys.argv = ["augment", *sys.argv[1:]]
from augment.cli import main
main()
"""


@pytest.mark.parametrize("command", [("text", "--source", "seeds.jsonl", "--prefect"), ("serve", "r.toml")])
def test_without_prefect_installed_one_line_says_what_to_install(place, command):
    seeds(place, 5)
    ran = Server(place).python(place, "-c", BLOCKED, *command)
    assert ran.end() == 2
    assert ran.err.splitlines()[-1] == (
        "augment: this needs Prefect, which is not installed; pip install 'augment[flows]'"
    )
    assert "Traceback" not in ran.err


@contextmanager
def answers(status: int, body: bytes, kind: str = "text/html") -> Iterator[str]:
    """A server that says the same to everyone."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        server.server_close()


def test_an_api_that_is_not_there_or_is_none_costs_one_line(place):
    nobody = Server(place)
    seeds(place, 5)
    with (
        answers(401, b'{"detail": "Unauthorized"}', "application/json") as closed,
        answers(500, b"Internal Server Error") as broken,
        answers(200, b"<html><body>It works!</body></html>") as site,
    ):
        urls = [f"http://127.0.0.1:{free_port()}/api", closed, broken, site]
        command = ("text", "--source", "seeds.jsonl", "--n", "1x")
        started = {url: nobody.command(place, *command, PREFECT_API_URL=url) for url in urls}
        for url, ran in started.items():
            assert ran.end() == 2, (url, ran.err)
            last = ran.err.splitlines()[-1]
            assert last.startswith("augment: ")
            assert url in last
            assert "--no-prefect" in last
            assert "Traceback" not in ran.err
            assert not (place / "runs").exists()


def test_a_wrong_key_in_the_middle_is_one_line_and_the_message_of_run_and_task(prefect, place, augment):
    seeds(place)
    with serve(fatal_after=50) as llm:
        ran = prefect.command(place, *words(llm, "--concurrency", 4, "--n", "5x"))
        assert ran.end() == 2
        answered = llm.stats()["statuses"]["200"]
    said = ran.err.splitlines()[-1]
    assert said.startswith("augment: ")
    assert "401" in said
    assert "Traceback" not in ran.err + ran.out
    run = prefect.only_run("seeds.jsonl 5x")
    assert (run["state_name"], run["state"]["message"]) == ("Failed", said.removeprefix("augment: "))
    task = until(lambda: [each for each in prefect.task_runs(run["id"]) if each["state_type"] == "FAILED"])[0]
    assert task["name"] == "generate and sift: part 1"
    assert task["state"]["message"] == said.removeprefix("augment: ")
    with serve() as llm:
        again = augment(*words(llm, "--n", "5x", "--json"))
    assert json.loads(again.out)["replies_reused"] == answered


def test_a_run_folder_in_other_hands_is_one_line(prefect, place):
    seeds(place)
    with serve(latency=1) as llm:
        other = prefect.command(place, *words(llm, "--concurrency", 2, "--no-prefect"))
        wait_for(llm, 1, "max_in_flight")
        ran = prefect.command(place, *words(llm))
        assert ran.end() == 2
        other.signal(signal.SIGKILL)
        other.end()
    said = ran.err.splitlines()[-1]
    assert f"pid {other.process.pid}" in said
    assert "Traceback" not in ran.err
    failed = [each for each in prefect.flow_runs() if each["state"]["message"] == said.removeprefix("augment: ")]
    assert [each["state_name"] for each in failed] == ["Failed"]


FILTER = """
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True)
class Broken:
    name: ClassVar[str] = "broken"
    scores: ClassVar[dict] = {}
    def score(self, frame, context):
        raise ZeroDivisionError("a bug of the filter's own")
"""


def test_a_bug_keeps_its_traceback(prefect, place):
    seeds(place, 5)
    (place / "plugin/broken-1.dist-info").mkdir(parents=True)
    (place / "plugin/broken.py").write_text(FILTER)
    (place / "plugin/broken-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (place / "plugin/broken-1.dist-info/entry_points.txt").write_text("[augment.filters]\nbroken = broken:Broken\n")
    flags = ("--source", "seeds.jsonl", "--n", "3x", "--filters", "broken")
    ran = prefect.command(place, "text", *flags, PYTHONPATH=str(place / "plugin"))
    assert ran.end() == 1
    assert "Traceback" in ran.err
    assert 'broken.py", line 9, in score' in ran.err
    assert ran.err.splitlines()[-1] == "ZeroDivisionError: a bug of the filter's own"
    run = prefect.only_run("seeds.jsonl 3x")
    assert run["state_name"] == "Failed"
    assert "a bug of the filter's own" in run["state"]["message"]


def test_a_stopped_flow_run_drains_says_how_to_go_on_and_is_cancelled(prefect, place, augment):
    for number in (signal.SIGTERM, signal.SIGINT):
        (place / number.name).mkdir()
        seeds(place / number.name)
    with serve(latency=0.1) as term, serve(latency=0.1) as interrupt:
        cases = [(signal.SIGTERM, "6x", term), (signal.SIGINT, "7x", interrupt)]
        more = ("--concurrency", 8, "--n")
        started = [prefect.command(place / number.name, *words(llm, *more, n)) for number, n, llm in cases]
        for ran, (number, _, llm) in zip(started, cases, strict=True):
            until(lambda llm=llm: llm.stats()["finished"] >= 30, every=0.05)
            ran.signal(number)
        for ran, (number, n, llm) in zip(started, cases, strict=True):
            folder = place / number.name
            assert ran.end() == 130, ran.err
            assert ran.err.splitlines()[-1].split() == ["augment", *words(llm, *more, n)]
            assert "to go on, give the same command again" in ran.err
            assert "Traceback" not in ran.err
            assert not (folder / "r/manifest.json").exists()
            again = prefect.command(folder, *words(llm, "--n", n, "--no-prefect"))
            assert again.end() == 0
            calls = Counter(key for key, *_ in llm.log())
            assert set(calls.values()) == {1}
            assert len(calls) == 40 * int(n[0])
            run = prefect.only_run(f"seeds.jsonl {n}")
            assert run["state_name"] == "Cancelled"
            assert "run it again to go on" in run["state"]["message"]


def variants(folder: Path) -> int:
    rows = pl.read_parquet(folder / "r/curated/train.parquet", columns=["generator"])
    return len(rows.filter(pl.col("generator") != "seed"))


def test_a_server_that_restarts_or_is_away_at_the_end_costs_nothing(prefect, place):
    long, short = place / "long", place / "short"
    for folder in (long, short):
        folder.mkdir()
        seeds(folder)
    with serve(latency=0.5) as llm, serve(latency=0.5) as other:
        ran = prefect.command(long, *words(llm, "--concurrency", 16, "--n", "9x"))
        left = prefect.command(short, *words(other, "--concurrency", 4), PREFECT_CLIENT_MAX_RETRIES="2")
        for each in (llm, other):
            until(lambda each=each: each.stats()["finished"] >= 16, every=0.05)
        prefect.stop(signal.SIGKILL)
        assert other.stats()["finished"] < 160
        left.until_says("160 of 160 variants")
        prefect.start()
        assert ran.end() == left.end() == 0, ran.err + left.err
        assert set(llm.stats()["by_key"].values()) == {1}
    assert "Traceback" not in ran.err
    assert (variants(long), variants(short)) == (360, 160)
    assert prefect.only_run("seeds.jsonl 9x")["state_name"] == "Completed"
    assert "the Prefect API went away" in left.err


def test_a_schedule_in_a_recipe_does_not_disturb_a_run_by_hand(augment, place):
    seeds(place, 5)
    keys = 'source = "seeds.jsonl"\nn = "2x"\n'
    (place / "plain.toml").write_text(keys)
    (place / "timed.toml").write_text(f'{keys}[schedule]\ncron = "0 2 * * *"\nretries = 4\n')
    ran = {name: augment("text", "--recipe", f"{name}.toml", "--out", name) for name in ("plain", "timed")}
    assert ran["timed"].code == 0, ran["timed"].err
    assert bytes_of(place, "plain") == bytes_of(place, "timed")
