"""`augment loop` as a Prefect flow, by hand and served, against a real server, on a tiny base."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

from tests.finetune.bases import save_base
from tests.prefect_server import Json, Server, free_port, until
from tests.server import serve
from tests.test_serve import NEVER


def write_loop(place: Path, file: str, name: str, text: str = "", second: str = "q_proj") -> str:
    """A recipe of one round with two adapters, the second on the module `second`."""
    (place / file).write_text(f"""
verb = "loop"
name = "{name}"
validation = 0
[text]
source = "sample"
limit = 8
n = "1x"
filters = "none"
{text}
[finetune]
base = "tiny"
rank = 2
batch = 2
max_steps = 2
length = 250
[[adapters]]
name = "first"
adapter = "nlora"
[[adapters]]
name = "second"
targets = "{second}"
[evaluate]
limit = 2
max_tokens = 2
[schedule]
cron = "{NEVER}"
retries = 9
retry_delay = 2
""")
    return file


def tasks(server: Server, run: Json, last: str) -> dict[str, str]:
    """The run's tasks and how each ended, in order, once `last` is among them."""

    def found() -> dict[str, str]:
        return {each["name"]: each["state_name"] for each in server.task_runs(run["id"])}

    until(lambda: found().get(last) in ("Completed", "Failed"))
    return found()


def test_a_loop_shows_its_stages_does_what_it_can_and_served_only_what_is_missing(prefect, place):
    save_base(place / "tiny", num_hidden_layers=1)
    broken = write_loop(place, "broken.toml", "mine", second="q_prj")
    ran = prefect.command(place, "loop", "--recipe", broken)
    assert ran.end() == 2, ran.err
    assert "Traceback" not in ran.err
    run = prefect.only_run("mine, 1 round")
    assert run["state_name"] == "Failed"
    assert re.match(r"round 1: train second: .*q_prj.*; the rest is in loops/mine$", run["state"]["message"])
    assert tasks(prefect, run, "round 1: exam") == {
        "plan mine": "Completed",
        "round 1: augment, generate and sift: part 1": "Completed",
        "round 1: augment, publish text": "Completed",
        "round 1: control": "Completed",
        "round 1: train first": "Completed",
        "round 1: train first-control": "Completed",
        "round 1: train second": "Failed",
        "round 1: exam": "Completed",
    }
    shown = {each["key"]: each["data"] for each in prefect.artifacts(run["id"])}
    assert shown["mine-summary"].startswith("# mine")
    assert "## Not done" in shown["mine-summary"]
    assert "rounds.svg" not in shown["mine-summary"], "its file is not within Prefect's reach"
    assert shown["mine-run"] == f"[Run folder]({(place / 'loops/mine').as_uri()})"
    assert shown["mine-report"] == f"[README.md]({(place / 'loops/mine/README.md').as_uri()})"

    port = free_port()
    llm = f'llm = "openai:test-model"\nbase_url = "http://127.0.0.1:{port}/v1"\nconcurrency = 1'
    process = prefect.command(
        place, "serve", write_loop(place, "mended.toml", "mine"), write_loop(place, "away.toml", "away", llm)
    )
    process.until_says("serving away")
    runs = {name: prefect.create_run(name) for name in ("mine", "away")}
    until(lambda: any(each["state_name"] == "AwaitingRetry" for each in prefect.task_runs(runs["away"]["id"])))
    with serve(latency=1, port=port) as back:
        until(lambda: back.stats()["finished"] >= 1, every=0.05)
        for pid in prefect.processes_of(runs["away"]["id"]):
            os.kill(pid, signal.SIGTERM)
        ended = {name: prefect.ended(each["id"]) for name, each in runs.items()}
        assert back.stats()["finished"] < 8, "it is not cancelled but done"
    assert process.stop() == 0, process.err
    assert ended["away"]["state_name"] == "Cancelled"
    assert ended["away"]["state"]["message"].endswith("every stage that was done is kept: run it again to go on")

    assert ended["mine"]["state_name"] == "Completed", ended["mine"]["state"]["message"]
    assert ended["mine"]["state"]["message"].startswith("After round 1: first: ")
    lines = until(
        lambda: [each["message"] for each in prefect.logs(runs["mine"]["id"]) if "report: " in each["message"]]
    )
    lines = [each["message"] for each in prefect.logs(runs["mine"]["id"])]
    assert any(line.startswith("round 1: train first: ") and line.endswith("(it was there)") for line in lines)
    assert any(line.startswith("round 1: train second: ") and "it was there" not in line for line in lines)
    record = json.loads((place / "loops/mine/loop.json").read_text())
    assert {each["name"] for each in record["rounds"][0]["adapters"] if not each["control"]} == {"first", "second"}
