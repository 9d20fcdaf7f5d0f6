"""The labelled pairs are what they should be, and the filters judge them no worse than they did when last measured."""

from __future__ import annotations

import csv
import json
import os
import re
from difflib import SequenceMatcher
from pathlib import Path

import polars as pl
import pytest

from filters.chain import chain_of
from tests.quality import FIELDS, FILE, FRESH, FRESH_FILE, GOOD, HALVES, fresh, measure, pairs
from tests.quality.measure import CHAIN

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
FRESH_PAIRS = fresh()
EVERY = pl.concat([PAIRS, FRESH_PAIRS])
SLACK = 1
"""Pairs by which a figure below may get worse before a test says so. What gets better is written here again."""
# measured
DROPPED = {
    "good": (1, 9),  # of 82, 90
    "meaning_changed": (10, 13),  # of 23, 29
    "number_changed": (26, 31),  # of 27, 35
    "negation_flipped": (22, 15),  # of 33, 21
    "too_close": (4, 9),  # of 9, 15
    "unrelated": (9, 6),  # of 14, 12
    "refusal": (12, 12),  # of 12, 17
    "truncated": (15, 13),  # of 15, 16
    "echo": (6, 9),  # of 10, 14
    "empty": (5, 2),  # of 5, 3
    "encoding_damage": (5, 3),  # of 5, 3
    "meta_talk": (5, 1),  # of 5, 3
    "pii": (3, 4),  # of 3, 4
    "repetition_loop": (3, 5),  # of 3, 5
    "unsafe": (3, 1),  # of 4, 5
    "wrong_language": (2, 4),  # of 3, 4
}
"""How many pairs of a kind the default chain drops, of the calibration half and of the test half."""
ALONE = {
    "encoding_damage": {"good": 0, "encoding_damage": 7},
    "exact_dup": {"good": 0, "too_close": 4},
    "facts": {"good": 10, "number_changed": 57, "negation_flipped": 36},
    "language": {"good": 0, "wrong_language": 6},
    "length": {"good": 0, "empty": 7, "truncated": 0},
    "near_dup": {"good": 0, "too_close": 13},
    "pii": {"good": 0, "pii": 6},
    "refusal": {"good": 0, "refusal": 19, "truncated": 26, "echo": 13, "meta_talk": 6, "empty": 3},
    "repetition": {"good": 0, "repetition_loop": 8},
    "semantic_dup": {"good": 0, "too_close": 13},
    "similarity": {"good": 0, "too_close": 7, "unrelated": 11},
    "special_chars": {"good": 0, "encoding_damage": 3},
    "unsafe": {"good": 0, "unsafe": 2},
}
"""How many pairs of the kinds that it is meant for a filter drops by itself, and how many good ones, of both halves."""
DROPPED_FRESH = {
    "good": 12,  # of 40
    "number_changed": 31,  # of 35
    "negation_flipped": 17,  # of 25
    "drug_changed": 12,  # of 12
    "meaning_changed": 1,  # of 8
}
"""How many of the fresh pairs the default chain drops: first measured when every rule was older than the pairs."""
FACTS_FRESH = {"good": 12, "number_changed": 30, "negation_flipped": 13, "drug_changed": 10, "meaning_changed": 1}
"""How many of them `facts` drops by itself."""
# end of what was measured


@pytest.fixture(scope="module")
def judged() -> dict[str, pl.DataFrame]:
    return measure.judgements()


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


def test_the_fresh_pairs_are_of_other_seeds_and_of_what_facts_is_about() -> None:
    assert dict(FRESH_PAIRS.group_by("kind").len().iter_rows()) == {
        GOOD: 40,
        "number_changed": 35,
        "negation_flipped": 25,
        "drug_changed": 12,
        "meaning_changed": 8,
    }
    assert set(FRESH_PAIRS["half"]) == {FRESH} and not set(PAIRS["half"]) & {FRESH}
    assert not set(FRESH_PAIRS["parent_prompt"]) & set(PAIRS["parent_prompt"])


def test_a_line_has_the_fields_in_order() -> None:
    for line in (FILE.read_text("utf-8") + FRESH_FILE.read_text("utf-8")).splitlines():
        assert tuple(json.loads(line)) == FIELDS


def test_no_pair_comes_twice_and_each_is_a_change() -> None:
    assert EVERY["id"].is_unique().all()
    assert EVERY.select("parent_prompt", "parent_response", "prompt", "response").is_unique().all()
    made = EVERY.filter(pl.col("kind") != "empty")
    texts = made.select(pl.when(pl.col("prompt") != pl.col("parent_prompt")).then("prompt").otherwise("response"))
    assert texts.to_series().is_unique().all(), "a text written once stands for one pair"
    same = (pl.col("prompt") == pl.col("parent_prompt")) & pl.col("response").eq_missing("parent_response")
    assert EVERY.filter(same).is_empty()


def test_good_pairs_are_rewritten_and_those_that_are_too_close_are_not() -> None:
    good = [_likeness(pair) for pair in EVERY.filter(pl.col("kind") == GOOD).to_dicts()]
    close = [_likeness(pair) for pair in EVERY.filter(pl.col("kind") == "too_close").to_dicts()]
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
    ours = {_bare(text) for field in FIELDS[4:8] for text in EVERY[field].drop_nulls()}
    assert {text for text in ours & exam if len(text) > 4} == set()
    windows = {text[i : i + 16] for text in exam for i in range(len(text) - 15)}
    assert not [text for text in ours if any(text[i : i + 16] in windows for i in range(len(text) - 15))]


@pytest.mark.parametrize("half", HALVES)
def test_the_default_chain_drops_what_it_dropped(judged: dict[str, pl.DataFrame], half: str) -> None:
    found = measure.measured(CHAIN, judged[CHAIN].filter(pl.col("half") == half)).kinds
    held = {kind: counts[HALVES.index(half)] for kind, counts in DROPPED.items()}
    assert found.keys() == held.keys()
    worse = {kind: (found[kind], held[kind]) for kind in held if kind != GOOD and found[kind][0] < held[kind] - SLACK}
    assert not worse, f"dropped of how many, and dropped before: {worse}"
    assert found[GOOD][0] <= held[GOOD] + SLACK, "good pairs dropped"


@pytest.mark.parametrize(("name", "held"), [(CHAIN, DROPPED_FRESH), ("facts", FACTS_FRESH)])
def test_the_fresh_pairs_fare_as_they_did(judged: dict[str, pl.DataFrame], name: str, held: dict[str, int]) -> None:
    found = measure.measured(name, judged[name].filter(pl.col("half") == FRESH)).kinds
    assert found.keys() == held.keys()
    assert not {k: (found[k], held[k]) for k in held if k != GOOD and found[k][0] < held[k] - SLACK}
    assert found[GOOD][0] <= held[GOOD] + SLACK, "good pairs dropped"


def test_each_filter_drops_what_it_is_for(judged: dict[str, pl.DataFrame]) -> None:
    for name, held in ALONE.items():
        found = measure.measured(name, judged[name].filter(pl.col("half").is_in(HALVES))).kinds
        worse = [kind for kind in held if kind != GOOD and found[kind][0] < held[kind] - SLACK]
        assert not worse, (name, {kind: (found[kind], held[kind]) for kind in worse})
        assert found[GOOD][0] <= held[GOOD] + SLACK, name


def test_a_filter_without_a_figure_drops_next_to_no_good_pair(judged: dict[str, pl.DataFrame]) -> None:
    for name in judged.keys() - ALONE.keys() - {CHAIN}:
        assert measure.measured(name, judged[name]).false_rejects <= 0.05, name


def test_a_pair_is_judged_beside_no_other_variant_of_its_seed() -> None:
    first = PAIRS.filter(pl.col("kind") == GOOD).head(1)
    twins = pl.concat([first, first.with_columns(id=pl.lit("twin"))])
    assert measure.sifted(chain_of(["exact_dup"]), twins)["dropped_by"].to_list() == [None, None]
    copy = first.with_columns(prompt="parent_prompt", response="parent_response")
    assert measure.sifted(chain_of(["exact_dup"]), copy)["dropped_by"].to_list() == ["exact_dup"]


def test_figures_are_shares_of_what_there_is() -> None:
    frame = pl.DataFrame(
        {"kind": [GOOD, GOOD, "echo", "echo", "echo", "empty"], "dropped_by": ["a", None, "a", "b", None, None]}
    )
    found = measure.measured("any", frame)
    assert found.kinds == {GOOD: (1, 2), "echo": (2, 3), "empty": (0, 1)} and found.bad == ("echo", "empty")
    assert (found.recall(["echo"]), found.recall(found.bad), found.recall(["pii"])) == (2 / 3, 1 / 2, None)
    assert (found.false_rejects, found.precision) == (1 / 2, 2 / 3)
    assert measure.measured("none", frame.with_columns(pl.lit(None).alias("dropped_by"))).precision is None


def test_the_command_prints_every_kind_and_what_is_wrong(
    judged: dict[str, pl.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure.main(["--wrong", "calibration", "--json", str(tmp_path / "tables.json")]) == 0
    said = capsys.readouterr().out
    assert all(f"| {kind} " in said for kind in (GOOD, *MAIN, *SMALL)) and f"| {CHAIN} " in said
    mistaken = measure.wrong(judged[CHAIN], "calibration")
    assert mistaken and all(f"\n{pair['id']} (" in said for pair in mistaken)
    assert len(json.loads((tmp_path / "tables.json").read_text("utf-8"))) == 4


def _bare(text: str) -> str:
    return re.sub(r"\W", "", text or "")
