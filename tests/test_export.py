from __future__ import annotations

import json

import polars as pl
import pytest

from tests.test_pipeline import seeds


@pytest.fixture
def runs(augment, place):
    """Two finished runs, `one` and `two`."""
    for name in ("one", "two"):
        words = ("--source", seeds(place, 5, f"{name}.jsonl"), "--llm", "echo", "--n", "1x", "--filters", "none")
        augment("text", *words, "--out", name)


def test_chatml_holds_the_prompt_and_the_response(augment, place, runs):
    augment("export", "one", "--format", "chatml", "--out", "c")
    first = pl.read_parquet(place / "one/curated/train.parquet").row(0, named=True)
    turns = json.loads((place / "c/one.jsonl").read_text().splitlines()[0])["messages"]
    assert [each["content"] for each in turns] == [first["prompt"], first["response"]]


def test_a_second_export_joins_the_first_in_the_registry(augment, place, runs):
    for name in ("one", "two"):
        augment("export", name, "--format", "llamafactory", "--out", "lf")
    assert set(json.loads((place / "lf/dataset_info.json").read_text())) == {"one", "two"}


def test_the_registry_names_the_column_that_holds_the_turns(augment, place, runs):
    augment("export", "one", "--format", "llamafactory", "--out", "lf")
    entry = json.loads((place / "lf/dataset_info.json").read_text())["one"]
    assert entry["columns"]["messages"] in json.loads((place / "lf/one.json").read_text())[0]
