"""An evaluation in plots: how similar the answers are to the gold ones, what the judge says, refusals and lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from augment.tables import one_line
from finetune.curves import svg
from finetune.evaluation.judging import PREFIX
from finetune.evaluation.results import SHARES, SIMILARITY
from finetune.scorers.similarity import BINS

PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
"""Okabe and Ito's colours, told apart by everybody."""
_GREY = "#999999"


def similarity_plot(record: Mapping[str, Any]) -> str:
    """The SVG's text: for each similarity the share of answers in each tenth, a line a model; the floor's mean."""
    models = [each["name"] for each in record["models"]]
    panels = []
    for metric in SIMILARITY:
        found = [each for each in record["histograms"] if each["metric"] == metric and each["label"] is None]
        rows = [
            {"model": each["model"], "from": place / BINS, "middle": (place + 0.5) / BINS, "share": count / total}
            for each in found
            if (total := sum(each["counts"]))
            for place, count in enumerate(each["counts"])
        ]
        shape = {"model": pl.String, "from": pl.Float64, "middle": pl.Float64, "share": pl.Float64}
        x = alt.X("middle:Q", title=metric, scale=alt.Scale(domain=[0, 1]))
        lines = (
            alt.Chart(pl.DataFrame(rows, schema=shape), width=300, height=200)
            .mark_line(point=True, interpolate="monotone")
            .encode(
                x=x,
                y=alt.Y("share:Q", title="share of answers", axis=alt.Axis(format="%")),
                color=_colour(models),
                shape=alt.Shape("model:N", title=None, scale=alt.Scale(domain=models)),
            )
        )
        under = [
            {"name": each["name"], "middle": each["mean"]}
            for each in record["floor"]
            if each["metric"] == metric and each["label"] is None
        ]
        marks = alt.Chart(pl.DataFrame(under, schema={"name": pl.String, "middle": pl.Float64}))
        rules = marks.mark_rule(strokeDash=[4, 4], color=_GREY).encode(x=x)
        names = marks.mark_text(
            angle=270, align="right", baseline="bottom", dx=-4, dy=-2, fontSize=10, color="#666666"
        ).encode(x=x, y=alt.value(0), text="name:N")
        panels.append(alt.layer(rules, names, lines))
    return svg(alt.hconcat(*panels))


def rates_plot(record: Mapping[str, Any]) -> str:
    """The SVG's text: how many answers failed, refuse or were cut off, and how long they are; the floor in grey."""
    rates = [each for each in SHARES if each in record["metrics"]]
    panels = [_points(record, rates, None, "", alt.X("mean:Q", title="share of answers", axis=alt.Axis(format="%")))]
    panels.append(_points(record, ["length"], None, "", alt.X("mean:Q", title="characters")))
    return svg(alt.hconcat(*panels))


def judge_plot(record: Mapping[str, Any]) -> str:
    """The SVG's text: the judge's mean on each dimension with its interval; gold and floor in grey."""
    x = alt.X("mean:Q", title="mean of −1, 0, 1", scale=alt.Scale(domain=[-1, 1]))
    panels = []
    for group, dimensions in record["judge"]["dimensions"].items():
        label = group if any(line["label"] == group for line in record["table"]) else None
        names = [f"{PREFIX}{each['name']}" for each in dimensions]
        panels.append(_points(record, names, label, one_line(group), x))
    return svg(alt.hconcat(*panels))


def _points(record: Mapping[str, Any], metrics: list[str], label: str | None, title: str, x: alt.X) -> Any:
    """Metrics down; for each of them the models, the gold answers and the floor, with their intervals."""
    models = [each["name"] for each in record["models"]]
    beside = list(dict.fromkeys(each["name"] for each in (*record["gold"], *record["floor"])))
    everyone = [*models, *beside]
    rows = [
        {
            "model": each.get("model") or each["name"],
            "metric": each["metric"].removeprefix(PREFIX).replace("_", " "),
            **{name: each[name] if each[name] is not None else each["mean"] for name in ("mean", "low", "high")},
        }
        for each in (*record["table"], *record["gold"], *record["floor"])
        if each["label"] == label and each["metric"] in metrics and each["mean"] is not None
    ]
    names = [each.removeprefix(PREFIX).replace("_", " ") for each in metrics]
    shape = {"model": pl.String, "metric": pl.String, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    greys = ["#444444", "#777777", "#aaaaaa"][: len(beside)]
    scale = alt.Scale(domain=everyone, range=[*_colours(models), *greys])
    chart = alt.Chart(pl.DataFrame(rows, schema=shape), title=title, width=260)
    base = chart.properties(height=len(names) * (12 + 8 * len(everyone))).encode(
        y=alt.Y("metric:N", title=None, sort=names, scale=alt.Scale(paddingInner=0.25)),
        yOffset=alt.YOffset("model:N", sort=everyone),
        color=alt.Color("model:N", title=None, sort=everyone, scale=scale),
    )
    intervals = base.mark_rule().encode(x=alt.X("low:Q"), x2="high:Q")
    return alt.layer(intervals, base.mark_point(filled=True, size=30).encode(x=x))


def _colours(models: list[str]) -> list[str]:
    return [PALETTE[place % len(PALETTE)] for place in range(len(models))]


def _colour(models: list[str]) -> alt.Color:
    return alt.Color("model:N", title=None, scale=alt.Scale(domain=models, range=_colours(models)))
