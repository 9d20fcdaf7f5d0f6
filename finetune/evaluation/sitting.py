"""Who takes which exam, and who judges: everything found and checked before anybody is asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from augment.engines import EngineOptions, open_engine
from augment.errors import RecipeError
from augment.records import fingerprint
from augment.tables import one_line
from finetune.evaluation.answering import Candidate, Manner
from finetune.evaluation.candidates import candidates
from finetune.evaluation.exam import Exam, open_exam, read_answers
from finetune.evaluation.floor import BESIDE
from finetune.evaluation.judging import Judge
from finetune.evaluation.recipe import EvaluationRecipe

EVALUATIONS = Path("evaluations")
"""Where evaluations go when the user names no place."""


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
    identity = fingerprint("evaluation", *parts, asdict(manner(recipe)), recipe.seed)
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
    options = EngineOptions(
        base_url=recipe.judge_url or recipe.base_url, concurrency=recipe.concurrency, timeout=recipe.timeout
    )
    engine = open_engine(recipe.judge or "", options)
    return Judge(engine, recipe.judge_sees, recipe.votes, recipe.heat, recipe.max_tokens, recipe.seed)


def manner(recipe: EvaluationRecipe) -> Manner:
    """How the recipe puts the questions."""
    return Manner(recipe.temperature, recipe.max_tokens, recipe.system, recipe.seed)
