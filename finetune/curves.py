"""The curves of a training as one SVG: loss and validation loss, the objective's other terms, learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import altair as alt
import polars as pl

TERMS = {"cr": "consistency (CR)", "dr": "diversity (DR)", "svdr": "spectrum (SVDR)"}
_WIDTH, _TALL, _LOW = 560, 220, 90
_BLUE, _ORANGE = "#0072b2", "#d55e00"  # Okabe and Ito's, told apart by everybody


def draw(history: Sequence[Mapping[str, Any]]) -> str:
    """The SVG's text. `history` is Trainer's log: "loss" or "ce" and other terms a step, "eval_loss" now and then."""
    steps = [each for each in history if "loss" in each]
    rows = [{"step": each["step"], "value": each.get("ce", each["loss"]), "curve": "training"} for each in steps]
    rows += [
        {"step": each["step"], "value": each["eval_loss"], "curve": "validation"}
        for each in history
        if "eval_loss" in each
    ]
    panels: list[alt.LayerChart | alt.Chart] = [
        _loss(pl.DataFrame(rows, schema={"step": pl.Int64, "value": pl.Float64, "curve": pl.String}))
    ]
    for name, title in (*TERMS.items(), ("learning_rate", "learning rate")):
        found = [{"step": each["step"], "value": float(each[name])} for each in steps if name in each]
        if found:
            panels.append(_line(pl.DataFrame(found), title))
    return svg(alt.vconcat(*panels))


def _loss(frame: pl.DataFrame) -> alt.LayerChart:
    colour = alt.Color(
        "curve:N", title=None, scale=alt.Scale(domain=["training", "validation"], range=[_BLUE, _ORANGE])
    )
    x = alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1))
    y = alt.Y("value:Q", title="cross-entropy", scale=alt.Scale(zero=False))
    base = alt.Chart(frame, width=_WIDTH, height=_TALL).encode(x=x, y=y, color=colour)
    training = base.transform_filter("datum.curve == 'training'").mark_line(opacity=0.8, strokeWidth=1.2)
    validation = base.transform_filter("datum.curve == 'validation'").mark_line(point=True, strokeWidth=1.8)
    return cast(alt.LayerChart, alt.layer(training, validation))


def _line(frame: pl.DataFrame, title: str) -> alt.Chart:
    line = (
        alt.Chart(frame, width=_WIDTH, height=_LOW)
        .mark_line(color=_BLUE, strokeWidth=1.2)
        .encode(
            x=alt.X("step:Q", title=None, axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
        )
    )
    return cast(alt.Chart, line)


def svg(chart: alt.HConcatChart | alt.VConcatChart) -> str:
    """A chart as the text of an SVG, on white and in the reader's own plain font."""
    import vl_convert

    configured = chart.configure_view(stroke=None).configure(font="sans-serif", background="white")
    return str(vl_convert.vegalite_to_svg(configured.to_dict()))
