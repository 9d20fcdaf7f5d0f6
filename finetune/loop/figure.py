"""A loop as one SVG: each adapter's score before the exam, round by round, beside its control and the base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import altair as alt
import polars as pl

from finetune.loop.recipe import CONTROL

_WIDTH, _HEIGHT = 240, 220
_COLOURS = {"with variants": "#d55e00", "seeds repeated": "#0072b2", "base": "#6b6b6b"}
"""Okabe and Ito's, told apart by everybody."""


def draw(record: Mapping[str, Any]) -> str:
    """The SVG's text, from what loop.json holds; a panel an adapter."""
    import vl_convert

    asked = [each for each in record["rounds"] if each["exam"]]
    names = list(dict.fromkeys(told["name"] for each in asked for told in each["adapters"] if not told["control"]))
    metric = asked[0]["exam"]["metric"] if asked else ""
    panels = [_panel(asked, name, metric) for name in names]
    chart = (
        alt.hconcat(*panels, spacing=24)
        .resolve_scale(y="shared")
        .configure_view(stroke=None)
        .configure(font="sans-serif", background="white")
        .configure_axis(titleFontWeight="normal", gridColor="#e8e8e8")
        .configure_title(anchor="start", fontSize=13)
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _panel(rounds: list[Mapping[str, Any]], name: str, metric: str) -> alt.LayerChart:
    lines = []
    for each in rounds:
        exam = each["exam"]
        kinds = {"base": exam["base"], "seeds repeated": f"{name}{CONTROL}", "with variants": name}
        for kind, model in kinds.items():
            if (mean := exam["means"].get(model)) is not None and mean["mean"] is not None:
                ends = {end: mean["mean"] if mean[end] is None else mean[end] for end in ("low", "high")}
                lines.append({"round": each["round"], "kind": kind, "mean": mean["mean"], **ends})
    frame = pl.DataFrame(lines)
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())),
        legend=alt.Legend(orient="bottom"),
    )
    shown = alt.XOffset("kind:N", sort=list(_COLOURS))
    x = alt.X("round:O", title="round", axis=alt.Axis(labelAngle=0))
    title, scale = f"{metric}, with its 95 % interval", alt.Scale(zero=False, nice=True)
    base = alt.Chart(frame).encode(x=x, xOffset=shown, color=colour)
    spans = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q")
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(y=alt.Y("mean:Q", title=title, scale=scale))
    return cast(alt.LayerChart, alt.layer(spans, dots).properties(width=_WIDTH, height=_HEIGHT, title=name))
