"""The summary of a reviewed version, counted anew from its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from augment.summary import FAILED

Rows = Callable[[], Iterator[pl.DataFrame]]


def recounted(
    manifest: dict[str, Any],
    before: dict[str, Any],
    curated: Rows,
    rejected: Rows,
    gone: pl.DataFrame,
    come: pl.DataFrame,
    new: int,
) -> tuple[dict[str, Any], int]:
    """The summary of the rows, after that of the version before, and how many seeds fell short by the review.

    `gone` are the rows that were put out, `come` those that were let in, `new` of them unknown to the version
    before. Nothing was paid for.

    Raises:
        AssertionError: a candidate is unaccounted for, which is a defect of ours.
    """
    lost = set(gone["parents"].list.first())
    touched = lost | set(come["parents"].list.first())
    kept_of: Counter[str] = Counter()
    candidates_of: Counter[str] = Counter()
    per_generator: dict[str, Counter[str]] = {}
    reasons: Counter[tuple[str, str]] = Counter()
    seed = pl.col("parents").list.first()
    for files, out in ((curated, False), (rejected, True)):
        for frame in files():
            variants = frame.filter(pl.col("generator") != "seed")
            for generator, by, reason, count in (
                variants.group_by("generator", "dropped_by", "reason").len().iter_rows()
            ):
                account = per_generator.setdefault(generator, Counter())
                account["candidates"] += count
                account[("failed" if by == FAILED else "rejected") if out else "kept"] += count
                if out:
                    reasons[by, reason] += count
            for id, count in variants.filter(seed.is_in(sorted(touched))).group_by(seed).len().iter_rows():
                candidates_of[id] += count
                kept_of[id] += 0 if out else count
    kept = sum(each["kept"] for each in per_generator.values())
    failures = {reason: count for (by, reason), count in sorted(reasons.items()) if by == FAILED}
    dropped: dict[str, dict[str, int]] = {}
    for (by, reason), count in sorted(reasons.items()):
        if by != FAILED:
            dropped.setdefault(by, {})[reason] = count
    candidates = kept + reasons.total()
    if candidates != before["candidates"] + new:
        raise AssertionError(f"{before['candidates']} candidates and {new} more have become {candidates}")
    short = _short(manifest, before["seeds_short"], kept_of, candidates_of)
    counts = {
        **before,
        "carried": kept,
        "candidates": candidates,
        "kept": kept,
        "rejected": dropped,
        "failed": sum(failures.values()),
        "failures": failures,
        "seeds_short": short,
        "per_generator": {name: dict(sorted(each.items())) for name, each in sorted(per_generator.items())},
        **dict.fromkeys(("requests_sent", "replies_reused", "tokens_in", "tokens_out", "rounds"), 0),
    }
    return counts, sum(each["id"] in lost for each in short)


def _short(
    manifest: dict[str, Any], before: list[dict[str, Any]], kept: Counter[str], candidates: Counter[str]
) -> list[dict[str, Any]]:
    """The seeds with fewer variants than asked for: those of `before`, and those that have other rows now."""
    n = str((manifest.get("recipe") or {}).get("n", ""))
    if not n.endswith("x"):
        return before  # a total gives no seed a share that it could fall short of
    target = int(n[:-1])
    asked = {each["id"]: each["candidates"] for each in before}
    others = [each for each in before if each["id"] not in candidates]
    touched = [
        {"id": id, "target": target, "kept": kept[id], "candidates": asked.get(id, count)}
        for id, count in candidates.items()
        if kept[id] < target
    ]
    return [*others, *touched]
