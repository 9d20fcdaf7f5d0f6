"""Figures of records that others write, read as they are found: what is no number is not shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from augment.report.blocks import Cell, Table


def compared(title: str, lines: list[dict[str, Any]], who: str) -> Table:
    """A line a difference; one that is more than chance says so."""
    rows = []
    for each in lines:
        low, high = figure(each.get("low")), figure(each.get("high"))
        sure = low is not None and high is not None and (low > 0 or high < 0)
        about = [str(each[key]) for key in ("metric", "label") if each.get(key)]
        name = f"{each.get(who)} over {each.get('over')}" + (f": {', '.join(about)}" if about else "")
        told = "more than chance" if sure else "may be chance"
        rows.append((name, [Cell(interval(each, "+")), Cell(told, tone="kept" if sure else "")]))
    return Table(title, ["", "difference", ""], rows)


def interval(each: dict[str, Any], sign: str = "") -> str:
    """A mean with the interval around it, as far as there is one: "0.613 [0.580, 0.646]"."""
    mean, low, high = (figure(each.get(key)) for key in ("mean", "low", "high"))
    if mean is None:
        return "–"
    told = f"{mean:{sign}.3f}"
    return told if low is None or high is None else f"{told} [{low:.3f}, {high:.3f}]"


def figure(value: Any) -> float | None:
    """A number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of a list; nothing of what is no list."""
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))
