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
    assert f"length_prompt: {row['length_prompt']} (>= min_prompt 4, <= max_prompt 35)" in shown
