"""A lift as one SVG: each draw's scores by arm above, the differences with their intervals and a zero line below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import altair as alt
import polars as pl

from finetune.lift.arms import AUGMENTED

_WIDTH, _ROW = 460, 34
_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#6b6b6b"  # Okabe and Ito's, told apart by everybody


def draw(record: Mapping[str, Any]) -> str:
    """The SVG's text, from what lift.json holds."""
    import vl_convert

    scale, unit = (100.0, " (%)") if record["metric"] == "accuracy" else (1.0, "")
    chart = (
        alt.vconcat(_arms(record, scale, unit), _differences(record, scale, unit), spacing=28)
        .resolve_scale(color="independent")
        .configure_view(stroke=None)
        .configure(font="sans-serif", background="white")
        .configure_axis(labelLimit=320, titleFontWeight="normal", gridColor="#e8e8e8")
        .configure_title(anchor="start", fontSize=13)
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _colour(name: str) -> str:
    return _ORANGE if name == AUGMENTED else _BLUE


def _arms(record: Mapping[str, Any], scale: float, unit: str) -> alt.LayerChart:
    names = [arm["name"] for arm in record["arms"]]
    points = pl.DataFrame(
        [
            {"arm": arm["name"], "score": score * scale, "colour": _colour(arm["name"])}
            for arm in record["arms"]
            for score in arm["scores"]
            if score is not None
        ]
    )
    means = pl.DataFrame(
        [{"arm": arm["name"], "mean": arm["mean"] * scale, "colour": _colour(arm["name"])} for arm in record["arms"]]
    )
    y = alt.Y("arm:N", title=None, sort=names)
    x = alt.X("score:Q", title=record["metric"] + unit, scale=alt.Scale(zero=False, nice=True))
    colour = alt.Color("colour:N", scale=None)
    title = f"{record['metric'].capitalize()}: a dot a draw, the bar their mean"
    ticks = alt.Chart(points).mark_point(size=26, opacity=0.45, filled=True).encode(x=x, y=y, color=colour)
    bars = alt.Chart(means).mark_tick(thickness=3, size=22).encode(x="mean:Q", y=y, color=colour)
    return cast(alt.LayerChart, alt.layer(ticks, bars).properties(width=_WIDTH, height=_ROW * len(names), title=title))


def _differences(record: Mapping[str, Any], scale: float, unit: str) -> alt.LayerChart:
    rows = [
        {
            "pair": f"{each['arm']} − {each['over']}",
            "mean": each["mean"] * scale,
            "low": (each["mean"] if each["low"] is None else each["low"]) * scale,
            "high": (each["mean"] if each["high"] is None else each["high"]) * scale,
            "colour": _ORANGE if number == 0 else _GREY,
        }
        for number, each in enumerate(record["differences"])
    ]
    frame = pl.DataFrame(rows)
    y = alt.Y("pair:N", title=None, sort=[row["pair"] for row in rows])
    colour = alt.Color("colour:N", scale=None)
    better = "right" if record["higher_is_better"] else "left"
    title = f"Difference, with its 95% interval ({better} of zero is better)"
    x = alt.X("low:Q", title="difference in " + record["metric"] + (" (points)" if unit else ""))
    zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule(color="black", strokeDash=[4, 3]).encode(x="zero:Q")
    spans = alt.Chart(frame).mark_rule(strokeWidth=2.5).encode(x=x, x2="high:Q", y=y, color=colour)
    dots = alt.Chart(frame).mark_point(filled=True, size=75, opacity=1).encode(x="mean:Q", y=y, color=colour)
    return cast(
        alt.LayerChart, alt.layer(zero, spans, dots).properties(width=_WIDTH, height=_ROW * len(rows), title=title)
    )
