from __future__ import annotations

import json
import os

import polars as pl
import pytest

from tests.test_pipeline import seeds


@pytest.fixture
def runs(augment, place):
    """Two runs with rows in common: `runs/a`, and `runs/b`, made later."""
    words = ("--source", seeds(place), "--llm", "echo", "--filters", "none")
    for age, name, n in ((60, "a", "2x"), (0, "b", "1x")):
        augment("text", *words, "--n", n, "--out", f"runs/{name}")
        manifest = place / f"runs/{name}/manifest.json"
        made = manifest.stat().st_mtime - age
        os.utime(manifest, (made, made))


def variant(place, run):
    rows = pl.read_parquet(place / run / "curated/train.parquet")
    return rows.filter(pl.col("generator") != "seed").row(0, named=True)


def test_a_row_of_two_runs_is_explained_from_the_newest(augment, place, runs):
    row = variant(place, "runs/b")
    assert row["id"] == variant(place, "runs/a")["id"]
    assert json.loads(augment("explain", row["id"], "--json").out)["run"] == "runs/b"


def test_the_story_holds_the_parents_text_and_the_models_answer(augment, place, runs):
    row = variant(place, "runs/b")
    told = json.loads(augment("explain", row["id"], "--json").out)
    assert told["parents"][0]["id"] == row["parents"][0]
    assert told["parents"][0]["prompt"]
    assert row["prompt"] in told["answered"]["text"]


def test_the_start_of_several_ids_is_refused(augment, place, runs):
    assert "several rows" in augment("explain", "", "--run", "runs/a").err


def test_a_score_stands_beside_its_limit_and_every_reason_is_told(augment, place):
    words = ("--source", seeds(place), "--llm", "echo", "--generators", "persona", "--n", "1x")
    limits = ("--set", "length.max_prompt=35", "--set", "similarity.highest=0.1")
    augment("text", *words, "--filters", "length,similarity", *limits, "--out", "runs/c")
    rejected = pl.read_parquet(place / "runs/c/rejected.parquet").filter(pl.col("dropped_by") == "length")
    row = rejected.filter(pl.col("similarity_score") > 0.1).row(0, named=True)
    told = json.loads(augment("explain", row["id"], "--run", "runs/c", "--json").out)
    assert told["scores"]["length_prompt"] == row["length_prompt"]
    assert told["limits"]["length_prompt"] == ">= min_prompt 4, <= max_prompt 35"
    assert told["all reasons"] == "length: prompt too long, similarity: too like its parent"
    shown = augment("explain", row["id"], "--run", "runs/c").out
    assert f"length_prompt: {row['length_prompt']} (>= min_prompt 4, <= max_prompt 35; past it)" in shown


def test_scores_near_or_past_their_limits_come_first_and_those_of_nothing_are_only_named(augment, place):
    words = ("--source", seeds(place), "--llm", "echo", "--generators", "persona", "--n", "1x")
    augment("text", *words, "--filters", "length,similarity,pii", "--set", "length.max_prompt=35", "--out", "runs/c")
    rejected = pl.read_parquet(place / "runs/c/rejected.parquet").filter(pl.col("dropped_by") == "length")
    lines = augment("explain", rejected["id"][0], "--run", "runs/c").out.splitlines()
    scores = lines[lines.index("scores:") + 1 :]
    assert scores[0].startswith("  length_prompt: ") and scores[0].endswith("past it)")
    assert not any(line.strip().startswith("pii_") for line in scores)
    (silent,) = [line for line in lines if line.startswith("scores of 0 or nothing: ")]
    assert "pii_phone" in silent


def test_the_columns_of_a_file_are_not_among_its_scores(augment, place):
    row = {"question": "感冒后咳嗽怎么办，要不要吃药？", "answer": "多喝水，多休息，必要时看医生。", "cost": 3}
    (place / "own.jsonl").write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    run = place / augment("filter", "own.jsonl", "--filters", "length").out.splitlines()[-1]
    id = pl.read_parquet(run / "curated/train.parquet")["id"][0]
    told = json.loads(augment("explain", id, "--run", run, "--json").out)
    assert told["columns"] == {"cost": 3} and set(told["scores"]) == {"length_prompt", "length_response"}
    lines = augment("explain", id, "--run", run).out.splitlines()
    assert lines[lines.index("columns:") + 1] == "  cost: 3"


def test_every_step_of_a_chain_is_told(augment, place):
    words = ("--source", seeds(place, 4), "--llm", "echo", "--filters", "none", "--n", "1x")
    augment("text", *words, "--generators", "paraphrase+answer", "--out", "runs/c")
    row = variant(place, "runs/c")
    told = json.loads(augment("explain", row["id"], "--run", "runs/c", "--json").out)
    (before,) = told["asked before"]
    assert row["prompt"] in before["answered"]["text"]
    assert f"<question>\n{row['prompt']}\n</question>" in told["asked"]["user"]
    assert row["response"] in told["answered"]["text"]
    assert "steps" not in told["made by"]["params"]
    assert before["answered"]["text"] in augment("explain", row["id"], "--run", "runs/c").out
