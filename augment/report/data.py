"""What the data is like, before and after: lengths, labels and scores, from all rows of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.lineage import ROWS
from augment.records import PICTURE, SCHEMA, VERDICT, WRITTEN
from augment.report.blocks import Chart
from augment.report.charts import chart_of, colour, dash, spec_of
from augment.report.gather import REJECTED, Run
from augment.report.rows import collect, scan

BINS = 40
LABELS = 20
"""Labels that are shown; the others are taken together."""
OTHER = "other labels"
TEXTS = ("prompt", "response", "caption")
TELLING = ("similarity_score", "near_dup_jaccard", "label_check_score")
"""Scores that are shown first."""

Series = list[tuple[str, pl.DataFrame]]


def data_charts(runs: Sequence[Run]) -> list[Chart]:
    """Lengths of prompts, responses and captions, labels, and scores: seeds and kept variants, or one series a run."""
    series = _series(runs)
    found = [_lengths(f"length-{name}", f"Length of the {name}, characters", series, name) for name in TEXTS]
    found += [_labels(series), _scores(runs)]
    return [each for each in found if each is not None]


def names_of(runs: Sequence[Run]) -> list[str]:
    """What the series of kept variants are called."""
    return ["variants"] if len(runs) == 1 else [run.name for run in runs]


def same_source(runs: Sequence[Run]) -> bool:
    """Whether all runs grew from the same rows, so that one series of seeds stands for all."""
    return len({str(run.manifest["source"]) for run in runs}) == 1


def _series(runs: Sequence[Run]) -> Series:
    seed = (pl.col("generator") == "seed").alias("seed")
    frames = [collect(run, scan(run, ROWS).select(seed, "label", *_texts(run))) for run in runs]
    found: Series = []
    if same_source(runs):
        found.append(("seeds", frames[0].filter("seed")))
    found += [(name, frame.filter(~pl.col("seed"))) for name, frame in zip(names_of(runs), frames, strict=True)]
    return [(name, frame) for name, frame in found if len(frame)]


def _texts(run: Run) -> list[pl.Expr]:
    """The lengths of a run's texts. What a picture was drawn from is no text of the dataset: seeds have none."""
    none = pl.lit(None, pl.UInt32)
    own = ("caption",) if run.pictured else ("prompt", "response")
    return [(pl.col(name).str.len_chars() if name in own else none).alias(name) for name in TEXTS]


def _lengths(id: str, title: str, series: Series, column: str) -> Chart | None:
    values = [(name, frame[column].drop_nulls().cast(pl.Float64).to_numpy()) for name, frame in series]
    rows, whole = _histogram([each for each in values if len(each[1])])
    if not rows:
        return None
    medians = ", ".join(f"{name} {np.median(each):,.0f}" for name, each in values if len(each))
    note = f"Median: {medians}."
    return Chart(id, title, _steps(rows, [name for name, _ in values], "characters"), note + ("" if whole else _TAIL))


_TAIL = " The last bin holds all that is longer."


def _histogram(values: list[tuple[str, NDArray[Any]]]) -> tuple[list[dict[str, Any]], bool]:
    """Each series' shares in bins that all share, and whether no value had to be pulled into the last bin."""
    if not values:
        return [], True
    every = np.concatenate([each for _, each in values])
    low, high, top = float(every.min()), float(np.quantile(every, 0.99)), float(every.max())
    if top <= 1.5 * high or low < 0:
        high = top
    whole = high == top
    if high <= low:
        high = low + 1
    if np.all(every == np.round(every)):  # every bin has as many whole numbers as the next
        width = max(1, math.ceil((high - low) / BINS))
        edges = low + width * np.arange(math.ceil((high - low) / width) + 1)
    else:
        edges = np.linspace(low, high, BINS + 1)
    rows = []
    for name, each in values:
        found, _ = np.histogram(np.clip(each, low, edges[-1]), edges)
        ends = [*found, found[-1]]  # a step's last edge
        for edge, following, number in zip(edges, [*edges[1:], edges[-1]], ends, strict=True):
            share = float(number) / len(each)
            rows.append({"series": name, "from": _figure(edge), "to": _figure(following), "share": round(share, 5)})
    return rows, whole


def _figure(value: float) -> float:
    return float(f"{value:.4g}")


def _steps(rows: list[dict[str, Any]], series: list[str], what: str) -> dict[str, Any]:
    base = chart_of(rows).encode(
        x=alt.X("from:Q", title=what, scale=alt.Scale(zero=False, nice=False)),
        y=alt.Y("share:Q", title="share of rows", axis=alt.Axis(format="%", tickCount=4), stack=None),
        color=colour(series, lines=True),
        tooltip=_tips(("series", "N", ""), ("from", "Q", ",.4~g"), ("to", "Q", ",.4~g"), ("share", "Q", ".1%")),
    )
    area = base.mark_area(interpolate="step-after", opacity=0.18)
    line = base.mark_line(interpolate="step-after", strokeWidth=2).encode(strokeDash=dash(series))
    return spec_of(alt.layer(area, line))


def _tips(*fields: tuple[str, str, str]) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:{kind}", format=form or alt.Undefined) for name, kind, form in fields]


def _labels(series: Series) -> Chart | None:
    counts = [(name, frame["label"].drop_nulls().value_counts()) for name, frame in series]
    counts = [(name, each) for name, each in counts if len(each)]
    if not counts:
        return None
    totals: dict[str, int] = {}
    for _, each in counts:
        for label, number in each.iter_rows():
            totals[label] = totals.get(label, 0) + number
    order = sorted(totals, key=lambda label: (-totals[label], label))
    shown = order[:LABELS]
    rows = []
    for name, each in counts:
        its = dict(each.iter_rows())
        whole = sum(its.values())
        told = {label[:60]: its.get(label, 0) for label in shown}
        if len(order) > LABELS:
            told[OTHER] = sum(number for label, number in its.items() if label not in shown)
        rows += [{"label": k, "series": name, "rows": v, "share": round(v / whole, 5)} for k, v in told.items()]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    names = [name for name, _ in counts]
    title = "Labels, before and after" if "seeds" in names else "Labels"
    return Chart("labels", title, grouped(rows, labels, names, "label", "share of rows"))


def grouped(rows: list[dict[str, Any]], groups: list[str], series: list[str], group: str, what: str) -> dict[str, Any]:
    """Bars of `share`, a group of them for each value of the field `group`, one a series."""
    chart = (
        chart_of(rows)
        .mark_bar()
        .encode(
            y=alt.Y(f"{group}:N", title=None, sort=groups, axis=alt.Axis(labelLimit=150, ticks=False, domain=False)),
            yOffset=alt.YOffset("series:N", sort=series),
            x=alt.X("share:Q", title=what, axis=alt.Axis(format="%", tickCount=4)),
            color=colour(series),
            tooltip=_tips((group, "N", ""), ("series", "N", ""), ("rows", "Q", ","), ("share", "Q", ".1%")),
        )
    )
    return spec_of(chart, height=max(60, len(groups) * (11 * len(series) + 8)))


def _scores(runs: Sequence[Run]) -> Chart | None:
    """Every numeric score, one at a time: of what was kept and of what was dropped, or one series a run."""
    rows: list[dict[str, Any]] = []
    names = ["kept", "dropped"] if len(runs) == 1 else [run.name for run in runs]
    sides = [(names[0], runs[0], ROWS), (names[-1], runs[0], REJECTED)] if len(runs) == 1 else []
    sides = sides or [(run.name, run, ROWS) for run in runs]
    schemas = [collect(run, scan(run, file).limit(0)).schema for _, run, file in sides]
    known = {*SCHEMA, *PICTURE, *WRITTEN, *VERDICT}
    for score in dict.fromkeys(name for schema in schemas for name in schema if name not in known):
        values = []
        for (name, run, file), schema in zip(sides, schemas, strict=True):
            if score in schema and schema[score].is_numeric():
                column = collect(run, scan(run, file).select(pl.col(score).cast(pl.Float64)))[score]
                numbers = column.filter(column.is_finite()).to_numpy()
                if len(numbers):
                    values.append((name, numbers))
        if values and len(np.unique(np.concatenate([each for _, each in values]))) > 1:
            rows += [{"score": score, **row} for row in _histogram(values)[0]]
    scores = list(dict.fromkeys(row["score"] for row in rows))
    if not scores:
        return None
    first = next((each for each in TELLING if each in scores), scores[0])
    picked = alt.param(name="picked", value=first, bind=alt.binding_select(options=scores, name="score "))
    base = (
        chart_of(rows)
        .transform_filter("datum.score == picked")
        .encode(
            x=alt.X("from:Q", title=None, scale=alt.Scale(zero=False, nice=False)),
            y=alt.Y("share:Q", title="share of rows", axis=alt.Axis(format="%", tickCount=4), stack=None),
            color=colour(names, lines=True),
            tooltip=_tips(("series", "N", ""), ("from", "Q", ",.4~g"), ("to", "Q", ",.4~g"), ("share", "Q", ".1%")),
        )
    )
    area = base.mark_area(interpolate="step-after", opacity=0.18)
    line = base.mark_line(interpolate="step-after", strokeWidth=2).encode(strokeDash=dash(names))
    return Chart("scores", "Scores", spec_of(alt.layer(area, line).add_params(picked)))
