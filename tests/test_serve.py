"""`augment serve`: runs that happen by themselves, on a real Prefect server, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.error
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from tests.prefect_server import Json, Server, Started, free_port, until
from tests.server import Served, serve
from tests.test_pipeline import seeds

NEVER = "0 2 1 1 *"
"""A cron line that does not come round while a test runs."""


def write_recipe(place: Path, name: str, llm: str, schedule: str = f'cron = "{NEVER}"', /, **keys: object) -> str:
    """`NAME.toml`, which makes persona variants of `NAME.jsonl`; the file's name."""
    written = {"source": f"{name}.jsonl", "llm": "openai:test-model", "generators": "persona", "filters": "none"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**written, "n": "2x", "base_url": llm, **keys}.items()]
    (place / f"{name}.toml").write_text("\n".join([*lines, "[schedule]", schedule]) + "\n")
    return f"{name}.toml"


class Hook:
    """A webhook's other end: every JSON that was posted."""

    def __init__(self) -> None:
        told = self.told = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/alert"

    def about(self, run: Json, seconds: float = 90) -> Json:
        """What was told of this run."""
        return until(lambda: [each for each in self.told if str(each["page"]).endswith(run["id"])], seconds)[0]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Serving:
    """One `augment serve` with several recipes, as tests share it."""

    server: Server
    place: Path
    slow: Served
    away: int
    hook: Hook
    process: Started
    before: list[str] = field(default_factory=list)

    def versions(self, name: str) -> list[Json]:
        """The manifests of the recipe's published versions, oldest first."""
        return versions(self.place, name)


def versions(place: Path, name: str) -> list[Json]:
    found = [json.loads(path.read_bytes()) for path in place.glob("runs/*/manifest.json")]
    return sorted((each for each in found if each["name"] == name), key=lambda each: each["version"])


@pytest.fixture(scope="module")
def serving(prefect: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    place = tmp_path_factory.mktemp("served")
    with ExitStack() as stack:
        slow = stack.enter_context(serve(latency=0.4))
        away = free_port()
        hook = Hook()
        stack.callback(hook.close)
        seeds(place, 20, "slow.jsonl")
        lines = (place / seeds(place, 25, "away.jsonl")).read_text().splitlines()
        (place / "away.jsonl").write_text("\n".join(lines[20:]))
        quick = f'cron = "{NEVER}"\ntimezone = "Asia/Shanghai"\nretries = 6\nretry_delay = 2'
        recipes = [
            write_recipe(place, "slow", slow.url, concurrency=4),
            write_recipe(place, "away", f"http://127.0.0.1:{away}/v1", quick),
        ]
        command = ("serve", *recipes, "--alert", hook.url)
        first = prefect.command(place, *command)
        first.until_says("serving away")
        before = sorted(each["name"] for each in prefect.automations())
        assert first.stop() == 0, first.err
        process = prefect.command(place, *command)
        stack.callback(prefect.end_all, place)
        process.until_says("serving away")
        yield Serving(prefect, place, slow, away, hook, process, before)


def test_serving_registers_what_the_recipe_says_and_twice_makes_no_doubles(serving):
    server = serving.server
    assert serving.before == sorted(each["name"] for each in server.automations())
    assert len(set(serving.before)) == len(serving.before) == 2
    found = server.deployments()["away"]
    assert found["schedules"][0]["schedule"]["cron"] == NEVER
    assert found["schedules"][0]["schedule"]["timezone"] == "Asia/Shanghai"
    assert found["entrypoint"] == "flows.text.text"
    assert found["tags"] == ["augment"]
    assert found["paused"] is False
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert (found["global_concurrency_limit"] or {}).get("limit") == 1
    parameters = found["parameters"]
    assert (parameters["retries"], parameters["retry_delay"]) == (6, 2)
    assert parameters["recipe"]["incremental"] is True
    assert (parameters["recipe"]["name"], parameters["recipe"]["n"]) == ("away", "2x")


@pytest.mark.parametrize(
    "changes, named",
    [({"flavour": "sweet"}, "flavour"), ({"concurrency": 0}, "concurrency"), ({"n": "lots"}, "lots")],
)
def test_a_wrong_recipe_is_refused_when_the_run_is_asked_for(serving, changes, named):
    recipe = serving.server.recipe("slow", **changes)
    with pytest.raises(urllib.error.HTTPError) as refused:
        serving.server.create_run("slow", recipe=recipe)
    assert 400 <= refused.value.code < 500
    assert named in refused.value.read().decode()


def test_a_value_that_makes_no_sense_fails_the_run_with_what_is_wanted(serving):
    run = serving.server.create_run("slow", recipe=serving.server.recipe("slow", generators=["persona:lots"]))
    ended = serving.server.ended(run["id"])
    assert ended["state_name"] == "Failed"
    assert "generator weight 'persona:lots' is not NAME:1 to NAME:100" in ended["state"]["message"]


def test_two_runs_at_once_wait_for_each_other_and_a_changed_recipe_counts(serving):
    server = serving.server
    recipe = server.recipe("slow", n="3x")
    asked = [server.create_run("slow", recipe=recipe) for _ in range(2)]
    ended = [server.ended(each["id"]) for each in asked]
    assert [each["state_name"] for each in ended] == ["Completed"] * 2
    spans = sorted((each["start_time"], each["end_time"]) for each in ended)
    assert spans[0][1] <= spans[1][0]
    last = max(ended, key=lambda each: each["start_time"])
    assert "nothing new" in last["state"]["message"]
    assert {each["name"] for each in ended} == {"slow 3x"}
    assert [each["recipe"]["n"] for each in serving.versions("slow")] == ["3x"]
    rows = pl.read_parquet(next(serving.place.glob("runs/slow-*/curated/train.parquet")))
    assert len(rows.filter(pl.col("generator") != "seed")) == 60


def test_a_run_whose_llm_server_is_away_is_tried_again_until_it_is_back(serving):
    server = serving.server
    run = server.create_run("away")

    def waits() -> bool:
        tasks = server.task_runs(run["id"])
        return any(each["name"] == "curate away.jsonl" and each["run_count"] >= 1 for each in tasks) and any(
            each["state_type"] == "FAILED" for each in tasks
        )

    until(waits)
    with serve(port=serving.away) as llm:
        ended = server.ended(run["id"])
        assert len(llm.stats()["by_key"]) == 10
    assert ended["state_name"] == "Completed", ended["state"]["message"]
    tries = [each["run_count"] for each in server.task_runs(run["id"]) if each["name"] == "curate away.jsonl"]
    assert len(tries) == 1
    assert 2 <= tries[0] <= 6
    assert [each["version"] for each in serving.versions("away")] == [1]


def test_what_is_wrong_with_the_recipe_is_not_tried_again_and_the_alert_tells(serving):
    server = serving.server
    run = server.create_run("away", recipe=server.recipe("away", source="nowhere.jsonl", llm="echo"))
    ended = server.ended(run["id"])
    assert ended["state_name"] == "Failed"
    assert "nowhere.jsonl" in ended["state"]["message"]

    def failed() -> list[Json]:
        tasks = [each for each in server.task_runs(run["id"]) if each["name"] == "curate nowhere.jsonl"]
        return [each for each in tasks if each["state_type"] == "FAILED"]

    assert [each["run_count"] for each in until(failed)] == [1]
    told = serving.hook.about(run)
    assert (told["run"], told["state"], told["message"]) == ("away 2x", "Failed", ended["state"]["message"])


def begun(serving: Serving, n: str, more: int) -> Json:
    """A run of the slow recipe that has had `more` answers."""
    before = serving.slow.stats()["finished"]
    run = serving.server.create_run("slow", recipe=serving.server.recipe("slow", n=n))
    until(lambda: serving.slow.stats()["finished"] >= before + more, every=0.05)
    return run


def test_a_killed_run_is_crashed_the_alert_tells_and_the_next_asks_only_what_was_in_flight(serving):
    server = serving.server
    run = begun(serving, "5x", 12)
    pids = server.processes_of(run["id"])
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    ended = server.ended(run["id"])
    assert ended["state_type"] == "CRASHED"
    assert serving.hook.about(run)["state"] == "Crashed"
    again = server.create_run("slow", recipe=server.recipe("slow", n="5x"))
    assert server.ended(again["id"])["state_name"] == "Completed"
    calls = Counter(key for key, *_ in serving.slow.log())
    assert sum(count - 1 for count in calls.values()) <= 4
    assert serving.versions("slow")[-1]["recipe"]["n"] == "5x"


def test_a_cancelled_run_drains_and_loses_no_answer(serving):
    server = serving.server
    earlier = len(serving.slow.log())
    run = begun(serving, "6x", 4)
    server.cancel(run["id"])
    ended = server.ended(run["id"])
    assert ended["state_name"] == "Cancelled"
    until(lambda: not server.processes_of(run["id"]))
    assert {status for *_, status in serving.slow.log()[earlier:]} == {200}, "an answer in flight was thrown away"
    done = serving.slow.stats()["finished"]
    again = server.create_run("slow", recipe=server.recipe("slow", n="6x"))
    assert server.ended(again["id"])["state_name"] == "Completed"
    assert serving.slow.stats()["finished"] > done
    assert set(Counter(key for key, *_ in serving.slow.log()[earlier:]).values()) == {1}


def test_ctrl_c_on_serve_lets_the_run_drain(serving):
    earlier = len(serving.slow.log())
    run = begun(serving, "7x", 4)
    assert serving.process.stop() == 0, serving.process.err
    ended = serving.server.flow_run(run["id"])
    assert (ended["state_name"], serving.server.processes_of(run["id"])) == ("Cancelled", [])
    assert {status for *_, status in serving.slow.log()[earlier:]} == {200}
    limit = serving.server.deployments()["slow"]["global_concurrency_limit"]
    assert limit["active_slots"] == 0, "the next run would wait for a place"


def test_a_schedule_augments_what_is_new_and_one_run_makes_up_for_those_missed(prefect, place):
    seeds(place, 6, "nightly.jsonl")
    lines = (place / "nightly.jsonl").read_text().splitlines()
    (place / "nightly.jsonl").write_text("\n".join(lines[:4]))
    with serve() as llm:
        recipe = write_recipe(place, "nightly", llm.url, 'cron = "* * * * * */6"')
        process = prefect.command(place, "serve", recipe)
        process.until_says("serving nightly: at * * * * * */6 UTC")

        def ended(count: int, message: str) -> bool:
            runs = [each for each in prefect.flow_runs("nightly") if each["state_type"] == "COMPLETED"]
            return sum(message in each["state"]["message"] for each in runs) >= count

        until(lambda: ended(1, "of 8 kept"), every=0.5)
        until(lambda: ended(1, "nothing new"), every=0.5)
        assert [each["version"] for each in versions(place, "nightly")] == [1]
        before = set(llm.stats()["by_key"])
        (place / "nightly.jsonl").write_text("\n".join(lines[:5]))
        until(lambda: ended(1, "of 10 kept"), every=0.5)
        assert process.stop() == 0
        asked = set(llm.stats()["by_key"]) - before
        assert len(asked) == 2
        first, second = versions(place, "nightly")
        folder = next(
            path.parent for path in place.glob("runs/*/manifest.json") if json.loads(path.read_bytes()) == first
        )
        manifest = sha256((folder / "manifest.json").read_bytes()).hexdigest()
        assert second["parent"] == {"name": folder.name, "fingerprint": first["fingerprint"], "manifest": manifest}

        served = {each["id"] for each in prefect.flow_runs("nightly") if each["state_type"] != "SCHEDULED"}
        until(lambda: sum(each["estimated_start_time_delta"] > 0 for each in waiting(prefect, "nightly")) >= 2)
        (place / "nightly.jsonl").write_text("\n".join(lines))
        process = prefect.command(place, "serve", recipe, "--cron", NEVER)
        process.until_says(f"serving nightly: at {NEVER} UTC")
        until(lambda: ended(1, "of 12 kept"), every=0.5)
        assert process.stop() == 0
        later = [each for each in prefect.flow_runs("nightly") if each["id"] not in served]
        assert [each["auto_scheduled"] for each in later if each["state_type"] != "SCHEDULED"] == [False]
        now = datetime.now(UTC).isoformat()
        assert [each["name"] for each in waiting(prefect, "nightly") if each["expected_start_time"] <= now] == []
        assert [each["version"] for each in versions(place, "nightly")] == [1, 2, 3]
    prefect.api("DELETE", f"/deployments/{prefect.deployments()['nightly']['id']}")


def waiting(prefect: Server, deployment: str) -> list[Json]:
    """Its scheduled runs; `estimated_start_time_delta` says how many seconds they are late."""
    return [each for each in prefect.flow_runs(deployment) if each["state_type"] == "SCHEDULED"]


MANY = """
import contextlib, io, json, sys
from augment.cli import main
told = []
for words in json.loads(sys.argv.pop()):
    sys.argv = ["augment", "serve", *words]
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            told.append([end.code, err.getvalue()])
print(json.dumps(told))
"""


def test_what_cannot_be_served_is_one_line_and_nothing_is_registered(prefect, place):
    seeds(place, 2, "fine.jsonl")
    cron = f'cron = "{NEVER}"'
    fine = write_recipe(place, "fine", "http://127.0.0.1:9/v1", cron)
    files = {
        "untimed": write_recipe(place, "untimed", "http://127.0.0.1:9/v1", ""),
        "cron": write_recipe(place, "cron", "http://127.0.0.1:9/v1", 'cron = "at two"'),
        "zone": write_recipe(place, "zone", "http://127.0.0.1:9/v1", f'{cron}\ntimezone = "Mars/Olympus"'),
        "unknown": write_recipe(place, "unknown", "http://127.0.0.1:9/v1", cron, generators="parafrase"),
        "typo": write_recipe(place, "typo", "http://127.0.0.1:9/v1", 'crom = "0 2 * * *"'),
        "twin": write_recipe(place, "twin", "http://127.0.0.1:9/v1", cron, name="fine"),
        "out": write_recipe(place, "out", "http://127.0.0.1:9/v1", cron, out="here"),
        "verb": write_recipe(place, "verb", "http://127.0.0.1:9/v1", cron, verb="fintune"),
    }
    for name, key in (("taught", 'out = "mine"'), ("adapter", 'adapter = "nlor"'), ("nobase", 'base = ""')):
        lines = ['verb = "finetune"', 'data = "sample"', *(['base = "b"'] if name != "nobase" else []), key]
        (place / f"{name}.toml").write_text("\n".join([*lines, "[schedule]", cron]) + "\n")
    loop = ['verb = "loop"', "[text]", 'source = "sample"', "[finetune]", 'base = "b"', "[[adapters]]"]
    (place / "loop.toml").write_text("\n".join([*loop, 'adapter = "nlor"', "[schedule]", cron]) + "\n")
    cases: list[tuple[list[str], str]] = [
        ([], "no recipe to serve"),
        ([fine, files["untimed"]], "untimed.toml does not say when to run"),
        ([fine, files["cron"]], "at two"),
        ([fine, files["zone"]], "Mars/Olympus"),
        ([fine, "--cron", "99 2 * * *"], "99 2 * * *"),
        ([fine, "--timezone", "Nowhere"], "Nowhere"),
        ([fine, files["unknown"]], "parafrase"),
        ([fine, files["typo"]], "crom"),
        ([fine, files["twin"]], "two recipes are called 'fine'"),
        ([fine, files["out"]], "--out"),
        ([fine, files["verb"]], "'fintune', which is no verb that runs by itself; did you mean finetune?"),
        ([fine, "taught.toml"], "out = 'mine' holds one training"),
        ([fine, "adapter.toml"], "no adapter called 'nlor'; did you mean nlora"),
        ([fine, "nobase.toml"], "no base given"),
        ([fine, "loop.toml"], "no adapter called 'nlor'; did you mean nlora"),
        ([fine, "missing.toml"], "no recipe file missing.toml"),
        ([fine, "--watch", "carrier-pigeon://loft"], "carrier-pigeon"),
    ]
    before = set(prefect.deployments()), len(prefect.automations())
    ran = prefect.python(place, "-c", MANY, json.dumps([words for words, _ in cases]))
    assert ran.end() == 0, ran.err
    for (code, err), (words, named) in zip(json.loads(ran.out.splitlines()[-1]), cases, strict=True):
        assert code == 2, (words, err)
        assert err.startswith("augment: "), (words, err)
        assert err.count("\n") == 1, (words, err)
        assert named in err, words
    assert (set(prefect.deployments()), len(prefect.automations())) == before


def test_without_a_server_serve_names_the_command_that_starts_one(place):
    recipe = write_recipe(place, "fine", "http://127.0.0.1:9/v1")
    nobody = Server(place)
    for address, named in (("", "PREFECT_API_URL="), (nobody.url, nobody.url)):
        ran = nobody.command(place, "serve", recipe, PREFECT_API_URL=address)
        assert ran.end() == 2
        assert ran.err.startswith("augment: ")
        assert ran.err.count("\n") == 1
        assert "prefect server start" in ran.err
        assert named in ran.err
