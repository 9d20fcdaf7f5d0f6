"""The labelled pairs are what they should be."""

from __future__ import annotations

import csv
import json
import os
import re
from difflib import SequenceMatcher
from pathlib import Path

import polars as pl
import pytest

from tests.quality import FIELDS, FILE, GOOD, pairs

MAIN = (
    "meaning_changed",
    "number_changed",
    "negation_flipped",
    "too_close",
    "unrelated",
    "refusal",
    "truncated",
    "echo",
)
SMALL = ("wrong_language", "repetition_loop", "encoding_damage", "pii", "meta_talk", "empty", "unsafe")
PAIRS = pairs()


def _likeness(pair: dict[str, str]) -> float:
    """How much of what changed is as it was, from 0 to 1."""
    field = "prompt" if pair["prompt"] != pair["parent_prompt"] else "response"
    return SequenceMatcher(None, pair[f"parent_{field}"], pair[field], autojunk=False).ratio()


def test_there_are_enough_pairs_of_every_kind() -> None:
    counts = dict(PAIRS.group_by("kind").len().iter_rows())
    assert set(counts) == {GOOD, *MAIN, *SMALL}
    assert counts[GOOD] >= 90
    assert all(counts[kind] >= 20 for kind in MAIN), counts
    assert all(counts[kind] >= 5 for kind in SMALL), counts
    assert 0.7 < (PAIRS["language"] == "zh").mean() < 0.8


def test_both_halves_hold_every_kind() -> None:
    counts = PAIRS.pivot("half", index="kind", values="id", aggregate_function="len")
    assert counts["calibration"].null_count() == counts["test"].null_count() == 0
    assert (counts["calibration"] / counts["test"]).is_between(1 / 3, 3).all(), counts
    assert 0.4 < (PAIRS["half"] == "test").mean() < 0.6


def test_a_line_has_the_fields_in_order() -> None:
    for line in FILE.read_text("utf-8").splitlines():
        assert tuple(json.loads(line)) == FIELDS


def test_no_pair_comes_twice_and_each_is_a_change() -> None:
    assert PAIRS["id"].is_unique().all()
    assert PAIRS.select("parent_prompt", "parent_response", "prompt", "response").is_unique().all()
    made = PAIRS.filter(pl.col("kind") != "empty")
    texts = made.select(pl.when(pl.col("prompt") != pl.col("parent_prompt")).then("prompt").otherwise("response"))
    assert texts.to_series().is_unique().all(), "a text written once stands for one pair"
    same = (pl.col("prompt") == pl.col("parent_prompt")) & pl.col("response").eq_missing("parent_response")
    assert PAIRS.filter(same).is_empty()


def test_good_pairs_are_rewritten_and_those_that_are_too_close_are_not() -> None:
    good = [_likeness(pair) for pair in PAIRS.filter(pl.col("kind") == GOOD).to_dicts()]
    close = [_likeness(pair) for pair in PAIRS.filter(pl.col("kind") == "too_close").to_dicts()]
    assert max(good) < 0.85 < 0.9 < min(close)


def test_no_row_of_the_exam_is_in_it() -> None:
    folder = os.environ.get("AUGMENT_CHBENCH_DIR")
    if not folder:
        pytest.skip("AUGMENT_CHBENCH_DIR is not set")
    exam: set[str] = set()
    for file in sorted(Path(folder).glob("CHBench_*.csv")):
        with file.open(encoding="utf-8-sig", newline="") as lines:
            exam |= {_bare(cell) for row in csv.DictReader(lines) for cell in (row["query"], row["ErnieA"])}
    assert len(exam) > 200
    ours = {_bare(text) for field in FIELDS[4:8] for text in PAIRS[field].drop_nulls()}
    assert {text for text in ours & exam if len(text) > 4} == set()
    windows = {text[i : i + 16] for text in exam for i in range(len(text) - 15)}
    assert not [text for text in ours if any(text[i : i + 16] in windows for i in range(len(text) - 15))]


def _bare(text: str) -> str:
    return re.sub(r"\W", "", text or "")
