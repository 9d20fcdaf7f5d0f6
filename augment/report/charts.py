"""How plots look: Okabe and Ito's colours, told by CSS variables so that they follow dark mode and print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

COLOURS = [f"var(--c{place})" for place in range(1, 9)]
"""Okabe and Ito's palette (2008), which people with any colour vision tell apart; style.css has both modes."""
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
SHAPES = ["circle", "triangle-up", "square", "diamond", "cross"]

_TEXT = {"labelColor": "var(--soft)", "titleColor": "var(--soft)", "labelFontSize": 12, "titleFontSize": 12}
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **_TEXT,
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
    },
    "legend": {**_TEXT, "orient": "top", "title": None, "symbolStrokeWidth": 2, "labelLimit": 240},
    "header": _TEXT,
    "range": {"category": COLOURS},
}


def chart_of(rows: list[dict[str, Any]]) -> alt.Chart:
    """A chart of these rows, which its specification holds as they are."""
    return alt.Chart({"values": rows})


def spec_of(chart: alt.Chart | alt.LayerChart | alt.FacetChart, height: int = 220) -> dict[str, Any]:
    """A chart as wide as its place in the page, as the specification that the page draws."""
    spec: dict[str, Any] = chart.properties(width="container", height=height).to_dict()
    spec["config"] = _CONFIG
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec.pop("$schema", None)
    return spec


def colour(series: Sequence[str], field: str = "series", lines: bool = False) -> alt.Color:
    """Series by colour, in this order; the legend of `lines` shows strokes."""
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1) if lines else alt.Undefined
    return alt.Color(f"{field}:N", title=None, scale=alt.Scale(domain=list(series), range=COLOURS), legend=legend)


def dash(series: Sequence[str], field: str = "series") -> alt.StrokeDash:
    """The same series by their dashes, for those who see no colour."""
    ranges = [DASHES[place % len(DASHES)] for place in range(len(series))]
    scale = alt.Scale(domain=list(series), range=ranges)
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1)
    return alt.StrokeDash(f"{field}:N", title=None, scale=scale, legend=legend)
