"""Files that arrive start a run, whole ones only; and the same flow on a worker of a work pool."""

from __future__ import annotations

import time

import polars as pl

from augment.recipe import read_recipe, read_schedule
from tests.prefect_server import ROOT, Server, Started, until
from tests.test_pipeline import seeds
from tests.test_serve import versions

RECIPE = """
source = "inbox"
n = "2x"
filters = "none"
[schedule]
watch = "inbox"
watch_every = 1.0
retries = 0
"""


def test_files_that_arrive_start_a_run_once_they_are_whole(prefect, place):
    (place / "inbox").mkdir()
    (place / "news.toml").write_text(RECIPE)
    lines = [line + "\n" for line in (place / seeds(place, 20)).read_text().splitlines()]
    process = prefect.command(place, "serve", "news.toml")
    process.until_says("serving news: when files arrive in inbox")
    with (place / "inbox/a.jsonl").open("w") as file:
        for line in lines[:12]:
            file.write(line)
            file.flush()
            time.sleep(0.3)  # slower than a look, so that one falls between two lines
        assert prefect.flow_runs("news") == [], "half a file started a run"
    finished = time.monotonic()
    run = until(lambda: prefect.flow_runs("news"))[0]
    assert time.monotonic() - finished < 20
    assert prefect.ended(run["id"])["state_name"] == "Completed"
    first = versions(place, "news")
    assert [each["version"] for each in first] == [1]
    assert prefect.flow_run(run["id"])["state"]["message"].startswith("24 of 24 kept")

    (place / "inbox/b.jsonl").write_text("".join(lines[12:]))
    second = until(lambda: prefect.flow_runs("news")[1:])[0]
    assert prefect.ended(second["id"])["state"]["message"].startswith("40 of 40 kept")
    assert [each["version"] for each in versions(place, "news")] == [1, 2]
    assert len(prefect.flow_runs("news")) == 2, "one run a change"
    assert process.stop() == 0, process.err


LISTING = """
import fsspec
from flows.watch import listing
files = fsspec.filesystem("memory")
place = "memory://bucket/new"
seen = [listing(place)]
for name, text in (("a.jsonl", b"one"), ("a.jsonl", b"two and more"), ("deep/b.jsonl", b"three")):
    files.pipe(f"/bucket/new/{name}", text)
    seen.append(listing(place))
assert listing(place) == seen[-1], "nothing changed"
assert seen[0] == "", "nothing there"
assert len(set(seen)) == 4, seen
files.rm("/bucket/new/deep/b.jsonl")
assert listing(place) not in ("", seen[-1])
"""


def test_a_bucket_is_listed_as_a_folder_is(place):
    ran = Server(place).python(place, "-c", LISTING, PREFECT_API_URL="")
    assert ran.end() == 0, ran.err


def test_the_nightly_recipe_is_deployed_to_a_work_pool_and_a_worker_runs_it(prefect, place):
    (place / "flows").symlink_to(ROOT / "flows")
    file = ROOT / "flows/recipes/chbench-nightly.toml"

    def cli(*words: object) -> Started:
        return prefect.python(place, "-m", "prefect", "--no-prompt", *words)

    pool = cli("work-pool", "create", "augment", "--type", "process")
    assert pool.end() == 0, pool.err + pool.out
    deployed = cli("deploy", "--all", "--prefect-file", "flows/prefect.yaml")
    assert deployed.end() == 0, deployed.err + deployed.out
    found = prefect.deployments()["chbench-nightly"]
    wanted, when = read_recipe({"incremental": True}, file), read_schedule({}, file)
    assert found["parameters"] == {
        "recipe": wanted.model_dump(mode="json", exclude_unset=True),
        "retries": when.retries,
        "retry_delay": when.retry_delay,
    }
    schedule = found["schedules"][0]["schedule"]
    assert (schedule["cron"], schedule["timezone"]) == (when.cron, when.timezone)
    assert found["tags"] == ["augment"]
    assert found["global_concurrency_limit"]["limit"] == 1
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"

    recipe = {"name": "tried", "source": "sample", "n": "1x", "limit": 20, "incremental": True}
    run = prefect.create_run("chbench-nightly", recipe=recipe)
    worker = cli("worker", "start", "--pool", "augment", "--run-once")
    ended = prefect.ended(run["id"])
    assert ended["state_name"] == "Completed", ended["state"]["message"]
    assert worker.end() == 0, worker.err
    assert [each["version"] for each in versions(place, "tried")] == [1]
    rows = pl.read_parquet(next(place.glob("runs/tried-*/curated/train.parquet")))
    assert len(rows.filter(pl.col("generator") != "seed")) == 20
