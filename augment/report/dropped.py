"""What was dropped and why, with examples: a few rows of each filter and reason, beside their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from augment.lineage import ROWS
from augment.records import SCHEMA
from augment.report.blocks import Example, Examples, number
from augment.report.gather import REJECTED, Run
from augment.report.rows import HELD, collect, scan, withheld, worded
from augment.report.shots import Shots

REASONS = 30
"""Filters and reasons that get examples, the most frequent ones."""
EACH = 2
LONGEST = 240
_SCORES = 3
_ABSENT = dict.fromkeys(HELD, "not shown: too like the exam") | dict.fromkeys(
    ("pii", "secrets"), "not shown: a page is passed on"
)


def dropped(runs: Sequence[Run], each: int = EACH) -> Examples | None:
    """`each` examples of every reason, from the first run that has it; None where nothing was dropped."""
    frames = [_rejected(run) for run in runs]
    counts: dict[tuple[str, str], list[int]] = {}
    for place, frame in enumerate(frames):
        for name, reason, count in frame.group_by("dropped_by", "reason").len().iter_rows():
            counts.setdefault((name or "", reason or ""), [0] * len(runs))[place] += count
    order = sorted(counts, key=lambda key: (-sum(counts[key]), key))[:REASONS]
    items = []
    for key in order:
        place = next(place for place, count in enumerate(counts[key]) if count)
        chosen = frames[place].filter(
            pl.col("dropped_by").fill_null("") == key[0], pl.col("reason").fill_null("") == key[1]
        )
        told = [number(count) if len(runs) == 1 else f"{run.name} {number(count)}"
                for run, count in zip(runs, counts[key], strict=True)]  # fmt: skip
        pairs = _pairs(runs[place], chosen.sort("id", nulls_last=True, maintain_order=True).head(each), key[0])
        absent = _ABSENT.get(key[0], "" if runs[place].pictured else "no text")
        items.append(Example(f"{key[0]}: {key[1]}", told, {"verdict": "\n".join(key)}, pairs, absent))
    return Examples("Examples", items) if items else None


def _rejected(run: Run) -> pl.DataFrame:
    """The dropped rows without their texts beyond what an example shows."""
    short = [pl.col(name).str.slice(0, LONGEST + 1) for name in ("prompt", "response")]
    rows = collect(run, withheld(scan(run, REJECTED)))
    return (worded(rows) if run.pictured else rows).with_columns(short)


def _pairs(run: Run, chosen: pl.DataFrame, filter_: str) -> list[dict[str, Any]]:
    parents = [(each or [None])[0] for each in chosen["parents"].to_list()]
    wanted = pl.Series([each for each in parents if each is not None], dtype=pl.String)
    seeds = collect(run, scan(run, ROWS).filter(pl.col("id").is_in(wanted.implode())))
    prompts = dict((worded(seeds) if run.pictured else seeds).select("id", "prompt").iter_rows())
    shots = _shots(run, seeds)
    own_shots = _shots(run, chosen)
    own = [name for name in chosen.columns if name.startswith(f"{filter_}_") and name not in SCHEMA]
    pairs = []
    for row, parent in zip(chosen.iter_rows(named=True), parents, strict=True):
        seed, text = prompts.get(parent), row["prompt"]
        told: list[tuple[str, str]] = []
        if row["response"] and (seed is None or seed == text):  # it is not for its prompt that it was dropped
            told.append(("answer", _cut(row["response"])))
        if row["detail"]:
            told.append(("detail", _cut(row["detail"])))
        facts = [(name, _cut(number(row[name]))) for name in own if _tells(row[name])][:_SCORES]
        if row["generator"] not in (None, "seed"):
            facts.insert(0, ("made by", str(row["generator"])))
        shown = [
            (name, shot) for name, shot in (("seed", shots.get(parent)), ("dropped", own_shots.get(row["id"]))) if shot
        ]
        told_text = {"seed": _cut(seed or "") or None, "text": _cut(text or "")}
        pairs.append({**told_text, "told": told, "facts": facts, "shots": shown})
    return pairs


def _shots(run: Run, rows: pl.DataFrame) -> dict[str, str]:
    """Small pictures by the rows' ids; none of a run of text."""
    if not run.pictured:
        return {}
    shots = Shots(run)
    named = rows.with_columns(pl.lit(None, pl.String).alias("dropped_by")) if "dropped_by" not in rows.columns else rows
    return {row["id"]: shot for row in named.iter_rows(named=True) if row["id"] and (shot := shots.of(row)) is not None}


def _tells(value: Any) -> bool:
    return value is not None and not isinstance(value, bool) and value != ""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
