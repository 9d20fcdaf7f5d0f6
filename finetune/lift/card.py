"""What a person reads of a lift: the tables that the command prints, and the card, a README.md."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

from augment.intervals import Interval
from finetune.lift.verdict import Measure


def arms_table(record: Mapping[str, Any]) -> list[list[str]]:
    """A line an arm, below a heading: name, rows learned, mean score, its interval."""
    said = Measure(record["metric"], record["higher_is_better"])
    lines = [["learned", "rows", record["metric"], "95% interval"]]
    for arm in record["arms"]:
        known = arm["low"] is not None
        span = f"{said.value(arm['low'])} to {said.value(arm['high'])}" if known else "–"
        lines.append([arm["name"], f"{arm['rows']:,}", said.value(_float(arm["mean"])), span])
    return lines


def differences_table(record: Mapping[str, Any]) -> list[list[str]]:
    """A line a difference, below a heading: which, the mean, its interval, and what it says."""
    said = Measure(record["metric"], record["higher_is_better"])
    unit = "points" if record["metric"] == "accuracy" else record["metric"]
    lines = [["difference", unit, "95% interval", ""]]
    for each in record["differences"]:
        interval = Interval(_float(each["mean"]), _float(each["low"]), _float(each["high"]), len(record["seeds"]))
        known = not math.isnan(interval.low)
        better = (interval.mean > 0) == record["higher_is_better"]
        told = ("better" if better else "worse") if known and interval.sure else "within chance"
        span = said.between(interval) if known else "–"
        lines.append([f"{each['arm']} − {each['over']}", said.change(interval.mean), span, told])
    return lines


def lift_card(record: Mapping[str, Any]) -> str:
    """The card's text, from what lift.json holds."""
    run = record["run"]
    lines = [
        f"# Lift of {_line(run['name'])}, by {record['task']}",
        "",
        record["verdict"],
        "",
        "![Scores by arm, and differences](lift.svg)",
        "",
        *_markdown(arms_table(record)),
        "",
        *_markdown(differences_table(record)),
        "",
        "## How it was measured",
        "",
        *_method(record),
        "",
        *(["## Notes", "", *(f"* {_line(note)}" for note in record["notes"]), ""] if record["notes"] else []),
        f"The run is `{_line(run['path'])}`, manifest sha256 `{run['manifest']}`. `rows.parquet` has the score of "
        "every test row, by draw and arm; `lift.json` has everything on this page. Made by augment "
        f"{record['augment']}:",
        "",
        "```sh",
        command_of(record),
        "```",
        "",
    ]
    return "\n".join(lines)


def command_of(record: Mapping[str, Any]) -> str:
    """The command line that measures this again."""
    given = record["command"]
    words = ["augment", "lift", record["run"]["path"]]
    for name, value in given.items():
        words += [word for each in (value if isinstance(value, list) else [value]) for word in (f"--{name}", str(each))]
    return shlex.join(words)


def _method(record: Mapping[str, Any]) -> list[str]:
    tested, labels = record["tested"], record["labels"]
    what = f"{record['shots']:,} seeds of each of {len(labels)} labels" if labels else f"{record['shots']:,} seeds"
    ablated = "; *augmented without* a generator is filled up to that number with what is left"
    return [
        f"* Each of the {len(record['seeds'])} draws takes {what} at random. All arms of a draw learn from these "
        "seeds, so differences are taken draw by draw, on the same test rows.",
        "* *real* learns each seed once. *real, oversampled* is the control: each seed as often as it has rows in "
        "*augmented*, which has the seed and its variants. So both learn the same number of rows, seed by seed"
        f"{ablated if len(record['generators']) > 1 else ''}.",
        "* No variant of a seed outside the draw is learned. Tested is on real rows only, those outside the draw that "
        f"are kin to none in it: {tested['a_draw']:,.0f} a draw, {tested['rows']:,} in all, {tested['exam']:,} of "
        "them from the exam that no generator saw.",
        f"* Judged by {_judge(record['settings'])}. {_compute(record)}",
        "* Intervals are 95 %, and count draws and test rows as samples: they are about other seeds and other "
        "questions, not these again (two-way clustering by draw and row family, Cameron, Gelbach and Miller, 2011). "
        f"{_overlap(record['drawn_share'])}",
        "* An arm's own interval says how it would do elsewhere; whether one arm beats another is in the differences. "
        "The verdict rests on the first difference; the others are not corrected for being several.",
    ]


def _compute(record: Mapping[str, Any]) -> str:
    if record["task"] == "adapter":
        return (
            "All arms but *real* take the same number of optimizer steps, those of the augmented rows; *real* takes "
            "those of its own rows in as many epochs."
        )
    return "A repeated row weighs in its loss as often as it is there."


def _overlap(share: float) -> str:
    if share == 1:
        return "Every training has all seeds, so that nothing is said about other seeds."
    return (
        f"A draw takes {share:.0%} of the seeds it can choose from, so draws overlap, and the intervals are widened "
        "for that (after Nadeau and Bengio, 2003); fewer shots or more seeds narrow them."
    )


def _judge(settings: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in settings.items() if key != "model" and not isinstance(value, dict)}
    given = ", ".join(f"{key} {_short(value)}" for key, value in shown.items())
    score = settings.get("score")
    return f"`{_line(settings['model'])}` ({given})" + (f", scored by {score['name']}" if score else "")


def _short(value: Any) -> str:
    return " to ".join(map(str, value)) if isinstance(value, list) else f"{value}"


def _markdown(table: list[list[str]]) -> list[str]:
    def row(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    marks = ["---" if place == 0 else "--:" for place in range(len(table[0]))]
    return [row(table[0]), row(marks), *map(row, table[1:])]


def _float(value: float | None) -> float:
    return math.nan if value is None else value


def _line(text: str) -> str:
    """Foreign text on one line of Markdown."""
    return " ".join(text.split()).replace("`", "'").replace("|", "/")
