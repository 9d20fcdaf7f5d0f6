"""A comparison of two runs as a person reads it: what moved, in tables, then some rows; what did not is left out."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.text import Text

from augment.diff.marks import as_text, marked
from augment.records import CONTENT
from augment.summary import FAILED
from augment.tables import aligned, escaped, one_line

_TOP = 10
"""Labels, generators and rejections shown; the rest is summed."""
_NAME = 30
"""Cells shown of a label or a score."""
_REASON = 44
"""Cells shown of a reason: with its filter and counts it fits 80."""
_STYLES = {"=": "", "-": "red", "+": "green"}


def print_diff(found: dict[str, Any], console: Console) -> None:
    """Print what `augment.diff.compare` found."""

    def say(line: str, style: str = "") -> None:
        console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    rows, changes = found["rows"], found["recipe"]
    old, new = (escaped(found[side]["run"]) for side in ("old", "new"))
    if found["same"] and not changes:
        say(f"nothing differs between {old} and {new}: the same {rows['after']:,} rows, scores and rejections")
        return
    say(escaped(found["relation"]["text"]))
    for each in changes:
        say(f"recipe: {escaped(each['key'])} {_value(each['before'])} → {_value(each['after'])}")
    if found["same"]:
        say(f"nothing else differs: the same {rows['after']:,} rows, scores and rejections")
        return
    for title, table in _tables(found):
        say("")
        for place, line in enumerate(table):
            say(line, "" if place else "bold")
        if title:
            say(title)
    for kind, some in found["examples"].items():
        if some:
            say("")
            say(f"{kind} ({len(some):,} of {rows[kind]:,})", "bold")
            for each in some:
                _print_example(each, console)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return one_line(",".join(map(str, value))) or "none"
    return "none" if value is None else one_line(str(value))


def _tables(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Each table with the line under it, where something moved."""
    tables = [_counts(found)]
    labels = found["labels"]
    moved = [each for each in labels["labels"] if _label(each)[1:3] != _label(each)[3:5]]
    if moved:
        moved.sort(key=lambda each: -abs(each["share_after"] - each["share_before"]))
        lines = [_label(each) for each in moved[:_TOP]]
        if moved[_TOP:]:
            lines.append(_label({**_summed(moved[_TOP:]), "label": f"{len(moved) - _TOP:,} more"}))
        still = len(labels["labels"]) - len(moved)
        under = f"total variation distance {labels['distance']:.4f}" + (
            f"; {_many(still, 'label')} as before" if still else ""
        )
        tables.append((under, aligned(["label", "before", "", "after", "", "by"], lines)))
    tables += _counted("variants by", found["generators"], ["generator"])
    tables += _lengths(found["lengths"])
    tables += _scores(found["scores"])
    tables += _counted("rejected by", found["rejected"], ["dropped_by", "reason"])
    if not found["same_rejected"] and all(each["before"] == each["after"] for each in found["rejected"]):
        tables.append(("", ["rejected: as many for each reason, not the same rows"]))
    return tables


def _counts(found: dict[str, Any]) -> tuple[str, list[str]]:
    names = ("before", "after", "unchanged", "changed", "added", "removed")
    lines = [[kind, *(f"{found[kind][name]:,}" for name in names)] for kind in ("seeds", "variants", "rows")]
    rows = found["rows"]
    notes = []
    if rows["rescored"]:
        notes.append(f"{rows['rescored']:,} have other scores")
    if rows["remade"]:
        notes.append(f"{rows['remade']:,} were made by another model, prompt, parameters or source")
    under = f"of the unchanged, {' and '.join(notes)}" if notes else ""
    return under, aligned(["", *names], lines)


def _label(each: dict[str, Any]) -> list[str]:
    name = "(none)" if each["label"] is None else one_line(each["label"], _NAME)
    shares = [f"{each[f'share_{side}']:.1%}" for side in ("before", "after")]
    by = 100 * (each["share_after"] - each["share_before"])
    return [name, f"{each['before']:,}", shares[0], f"{each['after']:,}", shares[1], f"{by:+.1f} points"]


def _summed(some: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: sum(each[key] for each in some) for key in some[0] if key not in ("label", "dropped_by", "reason")}


def _counted(title: str, some: list[dict[str, Any]], columns: list[str]) -> list[tuple[str, list[str]]]:
    """Counts before and after, where one moved."""
    moved = [each for each in some if each["before"] != each["after"]]
    if not moved:
        return []
    moved.sort(key=lambda each: -abs(each["after"] - each["before"]))
    lines = []
    for each in moved[:_TOP]:
        names = [str(each[column] or "(none)") for column in columns]
        if names[0] == FAILED and columns[0] == "dropped_by":
            names[0] = "failed"
        lines.append([*(one_line(name, _REASON) for name in names), *_numbers(each)])
    if moved[_TOP:]:
        more = [f"{len(moved) - _TOP:,} more", *("" for _ in columns[1:])]
        rest = {name: sum(each[name] for each in moved[_TOP:]) for name in ("before", "after")}
        lines.append([*more, *_numbers(rest)])
    headings = [title, *(column for column in columns[1:]), "before", "after", "by"]
    return [("", aligned(headings, lines, left=len(columns)))]


def _numbers(each: dict[str, int]) -> list[str]:
    return [f"{each['before']:,}", f"{each['after']:,}", f"{each['after'] - each['before']:+,}"]


_LENGTH = ("n", "median", "mean", "p90")
_SCORE = ("n", "mean", "median", "p10", "p90")


def _lengths(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Three lines a text, where its lengths moved."""
    lines = []
    for name, each in found.items():
        if any(each["by"].values()) or each["before"] != each["after"]:
            for called, side in ((name, "before"), ("", "after"), ("", "by")):
                values = [each[side][key] for key in _LENGTH]
                lines.append([called, side, *(_number(value, digits=1, sign=side == "by") for value in values)])
    return [("", aligned(["characters", "", *_LENGTH], lines, left=2))] if lines else []


def _scores(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Two lines a score, where more than its number of values moved, and the scores that one run lacks."""
    lines = []
    still = 0
    for name, each in found["columns"].items():
        shown = {side: _score(each[side]) for side in ("before", "after") if each[side] is not None}
        if len(shown) == 2 and shown["before"][1:] == shown["after"][1:]:
            still += 1
            continue
        for place, (side, values) in enumerate(shown.items()):
            lines.append(["" if place else one_line(name, _NAME), side, *values])
    notes = [f"only {side} has {', '.join(map(one_line, names))}" for side, names in _lone(found) if names]
    if still and lines:
        notes.append(f"spread as before: {_many(still, 'other score')}")
    if not lines:
        return [("", [note]) for note in notes]
    return [("\n".join(notes), aligned(["score", "", *_SCORE], lines, left=2))]


def _score(values: dict[str, Any]) -> list[str]:
    if "share_true" in values:
        share = values["share_true"]
        return [f"{values['n']:,}", "-" if share is None else f"{share:.1%} true", "", "", ""]
    return [_number(values[key]) for key in _SCORE]


def _lone(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [("OLD", found["only_old"]), ("NEW", found["only_new"])]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _number(value: float | None, digits: int | None = None, sign: bool = False) -> str:
    """A count whole; a measure with so many digits after the point, or four in all."""
    if value is None or not math.isfinite(value):
        return "-" if value is None else str(value)
    plus = "+" if sign and value else ""
    if value == int(value):
        return f"{int(value):{plus},}"
    return f"{value:{plus},.{digits}f}" if digits is not None else f"{value:{plus}.4g}"


def _print_example(each: dict[str, Any], console: Console) -> None:
    """A line for the row, and one for each of its texts or of what changed in them."""
    row = each.get("new") or each["old"]
    ids = dict.fromkeys(one_line(each[side]["id"]) for side in ("old", "new") if side in each)
    origin = row["generator"] if row["generator"] == "seed" else f"{row['generator']} {row['variant']}"
    changed = each.get("fields")
    label = f" · {one_line(row['label'], _NAME)}" if row["label"] is not None and changed is None else ""
    _say(console, "", Text(f"{' → '.join(ids)}  {one_line(origin)}{label}"))
    if changed is not None:
        for name in changed:
            _say(console, name, _change(name, each["old"][name], each["new"][name]))
        return
    for name in CONTENT:
        if name != "label" and row[name] is not None:
            _say(console, name, Text(one_line(row[name])))


def _say(console: Console, name: str, text: Text) -> None:
    """One line; on a terminal that is too narrow, wrapped under itself."""
    lead = f"  {name:<9} " if name else ""
    width = max(20, console.width - len(lead)) if console.is_terminal else 100_000
    for place, line in enumerate(text.wrap(console, width, overflow="fold")):
        line.rstrip()
        console.print(Text(" " * len(lead) if place else lead) + line, highlight=False, soft_wrap=True)


def _change(name: str, old: str | None, new: str | None) -> Text:
    if old is None or new is None or name in ("label", "image", "boxes"):
        return Text(" → ".join("(none)" if each is None else one_line(each) for each in (old, new)))
    return Text.assemble(*((as_text([piece]), _STYLES[piece[0]]) for piece in marked(old, new)))
