"""What the data was worth: how each arm scored, seed by seed, and the differences between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from augment.report.blocks import Cell, Chart, Section, Table, number
from augment.report.charts import chart_of, spec_of
from augment.report.figures import compared, dicts, figure, interval
from augment.report.gather import Record

_ENDS = ("mean", "low", "high")


def lift(records: Sequence[Record]) -> Section | None:
    """What each arm scored, seed by seed, and the differences between them."""
    blocks: list[Table | Chart] = []
    said = []
    for place, record in enumerate(records):
        data = record.data
        metric = str(data.get("metric") or "score")
        named = f" ({record.name})" if len(records) > 1 else ""
        arms = [each for each in dicts(data.get("arms")) if figure(each.get("mean")) is not None]
        if isinstance(data.get("verdict"), str):
            said.append(data["verdict"])
        if arms:
            blocks.append(_arms(f"lift-{place}", f"{metric}, by what was trained on{named}", arms, metric))
            rows = [(str(each.get("name")), [Cell(number(each.get("rows"))), Cell(interval(each))]) for each in arms]
            blocks.append(Table(f"Arms{named}", ["", "rows", metric], rows, note=_over(data.get("seeds"))))
        differences = [each for each in dicts(data.get("differences")) if figure(each.get("mean")) is not None]
        if differences:
            blocks.append(compared(f"Differences{named}", differences, "arm"))
    return Section("lift", "Lift", blocks, said=" ".join(said)) if records else None


def _arms(id: str, title: str, arms: list[dict[str, Any]], metric: str) -> Chart:
    names = [str(each.get("name")) for each in arms]
    means = [{"arm": str(each.get("name")), **{key: figure(each.get(key)) for key in _ENDS}} for each in arms]
    seeds = [
        {"arm": str(each.get("name")), "score": value}
        for each in arms
        for value in map(figure, each.get("scores") or [])
        if value is not None
    ]
    y = alt.Y("arm:N", title=None, sort=names, axis=alt.Axis(labelLimit=180))
    x = alt.Scale(zero=False)
    base = chart_of(means).encode(
        y=y,
        color=alt.Color("arm:N", legend=None, sort=names),
        tooltip=["arm:N", *(alt.Tooltip(f"{name}:Q", format=".4~f") for name in _ENDS)],
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=metric, scale=x), x2="high:Q")
    point = base.mark_point(filled=True, size=80, shape="diamond").encode(x="mean:Q")
    dots = (
        chart_of(seeds)
        .mark_point(size=30, opacity=0.6)
        .encode(y=y, x="score:Q", color=alt.Color("arm:N", legend=None, sort=names), tooltip=["arm:N", "score:Q"])
    )
    spec = spec_of(alt.layer(dots, rule, point), height=max(90, 34 * len(names)))
    return Chart(id, title, spec, "Circles: one random seed each. Diamond: mean and 95 % interval.")


def _over(seeds: Any) -> str:
    return f"Over {len(seeds)} random seeds; 95 % intervals." if isinstance(seeds, list) else ""
