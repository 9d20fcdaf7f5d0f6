"""`augment lift --task adapter`: each arm is fine-tuned for as many steps, on its own rows, and answers the exam."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from augment.sources import open_source
from finetune.lift.adapter import Adapting, answered, design_of
from finetune.lift.arms import by_label
from finetune.lift.loss import AnswerLoss
from finetune.lift.measure import measure
from finetune.lift.pool import open_pool
from finetune.recipe import read_finetune_recipe
from finetune.scorers.similarity import similarity
from tests.finetune.bases import save_base
from tests.finetune.lifts import helpful, make_run, write_rows


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture
def pool(place):
    return open_pool(make_run(place / "runs/made", write_rows(place, 6), helpful))


def recipe_of(base, **changes):
    flags = {"base": str(base), "data": "-", "rank": 4, "learning_rate": 0.01, "epochs": 1, "batch": 8}
    return read_finetune_recipe({**flags, **changes})


class Counting:
    """A score that reads nothing and notes what it was asked; it fails at call number `fails`."""

    metric, higher_is_better = "cosine", True

    def __init__(self, fails: int | None = None):
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.steps: dict[str, int] = {}
        self.fails = fails

    def settings(self):
        return {"name": "counting"}

    def __call__(self, adapter: Path, rows: pl.DataFrame):
        if len(self.asked) == self.fails:
            raise KeyboardInterrupt
        self.asked.append((adapter.name, tuple(rows["id"])))
        self.steps[adapter.name] = json.loads((adapter / "training.json").read_text("utf-8"))["steps"]["done"]
        return np.arange(len(rows), dtype=float)


def test_the_command_trains_and_answers_from_end_to_end(augment, place, pool, base):
    words = (
        "--task",
        "adapter",
        "--base",
        base,
        "--rank",
        4,
        "--max-steps",
        2,
        "--seeds",
        2,
        "--set",
        "adapter.alpha=8",
    )
    ran = augment("lift", "made", *words, "--out", "mine", "--json")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    assert (record["metric"], record["higher_is_better"]) == ("loss", False)
    assert [arm["name"] for arm in record["arms"]] == ["real", "real, oversampled", "augmented"]
    seeds = len(pool.seeds)
    assert [arm["rows"] for arm in record["arms"]] == [seeds, 6 * seeds, 6 * seeds]
    assert record["tested"]["rows"] == record["tested"]["exam"] == len(pool.exam) > 0
    assert f"over 2 trainings on all {seeds} seeds" in record["verdict"]
    assert "6 of 6 trainings done" in ran.err
    rows = pl.read_parquet(place / "mine/rows.parquet")
    assert rows["score"].is_between(0, 20).all()
    assert rows.height == 2 * 3 * len(pool.exam)
    assert not (place / "mine/work").exists()
    card = (place / "mine/README.md").read_text("utf-8")
    assert "--set adapter.alpha=8" in card
    assert "so that nothing is said about other seeds" in card


def test_nothing_of_the_exam_gets_into_the_data_and_repeats_do(place, pool, base):
    design = design_of(answered(pool), None)
    judge = Adapting(recipe_of(base), Counting())
    measure(design, judge, [3], place / "work")
    exam = {text for name in ("prompt", "response") for text in pool.exam[name]} - set(pool.seeds["response"])
    assert len(exam) == len(pool.exam)
    seen = 0
    for file in (place / "work/data").iterdir():
        text = file.read_text("utf-8")
        assert not any(each in text for each in exam)
        seen += 1
    assert seen == 3
    lines = (place / "work/data/real-oversampled-0.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 6 * len(set(lines)) == 6 * len(pool.seeds)


def test_all_arms_but_real_take_as_many_steps(place, pool, base):
    score = Counting()
    judge = Adapting(recipe_of(base, epochs=1.5, batch=7, length=160), score)
    long = "word " * 200
    cut = pool.variants.with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit(long)).otherwise("prompt").alias("prompt")
    )
    measure(
        design_of(type(pool)(pool.run, pool.manifest, pool.seeds, cut, pool.exam), None), judge, [3], place / "work"
    )
    steps = score.steps
    assert steps["real-oversampled-0"] == steps["augmented-0"] > steps["real-0"]
    training = json.loads((place / "work/adapters/augmented-0/training.json").read_text("utf-8"))
    assert training["data"]["lost"], "variants over the length are not learned, so that its epoch is shorter"
    assert training["data"]["validation"] == 0


def test_the_most_steps_hold_for_all_arms(place, pool, base):
    score = Counting()
    measure(design_of(answered(pool), None), Adapting(recipe_of(base, max_steps=2), score), [3], place / "work")
    assert score.steps == {"real-0": 2, "real-oversampled-0": 2, "augmented-0": 2}


def test_the_loss_is_the_models_own_over_the_answer(place, pool, base):
    recipe = recipe_of(base, adapter="pissa", max_steps=2)
    judge = Adapting(recipe, AnswerLoss(recipe))
    found = measure(design_of(answered(pool), None), judge, [3], place / "work")
    folder = place / "work/adapters/augmented-0"
    words = AutoTokenizer.from_pretrained(folder)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder / "plain").eval()
    scores = dict(found.frame.filter(pl.col("arm") == "augmented").select("id", "score").iter_rows())
    for row in pool.exam.iter_rows(named=True):
        asked = f"<|im_start|>user\n{row['prompt']}<|im_end|>\n<|im_start|>assistant\n"
        before = words(asked, return_tensors="pt")["input_ids"]
        after = words(f"{row['response']}<|im_end|>\n", return_tensors="pt")["input_ids"]
        labels = torch.cat([torch.full_like(before, -100), after], dim=1)
        with torch.no_grad():
            wanted = float(model(input_ids=torch.cat([before, after], dim=1), labels=labels).loss)
        assert scores[row["id"]] == pytest.approx(wanted, rel=1e-5)
    assert len(scores) == len(pool.exam)


def test_what_a_killed_lift_trained_and_scored_is_not_done_again(place, pool, base):
    design, recipe = design_of(answered(pool), None), recipe_of(base, max_steps=1)
    broken = Counting(fails=4)
    with pytest.raises(KeyboardInterrupt):
        measure(design, Adapting(recipe, broken), [3, 4], place / "work")
    trained = place / "work/adapters/real-oversampled-1/adapter_model.safetensors"
    when = trained.stat().st_mtime_ns
    again = Counting()
    found = measure(design, Adapting(recipe, again), [3, 4], place / "work")
    assert [name for name, _ in again.asked] == ["real-oversampled-1", "augmented-1"]
    assert trained.stat().st_mtime_ns == when
    whole = measure(design, Adapting(recipe, Counting()), [3, 4], place / "other")
    assert found.frame.equals(whole.frame)


def test_any_score_can_judge(place, pool, base):
    score = Counting()
    design = by_label(answered(pool), 2)
    found = measure(design, Adapting(recipe_of(base, max_steps=1), score), [3], place / "work")
    draw = next(design.draws([3]))
    assert {ids for _, ids in score.asked} == {tuple(draw.test["id"])}
    assert len(draw.test) == len(pool.seeds) + len(pool.exam) - 8
    assert found.frame.filter(pl.col("arm") == "real")["score"].to_list() == list(range(len(draw.test)))


def refused(augment, *words):
    ran = augment("lift", *words)
    assert ran.code == 2, ran.out + ran.err
    assert "Traceback" not in ran.err
    return ran.err.strip().splitlines()[-1].removeprefix("augment: ")


def test_mistakes_are_one_line_with_the_fix(augment, place, pool, base):
    tuned = ("--task", "adapter", "--base", base)
    assert refused(augment, "made", "--rank", 4) == "--rank is for --task adapter; add that, or leave it out"
    assert refused(augment, "made", "--task", "adapter").startswith("no base given; try --base Qwen/")
    assert refused(augment, "made", *tuned[:3], "nosuch").startswith("no model folder nosuch")
    assert refused(augment, "made", *tuned, "--adapter", "nlor").startswith("no adapter called 'nlor'; did you mean")
    (place / "patient.toml").write_text("patience = 2", "utf-8")
    assert "a lift keeps none" in refused(augment, "made", *tuned, "--recipe", "patient.toml")
    bare = place / "bare.jsonl"
    bare.write_text("\n".join(json.dumps({"question": f"what is {n}"}) for n in range(9)), "utf-8")
    make_run(place / "runs/bare", bare, lambda seed, _rng, _place: [{"prompt": seed["prompt"] + " then"}])
    assert refused(augment, "bare", *tuned).startswith("no seed of runs/bare has a response to learn")
    make_run(place / "runs/whole", place / "rows.jsonl", helpful, holdout="0%")
    assert refused(augment, "whole", *tuned).startswith("no exam to test on: runs/whole held none out; give --shots 50")


def test_rows_without_labels_are_drawn_from_all(augment, place, base):
    file = place / "plain.jsonl"
    rows = [{"question": f"what is number {n} of them", "answer": f"it is {n}."} for n in range(12)]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    make_run(place / "runs/plain", file, lambda seed, _rng, _place: [{"prompt": seed["prompt"] + " then"}])
    words = ("--task", "adapter", "--base", base, "--max-steps", 1, "--seeds", 2)
    record = json.loads(augment("lift", "plain", *words, "--shots", 4, "--json").out)
    assert record["labels"] == {}
    assert [arm["rows"] for arm in record["arms"]] == [4, 8, 8]
    assert "over 2 draws of 4 seeds." in record["verdict"]
    assert "so no draw of 99 leaves one; lower --shots" in refused(augment, "plain", *words, "--shots", 99)


def test_the_answers_to_the_exam_are_scored_as_evaluate_scores_them(augment, place):
    """Every arm's adapter answers in its own words; each score is that of the answer in the reply store."""
    make_run(place / "runs/made", write_rows(place, 6), helpful)
    base = save_base(place / "talkative", initializer_range=0.3)
    words = ["lift", "made", "--task", "adapter", "--base", base, "--rank", 4, "--seeds", 2, "--shots", 2]
    ran = augment(*words, "--score", "cosine", "--max-tokens", 12, "--max-steps", 2, "--out", "found")
    assert ran.code == 0, ran.err
    record = json.loads((place / "found/lift.json").read_text())
    assert (record["metric"], record["higher_is_better"]) == ("cosine", True)
    assert record["settings"]["score"]["max_tokens"] == 12
    rows = pl.read_parquet(place / "found/rows.parquet")
    assert rows["score"].is_between(0, 1).all() and rows["score"].max() > 0
    with sqlite3.connect(place / "home/replies.sqlite") as store:
        answers = [text for (text,) in store.execute("select text from replies")]
    source = open_source(str(place / "rows.jsonl"))
    gold = dict(source.seeds.select("id", "response").iter_rows())
    best = rows.sort("score").row(-1, named=True)
    cosine, _ = similarity(pl.Series([gold[best["id"]]] * len(answers)), pl.Series(answers))
    assert any(abs(each - best["score"]) < 1e-12 for each in cosine)


def test_a_score_that_is_not_there_is_one_line(augment, place):
    make_run(place / "runs/made", write_rows(place, 6), helpful)
    ran = augment("lift", "made", "--task", "adapter", "--base", "x/y", "--score", "cosin")
    assert ran.code == 2 and "no score called 'cosin'; did you mean cosine?" in ran.err
    ran = augment("lift", "made", "--score", "cosine")
    assert ran.code == 2 and "--score is for --task adapter" in ran.err
