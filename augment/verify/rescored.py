"""Candidates of a run of texts scored again by its row filters: the cheap ones, which look at each row by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from augment.errors import AugmentError
from augment.filtering.dataset import Dataset
from augment.filtering.of_run import of_run
from augment.verify.checks import Check, counted
from filters import cost_of
from filters.chain import Chain, chain_of_record

SCORE = 1e-6
"""By how much of itself a score may differ: another processor may add up in another order."""


def check_rescored(run: Path, most: int) -> Check:
    """Score candidates, published and rejected, `most` of them (-1: all), and hold scores and verdicts against them."""
    found = Check("rescored")
    try:
        dataset = of_run(run)
        context = dataset.context()
        chain = chain_of_record(dataset.scored, {})
        held = dataset.held(chain, context)
    except (AugmentError, OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        found.counts = {"candidates": 0}
        found.said = f"nothing scored again: {' '.join(str(error).split())}"
        return found
    rowwise = [each for each in chain.filters if cost_of(each) == "row"]
    chosen = Chain(tuple(each for each in rowwise if each.name in held))
    stale = [each.name for each in rowwise if each.name not in held]
    rows = _sample(dataset, most)
    if not chosen.filters:
        found.counts = {"candidates": 0, "filters": 0}
        found.said = "nothing scored again: " + (f"changed since: {', '.join(stale)}" if stale else "no row filter")
        return found
    again = chosen.sift(rows.drop(list(chosen.scores), "dropped_by", "reason", "detail", strict=False), context)
    names = {each.name for each in rowwise}
    pairs = zip(rows.iter_rows(named=True), again.iter_rows(named=True), strict=True)
    for then, now in pairs:
        if told := _apart(then, now, chosen, names if not stale else None):
            found.blame(str(then["id"]), told)
    different = len(found.faults)
    found.counts = {"candidates": len(rows), "identical": len(rows) - different, "different": different}
    found.counts["filters"] = len(chosen.filters)
    found.said = (
        f"{counted(len(rows), 'candidate')} scored again by {', '.join(each.name for each in chosen.filters)}: "
    )
    found.said += f"{len(rows) - different:,} identical" + (f", {different:,} different" if different else "")
    found.said += f"; not checkable, for code, exam or seeds changed: {', '.join(stale)}" if stale else ""
    return found


def _sample(dataset: Dataset, most: int) -> pl.DataFrame:
    """The candidates with the smallest ids, which are hashes, in that order: the same sample each time."""
    kept: list[pl.DataFrame] = []
    for block in dataset.blocks():
        some = block.filter(~dataset.settled().fill_null(False))
        kept = [pl.concat([*kept, some], how="diagonal").sort("id", maintain_order=True)]
        if most >= 0:
            kept = [kept[0].head(most)]
    return kept[0]


def _apart(then: Mapping[str, Any], now: Mapping[str, Any], chain: Chain, row_filters: set[str] | None) -> str:
    """What is not as it was: scores, and, where every row filter is asked, the verdict."""
    told = []
    for name in chain.scores:
        if not _same(then.get(name), now.get(name)):
            told.append(f"{name} is {_shown(now.get(name))}, not {_shown(then.get(name))}")
    if row_filters is not None and not then.get("reviewed"):
        before = (then["dropped_by"], then["reason"]) if then["dropped_by"] in row_filters else (None, None)
        if before != (now["dropped_by"], now["reason"]):
            said = [
                f"dropped by {by}: {why}" if by else "kept" for by, why in ((now["dropped_by"], now["reason"]), before)
            ]
            told.append(f"is {said[0]}, not {said[1]}")
    return "; ".join(told)


def _said(by: str | None, why: str | None) -> str:
    return f"dropped by {by}: {why}" if by else "kept"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=SCORE, abs_tol=SCORE) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
