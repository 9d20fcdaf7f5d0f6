"""What was trained: the curves of each training, and what on what."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from augment.report.blocks import Cell, Chart, Section, Table, number
from augment.report.charts import chart_of, colour, dash, spec_of
from augment.report.figures import dicts, figure
from augment.report.gather import Record

TERMS = {"cr": "consistency (CR)", "dr": "diversity (DR)", "svdr": "spectrum (SVDR)", "learning_rate": "learning rate"}
_POINTS = 400
"""Steps of a curve that are drawn; of a longer one every so-many-th."""


def training(records: Sequence[Record]) -> Section | None:
    """Loss over the steps, the objective's other terms, and what was trained on what."""
    if not records:
        return None
    steps = [(each.name, list(dicts(each.data.get("history")))) for each in records]
    names = [name for name, _ in steps]
    blocks: list[Table | Chart] = [_methods(records)]
    losses = [
        {"series": name, "curve": curve, "step": each["step"], "value": value}
        for name, history in steps
        for curve, value, each in _losses(history)
    ]
    if losses:
        blocks.insert(
            0, Chart("loss", "Loss", _curves(losses, names, "cross-entropy"), "Line: training. Points: validation.")
        )
    for key, title in TERMS.items():
        rows = [
            {"series": name, "curve": "training", "step": each["step"], "value": value}
            for name, history in steps
            for each in _thinned([each for each in history if figure(each.get(key)) is not None and "step" in each])
            for value in [figure(each[key])]
        ]
        if rows and any(row["value"] for row in rows):
            spec = _curves(rows, names, title, height=110)
            blocks.append(Chart(f"term-{key}", title[0].upper() + title[1:], spec))
    return Section("training", "Training", blocks)


def _losses(history: list[dict[str, Any]]) -> Iterator[tuple[str, float, dict[str, Any]]]:
    trained = [each for each in history if figure(each.get("loss")) is not None and "step" in each]
    for each in _thinned(trained):
        value = figure(each.get("ce"))
        yield "training", figure(each["loss"]) or 0.0 if value is None else value, each
    for each in history:
        value = figure(each.get("eval_loss"))
        if value is not None and "step" in each:
            yield "validation", value, each


def _thinned(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return steps[:: max(1, math.ceil(len(steps) / _POINTS))]


def _curves(rows: list[dict[str, Any]], names: list[str], what: str, height: int = 220) -> dict[str, Any]:
    def drawn(curve: str) -> alt.Chart:
        return chart_of([row for row in rows if row["curve"] == curve]).encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1, format="~s")),
            y=alt.Y("value:Q", title=what, scale=alt.Scale(zero=False), axis=alt.Axis(format="~g", tickCount=5)),
            color=colour(names, lines=True),
            tooltip=["series:N", "curve:N", "step:Q", alt.Tooltip("value:Q", format=".4~g")],
        )

    curves = {row["curve"] for row in rows}
    layers = []
    if "training" in curves:
        layers.append(drawn("training").mark_line(strokeWidth=1.6, opacity=0.85).encode(strokeDash=dash(names)))
    if "validation" in curves:
        layers.append(drawn("validation").mark_point(filled=True, size=36))
    return spec_of(alt.layer(*layers), height)


def _methods(records: Sequence[Record]) -> Table:
    def line(title: str, *keys: str) -> tuple[str, list[Cell]]:
        found = []
        for each in records:
            value: Any = each.data
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            found.append(Cell(f"{value:.4g}" if isinstance(value, float) else number(value), tone="text"))
        return title, found

    rows = [
        line("base", "base", "name"),
        line("adapter", "method", "adapter", "name"),
        line("rank", "method", "adapter", "rank"),
        line("objective", "method", "objective", "name"),
        line("perturbation", "method", "perturbation", "name"),
        line("learning rate", "method", "learning_rate"),
        line("trainable parameters", "parameters", "trainable"),
        line("rows to train on", "data", "train"),
        line("rows to validate with", "data", "validation"),
        line("steps", "steps", "done"),
        line("validation loss before", "validation", "before", "eval_loss"),
        line("validation loss after", "validation", "after", "eval_loss"),
        line("accuracy before", "validation", "before", "eval_accuracy"),
        line("accuracy after", "validation", "after", "eval_accuracy"),
        line("seconds", "measured", "seconds"),
    ]
    shown = [(title, cells) for title, cells in rows if any(cell.text != "–" for cell in cells)]
    return Table("Trainings", ["", *(each.name for each in records)], shown)
