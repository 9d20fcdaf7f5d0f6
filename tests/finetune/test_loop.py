"""`augment loop` from end to end: what it makes, what it does again, and what a failure leaves."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import orjson
import polars as pl
import pytest

from augment.errors import Interrupted
from augment.recipe import read_recipe
from augment.reopen import sources_of
from augment.sources import open_source
from finetune.loop.halt import Halt
from finetune.loop.planned import planned
from finetune.loop.recipe import read_loop_recipe
from finetune.loop.run import loop
from tests.finetune.bases import save_base
from tests.finetune.loops import command, made_in, ours, record_of, run, write_recipe
from tests.server import serve


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, base):
    """A loop of two rounds that nobody disturbed: its place, and what it said."""
    place = tmp_path_factory.mktemp("loop")
    done = run(place, "--recipe", write_recipe(place, base))
    assert done.returncode == 0, done.stderr
    return place, done


@pytest.fixture
def again(finished, tmp_path):
    """The same loop in a place of its own, to be changed."""
    place = tmp_path / "again"
    shutil.copytree(finished[0], place)
    return place


def lines(done):
    """The line of each stage, by its name."""
    told = [line[7:].partition(": ") for line in done.stderr.splitlines() if line[3:4] == ":"]
    return {f"{name}: {rest.partition(': ')[0]}" if name.startswith("round") else name: rest for name, _, rest in told}


def repeated(done):
    """The stages that were done and not found."""
    return {name for name, told in lines(done).items() if "it was there" not in told and not name.endswith(": control")}


def test_a_loop_makes_trains_and_compares(finished):
    place, done = finished
    folder = place / "loops/small"
    record = record_of(folder)
    assert [each["round"] for each in record["rounds"]] == [1, 2]
    assert record["rows"] == {"source": "sample", "seeds": 20, "validation": 27, "exam": 32, "labels": 16} | {
        "exam": record["rows"]["exam"]
    }
    for each in record["rounds"]:
        names = [told["name"] for told in each["adapters"]]
        assert names == ["nlora", "nlora-control", "ba-lora", "ba-lora-control"]
        assert len({told["steps"] for told in each["adapters"]}) == 1
        assert {told["model"] for told in each["exam"]["over_base"]} == set(names)
        assert [told["over"] for told in each["exam"]["over_control"]] == ["nlora-control", "ba-lora-control"]
        for name in names:
            assert (folder / f"round-{each['round']}/adapters/{name}/plain/adapter_model.safetensors").is_file()
    assert record["rounds"][1]["run"]["kept"] > record["rounds"][0]["run"]["kept"]
    assert len(record["rounds_apart"]) == 2
    report = (folder / "README.md").read_text("utf-8")
    assert "more than repeated" in report and "Where the variants went" in report
    assert "augment loop --recipe" in report
    assert (folder / "report.html").stat().st_size > 100_000
    assert "<svg" in (folder / "rounds.svg").read_text("utf-8")
    assert json.loads((folder / "manifest.json").read_text())["kind"] == "loop"
    assert "on the same seeds repeated" in done.stdout


def test_the_control_has_each_seed_as_often_as_it_has_rows(finished):
    folder = finished[0] / "loops/small/round-2"
    curated = pl.read_parquet(folder / "text/curated/train.parquet")
    seeds = curated.filter(pl.col("generator") == "seed")
    children = curated.filter(pl.col("generator") != "seed")["parents"].list.first().value_counts()
    times = dict(children.iter_rows())
    expected = {row["prompt"]: 1 + times.get(row["id"], 0) for row in seeds.iter_rows(named=True)}
    learned = [
        json.loads(line)["messages"][0]["content"] for line in (folder / "control.jsonl").read_text().splitlines()
    ]
    assert {prompt: learned.count(prompt) for prompt in set(learned)} == expected


def test_neither_exam_nor_validation_is_made_more_of_or_learnt(finished):
    folder = finished[0] / "loops/small"
    source, exam = sources_of(read_recipe({"source": "sample", "validation": 0.2}))
    held = set(exam["prompt"])
    assert set(source.validation["prompt"]) < held
    written = [json.loads(line)["prompt"] for line in (folder / "validation.jsonl").read_text().splitlines()]
    assert written == source.validation["prompt"].to_list()
    for number in (1, 2):
        curated = pl.read_parquet(folder / f"round-{number}/text/curated/train.parquet")
        assert not held & set(curated["prompt"])
        assert not held & set((folder / f"round-{number}/control.jsonl").read_text().split(chr(34)))
        asked = pl.read_parquet(folder / f"round-{number}/exam/scores.parquet")
        assert not set(asked["query"]) & set(source.validation["prompt"])
        assert set(asked["query"]) <= set(source.exam["prompt"])


def test_the_second_round_gives_each_label_what_the_first_one_says(finished):
    folder = finished[0] / "loops/small"
    first, second = record_of(folder)["rounds"]
    more = {each["label"]: each["more"] for each in first["labels"] if each["seeds"]}
    assert len(set(more.values())) > 1  # some labels were answered better than others
    curated = pl.read_parquet(folder / "round-2/text/curated/train.parquet")
    seeds = curated.filter(pl.col("generator") == "seed")
    made = curated.filter(pl.col("generator") != "seed")
    wanted = sum((1 + more[label]) * count for label, count in seeds["label"].value_counts().iter_rows())
    assert second["run"]["target"] == wanted
    for label, count in seeds["label"].value_counts().iter_rows():
        assert len(made.filter(pl.col("label") == label)) <= (1 + more[label]) * count
    scores = {each["label"]: each["score"] for each in first["labels"]}
    favoured = [scores[label] for label, each in more.items() if each]
    passed_by = [scores[label] for label, each in more.items() if not each]
    assert max(favoured) < max(passed_by)


def test_the_same_command_does_nothing_again(again, base):
    done = run(again, "--recipe", "small.toml")
    assert done.returncode == 0, done.stderr
    assert repeated(done) == set()


def test_another_evaluation_asks_again_and_trains_nothing(again, base):
    write_recipe(again, base, rounds=1)
    assert run(again, "--recipe", "small.toml").returncode == 0
    done = run(again, "--recipe", "small.toml", "--set", "evaluate.max_tokens=8")
    assert done.returncode == 0, done.stderr
    assert repeated(done) == {"round 1: exam", "report"}


def test_an_edited_seed_makes_its_variants_and_all_that_learnt_it_anew(tmp_path, base):
    rows = [
        {"question": f"第{number}个问题：头疼怎么办", "answer": f"多休息，第{number}天再看。"} for number in range(12)
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    recipe = write_recipe(tmp_path, base, rounds=1, text='holdout = "30%"\npath = "."')
    recipe.write_text(
        recipe.read_text("utf-8")
        .replace('"sample"\nn', '"rows.jsonl"\nn')
        .replace('path = "."\n', "")
        .replace('card = "sample"\n', "")
    )
    first = run(tmp_path, "--recipe", recipe)
    assert first.returncode == 0, first.stderr
    before = pl.read_parquet(tmp_path / "loops/small/round-1/text/curated/train.parquet")
    seed = before.filter(pl.col("generator") == "seed")["prompt"][0]
    source.write_text(source.read_text("utf-8").replace(seed, seed + "呢"), "utf-8")
    done = run(tmp_path, "--recipe", recipe)
    assert done.returncode == 0, done.stderr
    assert {"round 1: augment", "round 1: train nlora", "round 1: exam"} <= repeated(done)
    after = pl.read_parquet(tmp_path / "loops/small/round-1/text/curated/train.parquet")
    assert seed not in set(after["prompt"])
    unchanged = set(before["id"]) & set(after["id"])
    assert len(unchanged) == len(before) - 2  # the seed and its variant


def test_a_stage_that_fails_leaves_the_others_and_says_how_to_go_on(tmp_path, base):
    recipe = write_recipe(tmp_path, base, rounds=1)
    recipe.write_text(recipe.read_text("utf-8").replace('adapter = "nlora"', 'adapter = "nlora"\nrank = 500'))
    done = run(tmp_path, "--recipe", recipe)
    folder = tmp_path / "loops/small"
    assert done.returncode == 2
    assert "round 1: train nlora" in done.stderr and "500" in done.stderr
    assert "Traceback" not in done.stderr
    assert f"augment loop --recipe {recipe}" in done.stderr
    told = record_of(folder)["rounds"][0]
    assert [each["name"] for each in told["adapters"]] == ["ba-lora", "ba-lora-control"]
    assert told["exam"]["over_control"]
    assert "Not done" in (folder / "README.md").read_text("utf-8")
    assert not (folder / "manifest.json").exists()
    recipe.write_text(recipe.read_text("utf-8").replace("rank = 500", "rank = 2"))
    done = run(tmp_path, "--recipe", recipe)
    assert done.returncode == 0, done.stderr
    assert repeated(done) == {"round 1: train nlora", "round 1: train nlora-control", "round 1: exam", "report"}
    assert (folder / "manifest.json").is_file()


def test_killed_at_five_random_moments_it_ends_with_the_same_bytes(finished, tmp_path, base):
    place = tmp_path / "killed"
    place.mkdir()
    recipe = write_recipe(place, base)
    dice = random.Random(time.time_ns())
    moments = []
    for _ in range(5):
        moments.append(round(dice.uniform(3, 14), 2))
        process = subprocess.Popen(
            command("--recipe", recipe),
            cwd=place,
            env=ours(place),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(moments[-1])
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    done = run(place, "--recipe", recipe)
    assert done.returncode == 0, done.stderr
    assert record_of(place / "loops/small") == record_of(finished[0] / "loops/small"), moments  # tells what differs
    whole, cut = made_in(finished[0] / "loops/small"), made_in(place / "loops/small")
    cut["README.md"] = whole["README.md"]  # it names the recipe's own path
    assert cut == whole, moments


def test_stopped_it_ends_the_stage_and_says_how_to_go_on(tmp_path, base):
    recipe = write_recipe(tmp_path, base)
    process = subprocess.Popen(
        command("--recipe", recipe), cwd=tmp_path, env=ours(tmp_path), stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while not (tmp_path / "loops/small/round-1/adapters").exists() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"augment loop --recipe {recipe}" in err
    assert "Traceback" not in err


def test_what_is_there_needs_neither_its_llm_nor_its_judge(tmp_path, base):
    with serve() as server:
        llm = f'llm = "openai:test-model"\nbase_url = "{server.url}"\nfilters = "none"\ngenerators = ["paraphrase"]'
        judge = f'judge = "openai:test-model"\njudge_url = "{server.url}"'
        recipe = write_recipe(tmp_path, base, rounds=1, text=llm, evaluate=judge)
        recipe.write_text(recipe.read_text("utf-8").replace('\n[[adapters]]\nadapter = "nlora"\n', ""))
        words = ("--recipe", recipe, "--set", "text.limit=6", "--out", "here")
        first = run(tmp_path, *words)
        assert first.returncode == 0, first.stderr
    report = (tmp_path / "here/README.md").read_text("utf-8")
    assert f"augment loop --recipe {recipe} --out here --set text.limit=6" in report
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert repeated(done) == set()
    assert (tmp_path / "here/README.md").read_text("utf-8") == report
    asked = run(tmp_path, *words, "--set", "evaluate.votes=2")
    assert asked.returncode == 2
    assert "round 1: exam" in asked.stderr and "Traceback" not in asked.stderr
    made = run(tmp_path, *words, "--set", "text.n=2x")
    assert made.returncode == 2
    assert "round 1: augment" in made.stderr and "Traceback" not in made.stderr


def test_rows_without_labels_from_files_elsewhere(tmp_path, base):
    seeds = open_source("sample-zh", holdout=0.0).seeds.select(question="prompt", answer="response")
    (tmp_path / "elsewhere").mkdir()
    seeds.write_ndjson(tmp_path / "elsewhere/rows.jsonl")
    recipe = write_recipe(tmp_path, base, text='path = "elsewhere"\nholdout = "20%"')
    told = recipe.read_text("utf-8").replace('\n[[adapters]]\nadapter = "nlora"\n', "").replace('card = "sample"', "")
    recipe.write_text(told.replace('"sample"\nn', '"mine"\nn'))
    done = run(tmp_path, "--recipe", recipe)
    assert done.returncode == 0, done.stderr
    record = record_of(tmp_path / "loops/small")
    assert [each["amount"] for each in record["rounds"]] == [{"n": 1, "labels": {}}, {"n": 2, "labels": {}}]
    assert record["rounds"][1]["exam"]["over_control"]


def test_a_loop_under_way_has_no_manifest(again, monkeypatch):
    monkeypatch.chdir(again)
    folder = again / "loops/small"
    plan = planned(read_loop_recipe({}, Path("small.toml"), ["text.seed=5"]), Path("small.toml"))
    assert (folder / "manifest.json").is_file()
    halt = Halt()
    halt()
    with pytest.raises(Interrupted):
        loop(plan, halt=halt)
    assert not (folder / "manifest.json").exists()


def test_pictures_are_made_and_written_for_their_trainers(tmp_path, base):
    told = 'source = "sample-images"\nn = "1x"\nlimit = 6\nexport = "imagefolder"'
    recipe = write_recipe(tmp_path, base, rounds=1, image=told)
    recipe.write_text(recipe.read_text("utf-8").replace('\n[[adapters]]\nadapter = "nlora"\n', ""))
    done = run(tmp_path, "--recipe", recipe)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "loops/small"
    assert record_of(folder)["pictures"]["image"]["kept"] == 6
    assert list((folder / "image-imagefolder").rglob("*.png"))
    assert orjson.loads((folder / "image/manifest.json").read_bytes())["modality"] == "image"
