"""Scores to what is reported: means with intervals, paired differences, histograms, and the verdict in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from augment.intervals import Interval, bootstrap, paired, share
from finetune.evaluation.exam import ExamCard
from finetune.evaluation.floor import UNRELATED
from finetune.evaluation.judging import JUDGE, PREFIX
from finetune.scorers.similarity import histogram

SHARES = ("failed", "refused", "truncated", "no_verdict")
"""Metrics that are yes or no a row."""
SIMILARITY = ("cosine", "jaccard")
SAID = (JUDGE, *SIMILARITY)
"""Metrics that the verdict goes by."""
PARTS = 8
"""Parts of an exam that get tables of their own, at most."""


def metrics_of(scores: pl.DataFrame) -> list[str]:
    """The metrics that a frame of scores has, in the order they are shown."""
    dimensions = [name for name in scores.columns if name.startswith(PREFIX)]
    order = (*SIMILARITY, JUDGE, *dimensions, "no_verdict", "failed", "refused", "truncated", "length")
    return [name for name in order if name in scores.columns]


def parted(scores: pl.DataFrame, card: ExamCard) -> pl.DataFrame:
    """The scores with a column `part`: the group of the card that a row belongs to, without groups its label."""
    if not card.groups:
        return scores.with_columns(pl.col("label").alias("part"))
    names = {label: group.name for label in scores["label"].unique() if (group := card.group_of(label)) is not None}
    part = [names.get(label) for label in scores["label"]]
    return scores.with_columns(pl.Series("part", part, dtype=pl.String))


def _parts(scores: pl.DataFrame) -> list[str | None]:
    """None for the whole exam, and each of its parts where there are two or more that a table has room for."""
    found = scores["part"].drop_nulls().unique().sort().to_list()
    return [None, *found] if 2 <= len(found) <= PARTS else [None]


def _metrics(scores: pl.DataFrame, part: str | None) -> list[str]:
    """What is told of a part; of a whole with several parts not the dimensions, which differ from part to part."""
    whole = part is None and len(_parts(scores)) > 1
    return [each for each in metrics_of(scores) if not (whole and each.startswith(PREFIX))]


def table(scores: pl.DataFrame) -> list[dict[str, Any]]:
    """A line for each model, part (`label`; None: all) and metric: the mean with its 95 % interval, and the rows.

    Intervals are the bootstrap's, of shares Wilson's.
    """
    lines = []
    for model in scores["model"].unique(maintain_order=True):
        for label in _parts(scores):
            rows = _rows(scores, model, label)
            for metric in _metrics(scores, label):
                values = rows[metric].drop_nulls()
                if len(values):
                    told = _told(_interval(metric, values))
                    lines.append({"model": model, "label": label, "metric": metric, **told})
    return lines


def differences(scores: pl.DataFrame, over: str) -> list[dict[str, Any]]:
    """What each model scores more than the model `over`, row by row, with the paired bootstrap's 95 % interval.

    Every model has the same rows in the same order.
    """
    lines = []
    for model in scores["model"].unique(maintain_order=True):
        if model == over:
            continue
        for label in _parts(scores):
            # by place, not by id: a file of answers may hold the same row twice
            ours, theirs = _rows(scores, model, label), _rows(scores, over, label)
            for metric in _metrics(scores, label):
                both = {"ours": ours[metric].cast(pl.Float64), "theirs": theirs[metric].cast(pl.Float64)}
                known = pl.DataFrame(both).drop_nulls()
                if len(known):
                    found = paired(known["ours"].to_numpy(), known["theirs"].to_numpy())
                    lines.append({"model": model, "over": over, "label": label, "metric": metric, **_told(found)})
    return lines


def histograms(scores: pl.DataFrame) -> list[dict[str, Any]]:
    """The published form of the similarities: how many rows are in each tenth, the failed ones in the first."""
    lines = []
    for model in scores["model"].unique(maintain_order=True):
        for label in _parts(scores):
            rows = _rows(scores, model, label)
            for metric in SIMILARITY:
                counts = histogram(rows[metric].drop_nulls().to_numpy())
                failed = int(rows.filter(pl.col(metric).is_not_null())["failed"].sum())
                lines.append({"model": model, "label": label, "metric": metric, "counts": counts, "failed": failed})
    return lines


def failures(scores: pl.DataFrame) -> list[dict[str, Any]]:
    """For each model whose engine failed, how often and with which error, the commonest one."""
    lost = scores.filter(pl.col("failed") & pl.col("error").is_not_null())
    lines = []
    for model in lost["model"].unique(maintain_order=True):
        counts = (
            lost.filter(pl.col("model") == model)["error"]
            .value_counts()
            .sort("count", "error", descending=[True, False])
        )
        lines.append({"model": model, "rows": int(counts["count"].sum()), "commonest": counts["error"][0]})
    return lines


def verdict(
    lines: Sequence[Mapping[str, Any]], floor: Sequence[Mapping[str, Any]], apart: Sequence[Mapping[str, Any]]
) -> str:
    """Whether models differ by more than chance, in a sentence each, and which of them are not above the floor."""
    said = []
    for model in dict.fromkeys(line["model"] for line in apart):
        found = [line for line in apart if line["model"] == model and line["label"] is None]
        told = {line["metric"]: line for line in found if line["metric"] in SAID}
        over = found[0]["over"]
        parts = [_compared(metric, told[metric]) for metric in SAID if metric in told]
        if not told:
            said.append(f"{model} and {over} cannot be compared: there is neither a gold answer nor a judge's verdict.")
        elif all(line["low"] is None for line in told.values()):
            said.append(f"{model} and {over} cannot be compared by one question: {', '.join(parts)}.")
        elif any(_sure(line) for line in told.values()):
            said.append(f"{model} against {over}: {', '.join(parts)}.")
        else:
            said.append(f"{model} and {over} differ by no more than chance: {', '.join(parts)}.")
    whole = [line for line in lines if line["label"] is None]
    for line in whole:
        if line["metric"] == "failed" and line["mean"] == 1:
            said.append(f"{line['model']} answered nothing.")
        if line["metric"] == "no_verdict" and line["mean"] == 1:
            said.append(f"The judge gave no verdict on any answer of {line['model']}.")
    under = (each for each in floor if each["name"] == UNRELATED and each["metric"] == "cosine")
    bottom = next((each for each in under if each["label"] is None), None)
    above = [line for line in whole if line["metric"] == "cosine" and line["mean"] > 0] if bottom else []
    for line in above:
        assert bottom is not None
        high, low = bottom["high"] or bottom["mean"], line["low"] if line["low"] is not None else line["mean"]
        if low <= high:
            what = "no more than chance above" if line["mean"] > bottom["mean"] else "not above"
            said.append(
                f"{line['model']}: its cosine {line['mean']:.2f} is {what} that of answers to other questions "
                f"({bottom['mean']:.2f})."
            )
    if said:
        return " ".join(said)
    where = "its cosine is above that of answers to other questions" if above else "and no floor to compare it with"
    return f"one model, {where}; give a second one to compare."


def _compared(metric: str, line: Mapping[str, Any]) -> str:
    interval = f" ({line['low']:+.3f} to {line['high']:+.3f})" if line["low"] is not None else ""
    return f"{metric} {line['mean']:+.3f}{interval}"


def _sure(line: Mapping[str, Any]) -> bool:
    low, high = line["low"], line["high"]
    return low is not None and Interval(line["mean"], low, high, line["rows"]).sure


def _rows(scores: pl.DataFrame, model: str, label: str | None) -> pl.DataFrame:
    rows = scores.filter(pl.col("model") == model)
    return rows if label is None else rows.filter(pl.col("part") == label)


def _interval(metric: str, values: pl.Series) -> Interval:
    if metric in SHARES:
        return share(int(values.sum()), len(values))
    return bootstrap(values.cast(pl.Float64).to_numpy())


def _told(found: Interval) -> dict[str, Any]:
    numbers = {"mean": found.mean, "low": found.low, "high": found.high}
    return {**{name: None if math.isnan(value) else value for name, value in numbers.items()}, "rows": found.n}
