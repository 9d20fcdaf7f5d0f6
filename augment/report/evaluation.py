"""How models did on the exam: scores with their intervals, differences, and how the scores are spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from augment.report.blocks import Cell, Chart, Section, Table, number
from augment.report.charts import chart_of, colour, spec_of
from augment.report.figures import compared, dicts, figure, interval
from augment.report.gather import Record

_ALL = "all"


def evaluation(records: Sequence[Record]) -> Section | None:
    """Scores of every model on the exam with their intervals, differences, and how the scores are spread."""
    blocks: list[Table | Chart] = []
    said = []
    for place, record in enumerate(records):
        data = record.data
        named = f" ({record.name})" if len(records) > 1 else ""
        lines = [each for each in dicts(data.get("table")) if figure(each.get("mean")) is not None]
        floor = [
            {**each, "model": each.get("name")}
            for each in dicts(data.get("floor"))
            if figure(each.get("mean")) is not None
        ]
        if isinstance(data.get("verdict"), str):
            said.append(data["verdict"])
        if lines:
            blocks.append(_intervals(f"scores-{place}", f"Scores on the exam{named}", lines, floor))
            blocks.append(_scores(f"Scores{named}", lines, floor))
        differences = [each for each in dicts(data.get("differences")) if figure(each.get("mean")) is not None]
        if differences:
            blocks.append(compared(f"Differences{named}", differences, "model"))
        blocks += _spreads(f"spread-{place}", named, list(dicts(data.get("histograms"))))
        blocks.append(_exam(f"Exam{named}", data))
    return Section("evaluation", "Evaluation", blocks, said=" ".join(said)) if records else None


def _intervals(id: str, title: str, lines: list[dict[str, Any]], floor: list[dict[str, Any]]) -> Chart:
    """A point and its interval for each model, one metric at a time; what needs no model is the floor."""
    told: list[dict[str, Any]] = [
        {
            "model": str(each.get("model")),
            "label": str(each.get("label") or _ALL),
            "metric": str(each.get("metric")),
            "kind": kind,
            "mean": figure(each.get("mean")),
            "low": figure(each.get("low")),
            "high": figure(each.get("high")),
            "rows": each.get("rows"),
        }
        for kind, some in (("model", lines), ("floor", floor))
        for each in some
    ]
    models = list(dict.fromkeys(each["model"] for each in told))
    labels = list(dict.fromkeys(each["label"] for each in told))
    labels.sort(key=lambda label: (label != _ALL, label))
    metrics = list(dict.fromkeys(each["metric"] for each in told))
    picked = alt.param(name="metric", value=metrics[0], bind=alt.binding_select(options=metrics, name="metric "))
    base = (
        chart_of(told)
        .transform_filter("datum.metric == metric")
        .encode(
            y=alt.Y("label:N", title=None, sort=labels, axis=alt.Axis(labelLimit=150)),
            yOffset=alt.YOffset("model:N", sort=models),
            color=colour(models, "model"),
            tooltip=[
                "model:N",
                "label:N",
                *(alt.Tooltip(f"{name}:Q", format=".3~f") for name in ("mean", "low", "high")),
                "rows:Q",
            ],
        )
    )
    kinds = alt.Shape("kind:N", legend=None, scale=alt.Scale(domain=["model", "floor"], range=["circle", "square"]))
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=None, scale=alt.Scale(zero=False)), x2="high:Q")
    point = base.mark_point(filled=True, size=60).encode(x=alt.X("mean:Q"), shape=kinds)
    spec = spec_of(alt.layer(rule, point).add_params(picked), height=max(90, len(labels) * (14 * len(models) + 12)))
    note = "Mean and 95 % interval." + (" Squares: answers that need no model." if floor else "")
    return Chart(id, title, spec, note)


def _scores(title: str, lines: list[dict[str, Any]], floor: list[dict[str, Any]]) -> Table:
    """Every metric over all labels, a column a model."""
    whole = [each for each in (*lines, *floor) if each.get("label") is None]
    models = list(dict.fromkeys(str(each.get("model")) for each in whole))
    metrics = list(dict.fromkeys(str(each.get("metric")) for each in whole))
    known = {(str(each.get("model")), str(each.get("metric"))): each for each in whole}
    rows = [
        (metric, [Cell(interval(known[model, metric]) if (model, metric) in known else "–") for model in models])
        for metric in metrics
    ]
    return Table(title, ["", *models], rows)


def _spreads(id: str, named: str, lines: list[dict[str, Any]]) -> Iterator[Chart]:
    """How many answers score how much, a plot a metric, over all labels."""
    for metric in dict.fromkeys(str(each.get("metric")) for each in lines):
        rows: dict[tuple[str, int], int] = {}
        for each in lines:
            counts = each.get("counts")
            if str(each.get("metric")) != metric or not isinstance(counts, list):
                continue
            for place, count in enumerate(counts):
                if isinstance(count, int) and each.get("label") is not None:
                    key = (str(each.get("model")), place)
                    rows[key] = rows.get(key, 0) + count
        if not rows:
            rows = {
                (str(each.get("model")), place): count
                for each in lines
                if str(each.get("metric")) == metric and isinstance(each.get("counts"), list)
                for place, count in enumerate(each["counts"])
                if isinstance(count, int)
            }
        if not rows:
            continue
        models = list(dict.fromkeys(model for model, _ in rows))
        told = [
            {"model": model, "score": f"{place / 10:.1f}–{(place + 1) / 10:.1f}", "answers": count}
            for (model, place), count in rows.items()
        ]
        chart = (
            chart_of(told)
            .mark_bar()
            .encode(
                x=alt.X("score:N", title=metric, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
                xOffset=alt.XOffset("model:N", sort=models),
                y=alt.Y("answers:Q", axis=alt.Axis(tickCount=4, tickMinStep=1)),
                color=colour(models, "model"),
                tooltip=["model:N", "score:N", "answers:Q"],
            )
        )
        yield Chart(f"{id}-{metric}", f"Answers by {metric}{named}", spec_of(chart))


def _exam(title: str, data: dict[str, Any]) -> Table:
    exam = data.get("exam") if isinstance(data.get("exam"), dict) else {}
    judge = data.get("judge") if isinstance(data.get("judge"), dict) else None
    assert isinstance(exam, dict)
    rows = [("exam", [Cell(number(exam.get("name")), tone="text")]), ("questions", [Cell(number(exam.get("rows")))])]
    labels = exam.get("labels")
    if isinstance(labels, dict):
        rows += [(f"… {label}", [Cell(number(count))]) for label, count in labels.items()]
    if judge is not None:
        rows.append(("judge", [Cell(f"{judge.get('llm')}, {judge.get('votes')} votes", tone="text")]))
        dimensions = judge.get("dimensions")
        for label, named in dimensions.items() if isinstance(dimensions, dict) else ():
            told = ", ".join(" ".join(filter(None, (each.get("name"), each.get("zh")))) for each in dicts(named))
            rows.append((f"judged: {label}", [Cell(told, tone="text")]))
    for model in dicts(data.get("models")):
        told = ", ".join(str(model[key]) for key in ("engine", "model", "revision", "adapter") if model.get(key))
        rows.append((f"model {model.get('name')}", [Cell(told or "–", tone="text")]))
    return Table(title, ["", ""], rows)
