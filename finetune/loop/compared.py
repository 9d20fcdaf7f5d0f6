"""What an evaluation says of its models, for a loop: the metric that decides, means, differences, scores by label."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augment.intervals import Interval, bootstrap, paired
from finetune.evaluation.floor import BESIDE
from finetune.evaluation.judging import JUDGE
from finetune.loop.steer import Label

SCORES = "scores.parquet"


def main_metric(record: Mapping[str, Any]) -> str:
    """What a loop goes by: the judge where there is one, else the cosine with the gold answer."""
    return JUDGE if record["judge"] else "cosine"


def models_of(record: Mapping[str, Any]) -> list[str]:
    """The models that took the exam, the base first."""
    return [str(each["name"]) for each in record["models"]]


def means_of(folder: Path, metric: str) -> dict[str, dict[str, Any]]:
    """Each model's mean with its 95 % interval."""
    scores = _scores(folder, metric)
    return {
        name: told(bootstrap(scores.filter(pl.col("model") == name)[metric].drop_nulls().to_numpy()))
        for name in scores["model"].unique(maintain_order=True)
    }


def over(folder: Path, model: str, other: str, metric: str, elsewhere: Path | None = None) -> dict[str, Any]:
    """How much more `model` scores than `other`, question by question; `other` is in `folder`, or in `elsewhere`."""
    ours = _column(_scores(folder, metric), model, metric)
    theirs = _column(_scores(elsewhere or folder, metric), other, metric)
    known = ~(np.isnan(ours) | np.isnan(theirs))
    return {"model": model, "over": other, **told(paired(ours[known], theirs[known]))}


def told(found: Interval) -> dict[str, Any]:
    """An interval as a record keeps it; `sure` is whether it leaves out zero."""
    numbers = {name: _rounded(getattr(found, name)) for name in ("mean", "low", "high")}
    return {**numbers, "rows": found.n, "sure": bool(found.n > 1 and found.sure)}


def rounds_apart(out: Path, rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How much more each adapter scores before the exam than the one of its name a round earlier."""
    found = []
    for before, after in itertools.pairwise(rounds):
        if not (before["exam"] and after["exam"]) or before["exam"]["fingerprint"] != after["exam"]["fingerprint"]:
            continue
        both = {each["name"] for each in before["adapters"]}
        folders = [out / each["exam"]["path"] for each in (before, after)]
        found += [
            {
                "rounds": [before["round"], after["round"]],
                **over(folders[1], each["name"], each["name"], after["exam"]["metric"], folders[0]),
            }
            for each in after["adapters"]
            if each["name"] in both and not each["control"]
        ]
    return found


def label_scores(folder: Path, metric: str, adapters: Sequence[str], seeds: pl.DataFrame) -> list[Label]:
    """The mean score of each label's rows over the `adapters`, with the rows that have one and the label's seeds."""
    known = pl.col("label").is_not_null() & pl.col(metric).is_not_null() & pl.col("model").is_in(list(adapters))
    rows = _scores(folder, metric).filter(known).group_by("label").agg(pl.col(metric).mean(), pl.col("id").n_unique())
    counts = dict(seeds["label"].drop_nulls().value_counts().iter_rows())
    return [
        Label(label, count, _rounded(float(score)) or 0.0, int(counts.get(label, 0)))
        for label, score, count in rows.sort("label").iter_rows()
    ]


def _scores(folder: Path, metric: str) -> pl.DataFrame:
    """The models' rows, without those of the floor."""
    frame = pl.read_parquet(folder / SCORES, glob=False, columns=["model", "id", "label", "query", metric])
    return frame.with_columns(pl.col(metric).cast(pl.Float64)).filter(~pl.col("model").is_in(BESIDE))


def _column(scores: pl.DataFrame, model: str, metric: str) -> Any:
    return scores.filter(pl.col("model") == model)[metric].to_numpy().astype(np.float64)


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 6)
