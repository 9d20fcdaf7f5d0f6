"""Rows as a filter sees them, in one line each."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from augment.records import SCHEMA
from filters import Context, Filter
from filters.chain import with_parents

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
_SOURCE = {"id": pl.String, "prompt": pl.String, "response": pl.String, "label": pl.String}


def source(*texts: tuple[str, str | None], start: int = 0) -> pl.DataFrame:
    """Source rows s0, s1, … of (prompt, response) pairs."""
    rows = [
        {"id": f"s{number}", "prompt": prompt, "response": response, "label": None}
        for number, (prompt, response) in enumerate(texts, start)
    ]
    return pl.DataFrame(rows, schema=_SOURCE)


def context_of(
    seeds: Sequence[tuple[str, str | None]] = (), exam: Sequence[tuple[str, str | None]] = (), **more: Any
) -> Context:
    """What the filters may look at: seeds s0, s1, … and exam rows e0, e1, …"""
    held = source(*exam).with_columns(pl.col("id").str.replace("s", "e"))
    return Context(source(*seeds), held, **more)


def rows(context: Context, *texts: tuple[str | None, str, str | None], generator: str = "g") -> pl.DataFrame:
    """Variants v0, v1, … of (parent id or None, prompt, response) with the working columns."""
    frame = pl.DataFrame(
        [
            {
                "id": f"v{number}",
                "parents": [] if parent is None else [parent],
                "generator": generator,
                "prompt": prompt,
                "response": response,
            }
            for number, (parent, prompt, response) in enumerate(texts)
        ],
        schema=SCHEMA,
    )
    return with_parents(frame, context)


def scored(each: Filter, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
    """The frame with scores and `reason`; checks what every filter owes: the same rows, the declared types."""
    out = each.score(frame, context)
    assert out.drop(list(each.scores)).equals(frame)
    assert {name: out.schema[name] for name in each.scores} == each.scores
    return out.with_columns(each.verdict().cast(pl.String).alias("reason"))


def reasons(each: Filter, frame: pl.DataFrame, context: Context) -> list[str | None]:
    """The verdict on each row."""
    return scored(each, frame, context)["reason"].to_list()


def sample() -> list[tuple[str, str | None]]:
    """The 160 bundled questions and answers."""
    lines = [line for path in sorted(SAMPLE.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return [(row["question"], row["answer"]) for row in map(json.loads, lines)]


def chbench() -> list[tuple[str, str | None]]:
    """CHBench's questions and reference answers, where AUGMENT_CHBENCH_DIR has them; else the test is skipped."""
    folder = os.environ.get("AUGMENT_CHBENCH_DIR")
    if not folder:
        pytest.skip("AUGMENT_CHBENCH_DIR is not set")
    files = sorted(Path(folder).glob("CHBench_*.csv"))
    return [row for path in files for row in pl.read_csv(path, columns=["query", "ErnieA"]).iter_rows()]
