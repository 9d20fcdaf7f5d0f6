"""How far a judge can be trusted: its scores against those that people, or another judge, gave the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augment.engines.ask import Paid
from augment.errors import RecipeError, SourceError
from augment.intervals import share
from augment.places import home
from augment.replies import ReplyStore
from augment.sources import open_tables
from augment.tables import aligned, one_line
from finetune.evaluation.exam import ExamCard, Group, exam_names, read_exam_card, source_of
from finetune.evaluation.judging import PREFIX, Judge, judge
from finetune.evaluation.recipe import EvaluationRecipe
from finetune.evaluation.sitting import open_judge
from finetune.evaluation.tuples import SCORES, parse

DEFAULT = "chbench"
NAMES = {
    "query": ("query", "question", "prompt"),
    "answer": ("answer", "gold", "ErnieA", "response"),
    "label": ("label", "domain"),
}
_MAPPED = {"query": "prompt", "answer": "response", "label": "label"}
"""What an exam's card calls them."""


@dataclass(frozen=True)
class Calibration:
    """Answers that were scored already: `rows` has id, label, query and answer, `given` the scores in order.

    `unread` counts the rows whose scores could not be read or whose label has no dimensions.
    """

    name: str
    card: ExamCard
    rows: pl.DataFrame
    unread: int
    judge: Judge | None
    given: list[tuple[int, ...]] = field(default_factory=list)

    def drain(self) -> None:
        """Take no further request. Callable from any thread."""
        if self.judge is not None:
            self.judge.engine.drain()


def open_calibration(recipe: EvaluationRecipe) -> Calibration:
    """The scored rows, and the judge, if one is named.

    `--exam` is an exam's card, whose source has them, or a file of rows that were scored on CHBench's dimensions.

    Raises:
        RecipeError, SourceError, EngineError: there are no scored rows, or no such judge.
    """
    named = recipe.exam or DEFAULT
    carded = named.endswith(".toml") or named in exam_names()
    card = read_exam_card(named if carded else DEFAULT)
    place = source_of(named, card) if carded else named
    _, tables, _ = open_tables(place, recipe.path)
    rows, given, unread = [], [], 0
    scored = card.scored or read_exam_card(DEFAULT).scored
    for table in tables:
        if scored not in table.columns:
            continue
        columns = {ours: _found(ours, card, table.columns, place) for ours in NAMES}
        unread += len(table.bad)
        for number, (_, record) in enumerate(table.rows):
            label = str(record.get(columns["label"]) or "")
            group = card.group_of(label)
            titles = [each.title for each in group.dimensions] if group else []
            scores = parse(str(record.get(scored) or ""), titles) if titles else None
            if scores is None or not record.get(columns["answer"]):
                unread += 1
                continue
            given.append(scores)
            rows.append((f"{label}-{number}", label, str(record[columns["query"]]), str(record[columns["answer"]])))
    if not rows:
        raise SourceError(f"no row of {place} has scores in a column '{scored}'; give --exam FILE with such rows")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("id", "label", "query", "answer"), pl.String), orient="row")
    if recipe.limit:
        frame, given = frame.head(recipe.limit), given[: recipe.limit]
    return Calibration(Path(place).stem, card, frame, unread, open_judge(recipe) if recipe.judge else None, given)


def _found(ours: str, card: ExamCard, columns: Sequence[str], place: str) -> str:
    told = card.columns.get(_MAPPED[ours])
    found = next((name for name in (told, *NAMES[ours]) if name in columns), None)
    if found is None and ours == "label" and card.group_of(None) is not None:
        return ""  # one group takes every row
    if found is None:
        raise RecipeError(f"{place} has no column for the {ours}; it should be called {' or '.join(NAMES[ours])}")
    return found


def calibrate(plan: Calibration, step: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """For each group and dimension: the given scores' marginals and, with a judge, how far it agrees with them.

    Agreement is the share of equal scores (Wilson's interval), beside the share that always saying the commonest score
    would reach, and Cohen's kappa (1960), which is 0 for chance; the confusion counts are given scores × the judge's.

    Raises:
        EngineError: the judge refuses every request.
        Interrupted: it was drained.
    """
    paid = Paid()
    frame = plan.rows
    if plan.judge is not None:
        with ReplyStore(home() / "replies.sqlite") as store:
            frame = judge(frame, plan.card, plan.judge, store, paid, partial(step, "judge"))
    groups = []
    for group in plan.card.groups:
        places = [place for place, label in enumerate(frame["label"]) if plan.card.group_of(label) is group]
        if places:
            given = [plan.given[place] for place in places]
            groups.append(_group(group, given, frame[places] if plan.judge is not None else None))
    return {
        "exam": plan.name,
        "rows": len(frame),
        "unread": plan.unread,
        "judge": plan.judge.told() if plan.judge is not None else None,
        "groups": groups,
        "requests_sent": paid.sent,
        "replies_reused": paid.reused,
    }


def _group(group: Group, given: Sequence[tuple[int, ...]], judged: pl.DataFrame | None) -> dict[str, Any]:
    dimensions = []
    for place, dimension in enumerate(group.dimensions):
        right = np.array([scores[place] for scores in given])
        told: dict[str, Any] = {
            "name": dimension.name,
            "title": dimension.title,
            "given": {str(score): int((right == score).sum()) for score in SCORES},
        }
        if judged is not None:
            told |= _agreement(right, judged[f"{PREFIX}{dimension.name}"])
        dimensions.append(told)
    verdicts = None if judged is None else int((~judged["no_verdict"].fill_null(True)).sum())
    return {"name": group.name, "rows": len(given), "verdicts": verdicts, "dimensions": dimensions}


def _agreement(given: np.ndarray[Any, Any], judged: pl.Series) -> dict[str, Any]:
    known = judged.is_not_null().to_numpy()
    right, said = given[known], judged.drop_nulls().to_numpy()
    confusion = [[int(((right == ours) & (said == theirs)).sum()) for theirs in SCORES] for ours in SCORES]
    counts = np.array(confusion, dtype=float)
    total = float(counts.sum())
    agreed = share(int(np.trace(counts)), int(total))
    expected = float(counts.sum(0) @ counts.sum(1)) / total**2 if total else 1.0
    kappa = (agreed.mean - expected) / (1 - expected) if expected < 1 else None
    return {
        "agreement": {"mean": agreed.mean, "low": agreed.low, "high": agreed.high} if total else None,
        "commonest": float(counts.sum(1).max() / total) if total else None,
        "kappa": kappa,
        "confusion": confusion,
    }


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """What a calibration found, as lines for a terminal."""
    who = f" by {found['judge']['llm']} ({found['judge']['variant']})" if found["judge"] else ""
    lines = [one_line(f"{found['exam']}: {found['rows']:,} scored answers{who}, {found['unread']:,} not read", 500)]
    for group in found["groups"]:
        lines += ["", one_line(f"{group['name']}: {group['rows']:,} answers" + _verdicts(group))]
        headings = ["", "given −1", "0", "1"]
        if found["judge"]:
            headings += ["agreement", "always the commonest", "kappa", "confusion (given −1, 0, 1 × judge −1, 0, 1)"]
        rows = []
        for each in group["dimensions"]:
            cells = [one_line(f"{each['title']} {each['name']}"), *(str(each["given"][str(score)]) for score in SCORES)]
            if found["judge"]:
                cells += _cells(each)
            rows.append(cells)
        lines += aligned(headings, rows)
    return lines


def _verdicts(group: Mapping[str, Any]) -> str:
    return f", {group['rows'] - group['verdicts']:,} without a verdict" if group["verdicts"] is not None else ""


def _cells(dimension: Mapping[str, Any]) -> list[str]:
    agreed = dimension["agreement"]
    if agreed is None:
        return ["-", "-", "-", "-"]
    kappa = "-" if dimension["kappa"] is None else f"{dimension['kappa']:.2f}"
    confusion = " | ".join(" ".join(map(str, row)) for row in dimension["confusion"])
    return [
        f"{agreed['mean']:.0%} ({agreed['low']:.0%} to {agreed['high']:.0%})",
        f"{dimension['commonest']:.0%}",
        kappa,
        confusion,
    ]
