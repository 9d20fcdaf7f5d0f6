"""Labelled variant pairs, written by hand for this project before anybody looked at what the filters do.

`pairs.jsonl` has a line a pair, a seed row and what a generator made of it: id, kind, language, generator (which would have
made it), parent_prompt, parent_response, prompt, response, and a note on what is the matter. The field that the generator
left alone is the parent's. Kind "good" should be kept, every other should be dropped.

A pair belongs to the calibration half, on which thresholds may be tuned, or to the test half, which is reported. Its id
alone decides. The salt was picked, before anything was measured, so that every kind divides about evenly.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl

FILE = Path(__file__).with_name("pairs.jsonl")
GOOD = "good"
HALVES = ("calibration", "test")
SALT = "/24"
FIELDS = ("id", "kind", "language", "generator", "parent_prompt", "parent_response", "prompt", "response", "note")


def half(id: str) -> str:
    """ "calibration" or "test"."""
    digest = hashlib.blake2b((id + SALT).encode(), digest_size=4).digest()
    return HALVES[int.from_bytes(digest, "big") % 2]


def pairs() -> pl.DataFrame:
    """All pairs in the file's order: the columns `FIELDS` and `half`, all strings."""
    rows = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
    schema = dict.fromkeys((*FIELDS, "half"), pl.String())
    return pl.DataFrame([{**row, "half": half(row["id"])} for row in rows], schema=schema)
