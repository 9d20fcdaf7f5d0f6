"""Labelled variant pairs, written by hand for this project before anybody looked at what the filters do.

`pairs.jsonl` has a line a pair, a seed row and what a generator made of it: id, kind, language, generator (which would have
made it), parent_prompt, parent_response, prompt, response, and a note on what is the matter. The field that the generator
left alone is the parent's. Kind "good" should be kept, every other should be dropped.

A pair belongs to the calibration half, on which thresholds may be tuned, or to the test half, which is reported. Its id
alone decides. The salt was picked, before anything was measured, so that every kind divides about evenly.

`fresh.jsonl` holds pairs of other seeds in the same form, written later, by a writer who had not read the filters' code, for
what `facts` is about: numbers, units, doses, how often, negations and drugs, kept in other words or changed. No rule or
threshold is ever tuned on it, and what it says is reported apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

FILE = Path(__file__).with_name("pairs.jsonl")
FRESH_FILE = FILE.with_name("fresh.jsonl")
GOOD = "good"
HALVES = ("calibration", "test")
FRESH = "fresh"
SETS = (*HALVES, FRESH)
SALT = "/24"
FIELDS = ("id", "kind", "language", "generator", "parent_prompt", "parent_response", "prompt", "response", "note")


def half(id: str) -> str:
    """ "calibration" or "test"."""
    digest = hashlib.blake2b((id + SALT).encode(), digest_size=4).digest()
    return HALVES[int.from_bytes(digest, "big") % 2]


def pairs() -> pl.DataFrame:
    """The pairs of the two halves in the file's order: the columns `FIELDS` and `half`, all strings."""
    return _read(FILE, half)


def fresh() -> pl.DataFrame:
    """The pairs that nothing was ever tuned on, as `pairs`; their `half` is "fresh"."""
    return _read(FRESH_FILE, lambda _: FRESH)


def _read(file: Path, half_of: Callable[[str], str]) -> pl.DataFrame:
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    schema = dict.fromkeys((*FIELDS, "half"), pl.String())
    return pl.DataFrame([{**row, "half": half_of(row["id"])} for row in rows], schema=schema)
