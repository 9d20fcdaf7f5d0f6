"""What was trained, examined and gained: curves, evaluations and lifts, as their records tell them.

The records are read as they are found: what one lacks is not shown, and nothing here fails for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from augment.report.blocks import Cell, Chart, Section, Table, number
from augment.report.charts import colour, dash, spec_of
from augment.report.gather import Record

TERMS = {"cr": "consistency (CR)", "dr": "diversity (DR)", "svdr": "spectrum (SVDR)", "learning_rate": "learning rate"}
_POINTS = 400
"""Steps of a curve that are drawn; of a longer one every so-many-th."""
_ALL = "all"


def training(records: Sequence[Record]) -> Section | None:
    """Loss over the steps, the objective's other terms, and what was trained on what."""
    if not records:
        return None
    steps = [(each.name, list(_dicts(each.data.get("history")))) for each in records]
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
            for each in _thinned([each for each in history if _number(each.get(key)) is not None and "step" in each])
            for value in [_number(each[key])]
        ]
        if rows and any(row["value"] for row in rows):
            spec = _curves(rows, names, title, height=110)
            blocks.append(Chart(f"term-{key}", title[0].upper() + title[1:], spec))
    return Section("training", "Training", blocks)


def evaluation(records: Sequence[Record]) -> Section | None:
    """Scores of every model on the exam with their intervals, differences, and how the scores are spread."""
    blocks: list[Table | Chart] = []
    said = []
    for place, record in enumerate(records):
        data = record.data
        named = f" ({record.name})" if len(records) > 1 else ""
        lines = [each for each in _dicts(data.get("table")) if _number(each.get("mean")) is not None]
        floor = [
            {**each, "model": each.get("name")}
            for each in _dicts(data.get("floor"))
            if _number(each.get("mean")) is not None
        ]
        if isinstance(data.get("verdict"), str):
            said.append(data["verdict"])
        if lines:
            blocks.append(_intervals(f"scores-{place}", f"Scores on the exam{named}", lines, floor))
            blocks.append(_scores(f"Scores{named}", lines, floor))
        differences = [each for each in _dicts(data.get("differences")) if _number(each.get("mean")) is not None]
        if differences:
            blocks.append(_differences(f"Differences{named}", differences, "model"))
        blocks += _spreads(f"spread-{place}", named, list(_dicts(data.get("histograms"))))
        blocks.append(_exam(f"Exam{named}", data))
    return Section("evaluation", "Evaluation", blocks, said=" ".join(said)) if records else None


def lift(records: Sequence[Record]) -> Section | None:
    """What each arm scored, seed by seed, and the differences between them."""
    blocks: list[Table | Chart] = []
    said = []
    for place, record in enumerate(records):
        data = record.data
        metric = str(data.get("metric") or "score")
        named = f" ({record.name})" if len(records) > 1 else ""
        arms = [each for each in _dicts(data.get("arms")) if _number(each.get("mean")) is not None]
        if isinstance(data.get("verdict"), str):
            said.append(data["verdict"])
        if arms:
            blocks.append(_arms(f"lift-{place}", f"{metric}, by what was trained on{named}", arms, metric))
            rows = [(str(each.get("name")), [Cell(number(each.get("rows"))), Cell(_interval(each))]) for each in arms]
            blocks.append(Table(f"Arms{named}", ["", "rows", metric], rows, note=_over(data.get("seeds"))))
        differences = [each for each in _dicts(data.get("differences")) if _number(each.get("mean")) is not None]
        if differences:
            blocks.append(_differences(f"Differences{named}", differences, "arm"))
    return Section("lift", "Lift", blocks, said=" ".join(said)) if records else None


def _losses(history: list[dict[str, Any]]) -> Iterator[tuple[str, float, dict[str, Any]]]:
    trained = [each for each in history if _number(each.get("loss")) is not None and "step" in each]
    for each in _thinned(trained):
        value = _number(each.get("ce"))
        yield "training", _number(each["loss"]) or 0.0 if value is None else value, each
    for each in history:
        value = _number(each.get("eval_loss"))
        if value is not None and "step" in each:
            yield "validation", value, each


def _thinned(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return steps[:: max(1, math.ceil(len(steps) / _POINTS))]


def _curves(rows: list[dict[str, Any]], names: list[str], what: str, height: int = 220) -> dict[str, Any]:
    def drawn(curve: str) -> alt.Chart:
        return alt.Chart(alt.Data(values=[row for row in rows if row["curve"] == curve])).encode(
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


def _intervals(id: str, title: str, lines: list[dict[str, Any]], floor: list[dict[str, Any]]) -> Chart:
    """A point and its interval for each model, one metric at a time; what needs no model is the floor."""
    told = [
        {
            "model": str(each.get("model")),
            "label": str(each.get("label") or _ALL),
            "metric": str(each.get("metric")),
            "kind": kind,
            "mean": _number(each.get("mean")),
            "low": _number(each.get("low")),
            "high": _number(each.get("high")),
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
        alt.Chart(alt.Data(values=told))
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
        (metric, [Cell(_interval(known[model, metric]) if (model, metric) in known else "–") for model in models])
        for metric in metrics
    ]
    return Table(title, ["", *models], rows)


def _differences(title: str, lines: list[dict[str, Any]], who: str) -> Table:
    """A line a difference; one that is more than chance says so."""
    rows = []
    for each in lines:
        low, high = _number(each.get("low")), _number(each.get("high"))
        sure = low is not None and high is not None and (low > 0 or high < 0)
        about = [str(each[key]) for key in ("metric", "label") if each.get(key)]
        name = f"{each.get(who)} over {each.get('over')}" + (f": {', '.join(about)}" if about else "")
        told = "more than chance" if sure else "may be chance"
        rows.append((name, [Cell(_interval(each, "+")), Cell(told, tone="kept" if sure else "")]))
    return Table(title, ["", "difference", ""], rows)


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
            alt.Chart(alt.Data(values=told))
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
    for model in _dicts(data.get("models")):
        told = ", ".join(str(model[key]) for key in ("engine", "model", "revision", "adapter") if model.get(key))
        rows.append((f"model {model.get('name')}", [Cell(told or "–", tone="text")]))
    return Table(title, ["", ""], rows)


def _arms(id: str, title: str, arms: list[dict[str, Any]], metric: str) -> Chart:
    names = [str(each.get("name")) for each in arms]
    means = [
        {"arm": str(each.get("name")), **{key: _number(each.get(key)) for key in ("mean", "low", "high")}}
        for each in arms
    ]
    seeds = [
        {"arm": str(each.get("name")), "score": value}
        for each in arms
        for value in map(_number, each.get("scores") or [])
        if value is not None
    ]
    y = alt.Y("arm:N", title=None, sort=names, axis=alt.Axis(labelLimit=180))
    x = alt.Scale(zero=False)
    base = alt.Chart(alt.Data(values=means)).encode(
        y=y,
        color=alt.Color("arm:N", legend=None, sort=names),
        tooltip=["arm:N", *(alt.Tooltip(f"{name}:Q", format=".4~f") for name in keys)],
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=metric, scale=x), x2="high:Q")
    point = base.mark_point(filled=True, size=80, shape="diamond").encode(x="mean:Q")
    dots = (
        alt.Chart(alt.Data(values=seeds))
        .mark_point(size=30, opacity=0.6)
        .encode(y=y, x="score:Q", color=alt.Color("arm:N", legend=None, sort=names), tooltip=["arm:N", "score:Q"])
    )
    spec = spec_of(alt.layer(dots, rule, point), height=max(90, 34 * len(names)))
    return Chart(id, title, spec, "Circles: one random seed each. Diamond: mean and 95 % interval.")


def _over(seeds: Any) -> str:
    return f"Over {len(seeds)} random seeds; 95 % intervals." if isinstance(seeds, list) else ""


def _interval(each: dict[str, Any], sign: str = "") -> str:
    mean, low, high = (_number(each.get(key)) for key in ("mean", "low", "high"))
    if mean is None:
        return "–"
    told = f"{mean:{sign}.3f}"
    return told if low is None or high is None else f"{told} [{low:.3f}, {high:.3f}]"


def _number(value: Any) -> float | None:
    """A number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))
