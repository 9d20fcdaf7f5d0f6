"""How hard filters sift: counts that add up, and a word about those that drop more than half."""

from __future__ import annotations

import json

from augment.sieve import Sieve, harsh
from filters.chain import chain_of
from tests.filter_rows import context_of
from tests.test_chain import SEEDS, variants
from tests.test_pipeline import seeds


def counted(*texts, names=("length", "repetition", "near_dup")):
    context = context_of(SEEDS)
    chain = chain_of(list(names))
    sieve = Sieve()
    for start in range(0, len(texts), 3):
        frame = variants(context, *texts).slice(start, 3)
        sieve.add(chain, chain.sift(frame, context))
    return {line["filter"]: line for line in sieve.told(chain)}


def test_what_a_filter_saw_dropped_and_would_have_dropped_adds_up():
    loop = "吃" * 3000
    lines = counted(
        ("s0", loop, None),
        ("s0", "吃" * 40, None),
        ("s0", "疼", None),
        ("s0", "干咳两周了还没好，是正常的吗", None),
        ("s1", "干咳两周了还没好，是正常的吗", None),
    )
    assert lines["length"] == {
        "filter": "length", "saw": 5, "dropped": 2, "would_drop": 2, "alone": 1, "also": {"repetition": 1},
    }  # fmt: skip
    assert (lines["repetition"]["saw"], lines["repetition"]["dropped"]) == (3, 1)
    assert (lines["repetition"]["would_drop"], lines["repetition"]["alone"]) == (2, 1)
    assert (lines["near_dup"]["saw"], lines["near_dup"]["dropped"]) == (2, 1)


def test_more_than_half_of_enough_rows_is_harsh():
    line = {"filter": "length", "saw": 40, "dropped": 21, "would_drop": 21, "alone": 21, "also": {}}
    assert harsh([line]) == ["length dropped 21 of the 40 rows that it saw (52%); look at some before you trust it"]
    assert harsh([{**line, "dropped": 20}, {**line, "saw": 19, "dropped": 19}, {**line, "chooses": True}]) == []


def test_a_run_says_so_loudly(augment, place):
    words = ("--llm", "echo", "--generators", "persona", "--n", "1x", "--filters", "length")
    ran = augment("text", "--source", seeds(place), *words, "--set", "length.max_prompt=35")
    assert "! length dropped" in ran.out and "look at some before you trust it" in ran.out
    folder = place / ran.out.splitlines()[-1]
    assert "* length dropped" in (folder / "README.md").read_text()
    line = json.loads((folder / "summary.json").read_text())["sieve"][0]
    assert line["dropped"] > line["saw"] / 2 > 20
    again = augment("filter", folder, "--set", "length.max_prompt=34")
    assert "! length dropped" in again.out
