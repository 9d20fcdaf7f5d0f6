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
from augment.engines import EngineOptions, open_engine
from augment.engines.transformers import Transformers
from augment.errors import RecipeError, RunError
from augment.lock import HOLDER, LOCK, Lock
from augment.manifest import MANIFEST, publish
from augment.places import home
from augment.records import fingerprint
from augment.replies import ReplyStore
from augment.tables import one_line
from finetune.evaluation.answering import Candidate, Manner, Paid, answers_of, given
from finetune.evaluation.candidates import candidates
from finetune.evaluation.card import evaluation_card
from finetune.evaluation.exam import Exam, open_exam, read_answers
from finetune.evaluation.floor import BESIDE, GOLD, ceiling, few_of, floor
from finetune.evaluation.judging import Judge, judge
from finetune.evaluation.plots import judge_plot, rates_plot, similarity_plot
from finetune.evaluation.recipe import EvaluationRecipe
from finetune.evaluation.results import differences, failures, histograms, metrics_of, parted, table, verdict
from finetune.scorers import TABLE

RECORD = "evaluation.json"
JUDGED = "judge.svg"
EVALUATIONS = Path("evaluations")
FLOOR_JUDGED = 200
"""Rows of the floor and of the gold answers that a judge sees at most: enough for an interval of a few hundredths."""


@dataclass(frozen=True)
class Sitting:
    """An evaluation that can start: the exam, who takes it and who judges; `answers` are those that exist already."""

    recipe: EvaluationRecipe
    exam: Exam
    candidates: tuple[Candidate, ...]
    answers: dict[str, list[str | None]]
    judge: Judge | None
    identity: str
    out: Path

    def drain(self) -> None:
        """Take no further request, whoever is answering. Callable from any thread."""
        for each in self.candidates:
            each.engine.drain()
        if self.judge is not None:
            self.judge.engine.drain()

    @property
    def names(self) -> list[str]:
        """The models' names, in the order they are shown."""
        return [each.name for each in self.candidates] or list(self.answers)


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation. `record` is what evaluation.json holds; `already` tells that it was there before."""

    path: Path
    record: dict[str, Any]
    already: bool = False


def sit(recipe: EvaluationRecipe) -> Sitting:
    """Read the exam and find everybody; nothing is asked and no weights are loaded.

    Raises:
        AugmentError: something cannot be found, read or reached, or does not go together.
    """
    answers: dict[str, list[str | None]] = {}
    if recipe.answers is not None:
        exam, answers = read_answers(recipe.answers, recipe.card)
    else:
        exam = open_exam(
            recipe.card,
            file=recipe.exam,
            path=recipe.path,
            columns=recipe.map,
            holdout=recipe.holdout,
            everything=recipe.everything,
        )
    if recipe.limit:
        exam = Exam(exam.name, exam.card, exam.rows.head(recipe.limit), exam.notes)
        answers = {name: column[: recipe.limit] for name, column in answers.items()}
    who = tuple(candidates(recipe, exam)) if recipe.answers is None else ()
    for name in (each for each in (*answers, *(each.name for each in who)) if each in BESIDE):
        raise RecipeError(f"a model cannot be called '{name}', which is in every table already; rename it")
    judge = _judge(recipe, exam)
    if judge is not None:
        exam = _noted(exam)
    parts = [exam.fingerprint, exam.card.model_dump(), answers, [each.told() for each in who], judge and judge.told()]
    identity = fingerprint("evaluation", *parts, asdict(_manner(recipe)), recipe.seed)
    out = recipe.out or EVALUATIONS / f"{exam.name}-{identity[:8]}"
    return Sitting(recipe, exam, who, answers, judge, identity, out)


def _judge(recipe: EvaluationRecipe, exam: Exam) -> Judge | None:
    if recipe.judge is None:
        return None
    if not any(exam.card.group_of(label) for label in exam.rows["label"].unique()):
        named = f"the card {recipe.card} has none for its labels" if recipe.card else "no card was given"
        raise RecipeError(
            f"--judge needs dimensions, and {named}; give the exam a card, such as chbench or a TOML file"
        )
    return open_judge(recipe)


def _noted(exam: Exam) -> Exam:
    """The exam with a note of the rows that no judge will see."""
    counts = exam.rows["label"].value_counts(sort=True)
    without = {label: count for label, count in counts.iter_rows() if exam.card.group_of(label) is None}
    if not without:
        return exam
    named = ", ".join(one_line(label or "no label", 40) for label in list(without)[:5])
    note = f"{sum(without.values()):,} questions are not judged: no group of the card has their label ({named})"
    return Exam(exam.name, exam.card, exam.rows, (*exam.notes, note))


def open_judge(recipe: EvaluationRecipe) -> Judge:
    """The judge that `--judge` names.

    Raises:
        RecipeError, EngineError: there is no such engine, or it cannot be reached.
    """
    options = EngineOptions(recipe.judge_url or recipe.base_url, recipe.concurrency, recipe.timeout)
    engine = open_engine(recipe.judge or "", options)
    return Judge(engine, recipe.judge_sees, recipe.votes, recipe.heat, recipe.max_tokens, recipe.seed)


def _manner(recipe: EvaluationRecipe) -> Manner:
    return Manner(recipe.temperature, recipe.max_tokens, recipe.system, recipe.seed)


def evaluate(sitting: Sitting, step: Callable[[str], None] = lambda _: None) -> Evaluated:
    """Answer, score, judge, compare and write; `step` is told, for each settled request, what it was about.

    Raises:
        EngineError: an engine refuses every request.
        Interrupted: an engine was drained; what was answered is kept.
        RunError: the folder is held by another process or holds something else.
    """
    out = sitting.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = Lock.take(out)
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror}; choose another --out") from None
    try:
        lock.sign()
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
    finally:
        lock.release()


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
            frames.append(answers_of(exam, each, _manner(recipe), store, paid, partial(step, each.name)))
            if isinstance(each.engine, Transformers):
                each.engine.release()
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


def _record(sitting: Sitting, scores: pl.DataFrame, beside: pl.DataFrame, paid: Paid) -> dict[str, Any]:
    exam, recipe = sitting.exam, sitting.recipe
    lines = table(scores)
    under = [{"name": each.pop("model"), **each} for each in table(beside)]
    apart = differences(scores, sitting.names[0])
    groups = {group.name: [each.model_dump() for each in group.dimensions] for group in exam.card.groups}
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
        "manner": asdict(_manner(recipe)) if sitting.candidates else None,
        "metrics": metrics_of(scores),
        "table": lines,
        "failures": failures(scores),
        "floor": lowest,
        "gold": [each for each in under if each["name"] == GOLD],
        "differences": apart,
        "histograms": histograms(scores),
        "judge": {**sitting.judge.told(), "dimensions": groups} if sitting.judge else None,
        "paid": asdict(paid),
        "recipe": recipe.model_dump(mode="json", exclude={"out", "overwrite", "name"}),
        "verdict": verdict(lines, lowest, apart),
    }
