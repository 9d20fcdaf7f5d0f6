"""evaluate(recipe): answer the exam, score, judge, compare, and write it all down.

The folder: evaluation.json, everything that is reported; scores.parquet, a line for each model and row; README.md, the
card; similarity.svg, rates.svg and judge.svg; manifest.json, written last.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from augment import __version__
from augment.engines.ask import Paid
from augment.errors import RunError
from augment.lock import HOLDER, LOCK, holding
from augment.manifest import MANIFEST, publish
from augment.places import home
from augment.replies import ReplyStore
from finetune.evaluation.answering import answers_of, given
from finetune.evaluation.card import evaluation_card
from finetune.evaluation.exam import ExamCard
from finetune.evaluation.floor import GOLD, ceiling, few_of, floor
from finetune.evaluation.judging import judge
from finetune.evaluation.plots import judge_plot, rates_plot, similarity_plot
from finetune.evaluation.results import differences, failures, histograms, metrics_of, parted, table, verdict
from finetune.evaluation.sitting import Sitting, manner
from finetune.scorers import TABLE

RECORD = "evaluation.json"
JUDGED = "judge.svg"
FLOOR_JUDGED = 200
"""Rows of the floor and of the gold answers that a judge sees at most: enough for an interval of a few hundredths."""


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation. `record` is what evaluation.json holds; `already` tells that it was there before."""

    path: Path
    record: dict[str, Any]
    already: bool = False


def evaluate(sitting: Sitting, step: Callable[[str], None] = lambda _: None) -> Evaluated:
    """Answer, score, judge, compare and write; `step` is told, for each settled request, what it was about.

    Raises:
        EngineError: an engine refuses every request.
        Interrupted: an engine was drained; what was answered is kept.
        RunError: the folder is held by another process or holds something else.
    """
    out = sitting.out
    with holding(out):
        done = _finished(sitting)
        if done is not None:
            return Evaluated(out, done, already=True)
        paid = Paid()
        scores, beside = _scored(sitting, paid, step)
        record = _record(sitting, scores, beside, paid)
        buffer = io.BytesIO()
        pl.concat([scores, beside], how="diagonal").write_parquet(buffer)
        files = {
            RECORD: json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False).encode() + b"\n",
            "scores.parquet": buffer.getvalue(),
            "similarity.svg": similarity_plot(record).encode(),
            "rates.svg": rates_plot(record).encode(),
            **({JUDGED: judge_plot(record).encode()} if sitting.judge else {}),
            "README.md": evaluation_card(record).encode(),
        }
        publish(out, files, {"augment": __version__, "kind": "evaluation", "identity": sitting.identity})
        if sitting.judge is None:
            (out / JUDGED).unlink(missing_ok=True)  # of an evaluation that this one has replaced
        return Evaluated(out, record)


def _finished(sitting: Sitting) -> dict[str, Any] | None:
    """The record of the same evaluation, if it is in the folder; nothing else is ever written over unasked."""
    out = sitting.out
    others = {each.name for each in out.iterdir()} - {LOCK, HOLDER, f".{RECORD}.part"}
    if not others:
        return None
    try:
        found: dict[str, Any] = json.loads((out / RECORD).read_text("utf-8"))
        if found["kind"] != "evaluation":
            raise ValueError("another record")
        same = found["identity"] == sitting.identity and (out / MANIFEST).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{out} is not empty and holds no evaluation; choose another --out") from None
    if sitting.recipe.overwrite:
        return None
    if same:
        return found
    if (out / MANIFEST).is_file():
        raise RunError(f"{out} holds another evaluation; choose another --out, or add --overwrite")
    return None


def _scored(sitting: Sitting, paid: Paid, step: Callable[[str], None]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The models' answers with every score, and those of the floor and (where there is a judge) the gold answers."""
    exam, recipe = sitting.exam, sitting.recipe
    frames = list(given(exam, sitting.answers))
    with ReplyStore(home() / "replies.sqlite") as store:
        for each in sitting.candidates:
            try:
                frames.append(answers_of(exam, each, manner(recipe), store, paid, partial(step, each.name)))
            finally:  # also when it failed: whoever comes next needs the room
                if (release := getattr(each.engine, "release", None)) is not None:
                    release()
        beside = floor(exam, recipe.seed)
        if sitting.judge is not None:
            beside = pl.concat([beside, ceiling(exam)])
        answered, beside = by_rule(pl.concat(frames)), by_rule(beside)
        if sitting.judge is not None:
            card, few = exam.card, few_of(exam, FLOOR_JUDGED, recipe.seed)
            answered = judge(answered, card, sitting.judge, store, paid, partial(step, "judge"))
            seen = judge(
                beside.filter(pl.col("id").is_in(few)), card, sitting.judge, store, paid, partial(step, "judge")
            )
            beside = pl.concat([seen, beside.filter(~pl.col("id").is_in(few))], how="diagonal")
    return parted(answered, exam.card), parted(beside, exam.card)


def by_rule(frame: pl.DataFrame) -> pl.DataFrame:
    """The answers with the scores of every scorer."""
    for name in TABLE.targets():
        frame = TABLE.load(name)()(frame)
    return frame


def dimensions_of(card: ExamCard) -> dict[str, list[dict[str, Any]]]:
    """What a judge scores answers on, by the group of their rows."""
    return {group.name: [each.model_dump() for each in group.dimensions] for group in card.groups}


def _record(sitting: Sitting, scores: pl.DataFrame, beside: pl.DataFrame, paid: Paid) -> dict[str, Any]:
    exam, recipe = sitting.exam, sitting.recipe
    lines = table(scores)
    under = [{"name": each.pop("model"), **each} for each in table(beside)]
    apart = differences(scores, sitting.names[0])
    labels = exam.rows["label"].drop_nulls().value_counts(sort=True)
    lowest = [each for each in under if each["name"] != GOLD]
    return {
        "kind": "evaluation",
        "augment": __version__,
        "identity": sitting.identity,
        "exam": {
            "name": exam.name,
            "title": exam.card.title,
            "rows": len(exam.rows),
            "without_gold": exam.rows["gold"].null_count(),
            "fingerprint": exam.fingerprint,
            "labels": dict(labels.iter_rows()),
            "notes": list(exam.notes),
        },
        "models": [each.told() for each in sitting.candidates]
        or [{"name": name, "engine": None, "model": None, "revision": None, "adapter": None} for name in sitting.names],
        "manner": asdict(manner(recipe)) if sitting.candidates else None,
        "metrics": metrics_of(scores),
        "table": lines,
        "failures": failures(scores),
        "floor": lowest,
        "gold": [each for each in under if each["name"] == GOLD],
        "differences": apart,
        "histograms": histograms(scores),
        "judge": {**sitting.judge.told(), "dimensions": dimensions_of(exam.card)} if sitting.judge else None,
        "paid": asdict(paid),
        "recipe": recipe.model_dump(mode="json", exclude={"out", "overwrite", "name"}),
        "verdict": verdict(lines, lowest, apart),
    }
