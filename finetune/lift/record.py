"""Everything about a lift, as lift.json keeps it and the card tells it."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from augment import __version__
from augment.intervals import Interval
from augment.records import fingerprint, seed_for
from finetune.lift.arms import Design
from finetune.lift.measure import Measured, Task
from finetune.lift.verdict import Measure, averages, differences, verdict


def seeds_of(count: int, base: int) -> list[int]:
    """The random seeds of `count` draws; the first ones stay the same when there are more."""
    return [seed_for("draw", "lift", number, base) for number in range(count)]


def identity_of(design: Design, name: str, task: Task, seeds: list[int]) -> str:
    """Identity of what is measured: the run, who is drawn and tested, who judges, and the random seeds."""
    pool = design.pool
    rows = [pool.manifest, pool.seeds["id"].to_list(), pool.exam["id"].to_list()]
    return fingerprint("lift", __version__, name, rows, design.strata, design.shots, task.settings(), seeds)


def record_of(design: Design, name: str, task: Task, seeds: list[int], measured: Measured) -> dict[str, Any]:
    """The record, for lift.json. A number that is not known is null."""
    pool = design.pool
    share = design.drawn_share
    arms = averages(measured, share)
    found = differences(measured, share)
    exam = pl.Series(pool.exam["id"])
    tested = measured.frame.select(
        rows=pl.col("id").n_unique(), exam=pl.col("id").filter(pl.col("id").is_in(exam.implode())).n_unique()
    )
    scores = {name: _means(measured.frame.filter(pl.col("arm") == name)) for name in arms}
    labels = {} if set(design.strata) == {""} else {label: len(ids) for label, ids in design.strata.items()}
    record = {
        "kind": "lift",
        "augment": __version__,
        "identity": identity_of(design, name, task, seeds),
        "task": name,
        "run": {"name": pool.run.resolve().name, "path": str(pool.run), "manifest": pool.manifest},
        "metric": task.metric,
        "higher_is_better": task.higher_is_better,
        "settings": task.settings(),
        "seeds": seeds,
        "shots": design.shots,
        "drawn_share": round(share, 4),
        "labels": labels,
        "labels_left_out": design.left_out,
        "generators": list(pool.generators),
        "tested": {
            "rows": tested["rows"][0],
            "exam": tested["exam"][0],
            "a_draw": round(measured.frame.height / len(arms) / len(seeds), 1),
        },
        "arms": [
            {"name": arm, "rows": _average(measured.sizes[arm]), "scores": scores[arm], **_interval(interval)}
            for arm, interval in arms.items()
        ],
        "differences": [{"arm": each.arm, "over": each.over, **_interval(each.interval)} for each in found],
        "notes": [*pool.notes, *_left_out(design)],
    }
    told = Measure(task.metric, task.higher_is_better)
    return {**record, "verdict": verdict(told, arms, found, setting_of(record))}


def _left_out(design: Design) -> list[str]:
    if not design.left_out:
        return []
    told = ", ".join(f"{label} ({count})" for label, count in design.left_out.items())
    return [f"labels without more than {design.shots} seeds are left out: {told}"]


def setting_of(record: dict[str, Any]) -> str:
    """What was drawn, in words."""
    draws = f"{len(record['seeds'])} draw{'s' if len(record['seeds']) > 1 else ''}"
    if record["drawn_share"] == 1:
        return f"{len(record['seeds'])} trainings on all {record['shots']:,} seeds"
    return f"{draws} of {record['shots']:,} seeds{' a label' if record['labels'] else ''}"


def _means(frame: pl.DataFrame) -> list[float | None]:
    means = frame.group_by("draw", maintain_order=True).agg(pl.col("score").mean())["score"]
    return [_number(value) for value in means]


def _average(sizes: list[int]) -> int:
    return round(sum(sizes) / len(sizes))


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"mean": _number(interval.mean), "low": _number(interval.low), "high": _number(interval.high)}


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
