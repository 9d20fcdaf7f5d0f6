"""An evaluation's numbers as tables of cells, for the terminal and the card alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from augment.tables import one_line
from finetune.evaluation.judging import PREFIX
from finetune.evaluation.results import SHARES, SIMILARITY
from finetune.scorers.similarity import BINS

_MARKS = re.compile(r"[\\`*<>|]|\](?=\()")


def cell(line: Mapping[str, Any] | None, metric: str, *, signed: bool = False) -> str:
    """A mean with its interval: `.612 (.581 to .644)`, shares in percent, lengths in characters."""
    if line is None or line["mean"] is None:
        return "-"
    sign = "+" if signed else ""

    def number(value: float) -> str:
        if metric in SHARES:
            return f"{value:{sign}.1%}"
        return f"{value:{sign},.0f}" if metric == "length" else f"{value:{sign}.3f}"

    if line["low"] is None or line["low"] == line["high"]:
        return number(line["mean"])
    return f"{number(line['mean'])} ({number(line['low'])} to {number(line['high'])})"


def means(record: Mapping[str, Any], label: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Metrics down, models and the floor across; the floor's cells are empty where it has no such score."""
    models = [each["name"] for each in record["models"]]
    floor = list(dict.fromkeys(each["name"] for each in (*record["floor"], *record["gold"])))
    ours = {(each["model"], each["metric"]): each for each in record["table"] if each["label"] == label}
    under = {
        (each["name"], each["metric"]): each for each in (*record["floor"], *record["gold"]) if each["label"] == label
    }
    rows = []
    for metric in _metrics(record, label):
        cells = [cell(ours.get((model, metric)), metric) for model in models]
        if any(each != "-" for each in cells):
            rows.append([title(metric), *cells, *(cell(under.get((name, metric)), metric) for name in floor)])
    return [label or "all", *models, *floor], rows


def apart(record: Mapping[str, Any], label: str | None = None) -> tuple[list[str], list[list[str]]]:
    """What each model scores more than the first, row by row."""
    found = [each for each in record["differences"] if each["label"] == label]
    models = list(dict.fromkeys(each["model"] for each in found))
    lines = {(each["model"], each["metric"]): each for each in found}
    rows = [
        [title(metric), *(cell(lines.get((model, metric)), metric, signed=True) for model in models)]
        for metric in _metrics(record, label)
        if any((model, metric) in lines for model in models)
    ]
    over = record["models"][0]["name"]
    return [f"{label + ': ' if label else ''}more than {over}", *models], rows


def _metrics(record: Mapping[str, Any], label: str | None) -> list[str]:
    """The metrics as they are shown, the judge's dimensions in the order of the part's own card."""
    groups = record["judge"]["dimensions"] if record["judge"] else {}
    order = {f"{PREFIX}{each['name']}": place for place, each in enumerate(groups.get(label, ()))}
    metrics: list[str] = record["metrics"]
    places = [place for place, metric in enumerate(metrics) if metric in order]
    named = dict(zip(places, sorted((metrics[place] for place in places), key=order.__getitem__), strict=True))
    return [named.get(place, metric) for place, metric in enumerate(metrics)]


def published(record: Mapping[str, Any], label: str | None = None) -> tuple[list[str], list[list[str]]]:
    """The paper's table: how many answers are in each tenth of cosine and of Jaccard, the failed ones in the first."""
    models = [each["name"] for each in record["models"]]
    found = {(each["model"], each["metric"]): each["counts"] for each in record["histograms"] if each["label"] == label}
    headings = [label or "all", *(f"{metric} {model}" for metric in SIMILARITY for model in models)]
    rows = [
        [_bin(place), *(str(found[model, metric][place]) for metric in SIMILARITY for model in models)]
        for place in range(BINS)
    ]
    failed = {each["model"]: str(each["failed"]) for each in record["histograms"] if each["label"] == label}
    return headings, [*rows, ["None!", *(failed[model] for _ in SIMILARITY for model in models)]]


def labels(record: Mapping[str, Any]) -> list[str]:
    """The labels that have tables of their own."""
    return [each for each in dict.fromkeys(line["label"] for line in record["table"]) if each is not None]


def failure(line: Mapping[str, Any]) -> str:
    """How many answers of a model failed, and why."""
    return f"{line['rows']:,} answers failed, most often with: {line['commonest']}"


def title(metric: str) -> str:
    """A metric as people read it."""
    return metric.replace(PREFIX, "judge: ").replace("_", " ")


def _bin(place: int) -> str:
    return f"[{place / BINS:g}, {(place + 1) / BINS:g}{']' if place == BINS - 1 else ')'}"


def plain(text: str, limit: int = 120) -> str:
    """Foreign text on one line, shown by Markdown as it stands: no link, image, mark-up or column of its own."""
    return _MARKS.sub(r"\\\g<0>", one_line(text, limit))


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table's lines in Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(plain, cells)) + " |"

    return [line(headings), "|---" * len(headings) + "|", *map(line, rows)]
