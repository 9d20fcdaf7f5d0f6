"""`augment finetune` as a Prefect flow, by hand and served, against a real server, on a tiny base."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.finetune.bases import save_base
from tests.prefect_server import Json, Server, Started, until
from tests.test_serve import NEVER

ADAPTER = "adapter_model.safetensors"
KEYS = {"data": "sample", "rank": 2, "epochs": 99, "batch": 2, "length": 200, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("bases") / "tiny", num_hidden_layers=1)


@dataclass(frozen=True)
class Flown:
    """A training as a flow, with the words that asked for it."""

    words: tuple[object, ...]
    ran: Started
    place: Path
    run: Json


@pytest.fixture(scope="module")
def flown(prefect: Server, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Flown:
    place = tmp_path_factory.mktemp("trained")
    words = [word for key, value in KEYS.items() for word in (f"--{key.replace('_', '-')}", value)]
    words += ["--base", base, "--max-steps", 12, "--adapter", "nlora", "--out"]
    ran = prefect.command(place, "finetune", *words, "mine")
    assert ran.end() == 0, ran.err
    names = re.findall(r"Beginning flow run '(.+?)'", ran.err)
    return Flown(("finetune", *words), ran, place, prefect.only_run(names[0]))


def test_a_flow_trains_the_same_adapter_and_says_the_same(flown, augment, place):
    plain = augment(*flown.words, "mine", "--no-prefect")
    assert plain.code == 0, plain.err
    told, same = (re.sub(r"in [\d.]+ s:", "", out) for out in (flown.ran.out, plain.out))
    assert told == same
    assert "validation loss" in told
    assert (flown.place / "mine" / ADAPTER).read_bytes() == (place / "mine" / ADAPTER).read_bytes()
    assert "Flow run" not in plain.err


def test_prefect_shows_the_stages_the_progress_the_losses_and_where_the_adapter_is(flown, prefect):
    assert (flown.run["name"], flown.run["state_name"]) == ("tiny nlora", "Completed")
    assert re.match(
        r"Validation loss [\d.]+ before, [\d.]+ after 12 steps; .* Adapter: mine$", flown.run["state"]["message"]
    )
    until(lambda: len(prefect.task_runs(flown.run["id"])) == 3)
    tasks = prefect.task_runs(flown.run["id"])
    assert [each["name"] for each in tasks] == ["prepare sample", "train mine", "publish mine"]
    assert {each["state_name"] for each in tasks} == {"Completed"}
    found = prefect.artifacts(flown.run["id"])
    assert Counter(each["type"] for each in found) == {"markdown": 3, "progress": 1}, "links are markdown to the API"
    by_key = {each["key"].rpartition("-")[2]: each["data"] for each in found}
    assert float(by_key["progress"]) == 100
    before, after = re.findall(r"Validation loss ([\d.]+) before, ([\d.]+) after", flown.run["state"]["message"])[0]
    assert f"| validation loss before | {before} |" in by_key["summary"]
    assert f"| validation loss after | {after} |" in by_key["summary"]
    assert "| steps | 12 of 12 |" in by_key["summary"]
    assert re.search(r"\| memory at most \| \d\.\d\d GiB \|", by_key["summary"])
    folder = flown.place / "mine"
    assert f"Adapter: `{folder}`" in by_key["summary"]
    assert by_key["run"] == f"[Run folder]({folder.as_uri()})"
    assert by_key["report"] == f"[README.md]({(folder / 'README.md').as_uri()})"
    assert until(lambda: [each for each in prefect.logs(flown.run["id"]) if each["name"] == "finetune.progress"])


ALONE = """
import sys
from augment.cli import main
sys.modules["torch"] = None  # what would come next takes seconds
for flags in ([], ["--prefect"]):
    sys.argv = ["augment", "finetune", "--base", "any", "--data", "sample", *flags]
    try:
        main()
    except SystemExit as end:
        print(end.code, "prefect" in sys.modules)
"""


def test_processes_that_train_together_are_no_flow(place):
    ran = Server(place).python(place, "-c", ALONE, WORLD_SIZE="2")
    assert ran.end() == 0
    assert ran.out.splitlines() == ["2 False", "2 False"]
    lines = [line for line in ran.err.splitlines() if line.startswith("augment: ")]
    assert "this needs Torch" in lines[0]
    assert lines[1] == "augment: --prefect trains in one process, not in 2; leave it out under torchrun"


@dataclass(frozen=True)
class Serving:
    server: Server
    place: Path

    def ended(self, run: Json) -> tuple[str, str]:
        """How the run ended: its state and message."""
        found = self.server.ended(run["id"])
        return found["state_name"], found["state"]["message"]


@pytest.fixture(scope="module")
def serving(prefect: Server, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    place = tmp_path_factory.mktemp("served")
    keys = "\n".join(f"{key} = {value!r}" for key, value in {**KEYS, "base": str(base), "max_steps": 140}.items())
    schedule = f'[schedule]\ncron = "{NEVER}"\nretries = 1\nretry_delay = 0\n'
    (place / "taught.toml").write_text(f'verb = "finetune"\n{keys}\neval_every = 40\n{schedule}')
    process = prefect.command(place, "serve", "taught.toml")
    process.until_says("serving taught")
    yield Serving(prefect, place)
    assert process.stop() == 0, process.err
    prefect.end_all(place)


def test_a_served_training_that_is_stopped_goes_on_and_is_not_repeated_for_the_same_data(serving):
    server = serving.server
    found = server.deployments()["taught"]
    assert (found["entrypoint"], found["parameters"]["retries"]) == ("flows.finetune.finetune", 1)
    assert found["description"].startswith("lora on ")
    stopped = server.create_run("taught")
    until(lambda: list(serving.place.glob("adapters/tiny-lora-*/checkpoints/checkpoint-40/complete")), every=0.02)
    for pid in server.processes_of(stopped["id"]):
        os.kill(pid, signal.SIGTERM)
    state, message = serving.ended(stopped)
    assert state == "Cancelled"
    step = int(re.match(r"stopped at step (\d+) of 140; what was learned is kept", message)[1])
    assert 40 <= step < 140

    again = server.create_run("taught")
    state, message = serving.ended(again)
    assert (state, message.partition(" ")[0]) == ("Completed", "Validation")
    lines = until(lambda: [each["message"] for each in server.logs(again["id"]) if "going on" in each["message"]])
    assert lines == [f"going on at step {step} of 140"]

    state, message = serving.ended(server.create_run("taught"))
    assert (state, message.partition(";")[0]) == ("Completed", "trained before, and nothing is new")
    assert len(list(serving.place.glob("adapters/*/manifest.json"))) == 1
