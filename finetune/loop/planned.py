"""A recipe to a loop with every name, source and key checked, and nothing run yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from augment.errors import RecipeError
from augment.images.exports.write import FORMATS
from augment.plan import Plan, make_plan
from augment.recipe import Recipe
from augment.registry import closest
from augment.resolved import resolved
from filters.fold import fold
from finetune.evaluation.exam import open_exam, read_exam_card, source_of
from finetune.loop.recipe import LoopRecipe
from finetune.model import open_base
from finetune.recipe import method_of

PICTURED = ("image", "paired")


@dataclass(frozen=True)
class Amount:
    """How many variants a seed gets: `n`, or another number where its label has one."""

    n: int
    labels: Mapping[str, int]

    def by_label(self) -> dict[str, str]:
        """As the recipe of an augmentation says it."""
        return {name: f"{times}x" for name, times in sorted(self.labels.items()) if times != self.n}

    def and_more(self, more: Mapping[str | None, int]) -> Amount:
        """With so many more for each seed of a label; None stands for every seed. No label gets fewer than before."""
        every = more.get(None, 0)
        names = [*self.labels, *(name for name in more if name is not None and name not in self.labels)]
        labels = {name: self.labels.get(name, self.n) + more.get(name, 0) + every for name in names}
        return Amount(self.n + every, labels)


@dataclass(frozen=True)
class Planned:
    """A loop that can start. `first` is the plan of the first round's texts, with nobody to answer.

    `exam` has id, label, query and gold. `words` are what the user said on the command line besides the recipe.
    """

    recipe: LoopRecipe
    file: Path | None
    out: Path
    names: tuple[str, ...]
    first: Plan
    exam: pl.DataFrame
    words: tuple[str, ...] = ()

    @property
    def seeds(self) -> pl.DataFrame:
        """The rows that variants are made of."""
        return self.first.seeds

    @property
    def validation(self) -> pl.DataFrame:
        """The exam's twin: rows that nothing is made of and nothing learns."""
        return self.first.source.validation

    @property
    def amount(self) -> Amount | None:
        """How many variants a seed gets in the first round; None where the recipe says a number in all."""
        return Amount(self.first.per_seed, {}) if self.first.per_seed else None

    def text(self, number: int, amount: Amount | None) -> Recipe:
        """The text augmentation of a round."""
        recipe = text_of(self.recipe, self.round(number) / "text", amount.by_label() if amount else {})
        return recipe if amount is None else recipe.model_copy(update={"n": f"{amount.n}x"})

    def round(self, number: int) -> Path:
        """The folder of a round."""
        return self.out / f"round-{number}"


def planned(recipe: LoopRecipe, file: Path | None = None, words: Sequence[str] = ()) -> Planned:
    """Check all that can be checked before anything is made; `file` is where the recipe is written.

    `words` are what the user said besides it.

    Raises:
        AugmentError: a name, key or value is wrong, or a source, an exam or the base cannot be found.
    """
    out = recipe.folder
    text = checked(recipe)
    if recipe.pretrain is None:
        open_base(recipe.base)
    for modality in PICTURED:
        if getattr(recipe, modality) is not None:
            make_plan(recipe.pictures(out / modality, modality)[0], None)
    first = make_plan(text, None)
    if recipe.rounds > 1 and first.per_seed is None:
        raise RecipeError(f"rounds = {recipe.rounds}: each round makes more for each seed; write [text] n as 3x")
    if recipe.pretrain is not None and first.source.validation.is_empty():
        raise RecipeError("[pretrain] measures what it learnt on validation rows, and there is none; raise validation")
    if recipe.rounds > 1 and first.source.validation.is_empty():
        raise RecipeError(
            f"rounds = {recipe.rounds} are steered by validation rows, and there is none; raise validation"
        )
    if recipe.rounds > 1 and text.balance:
        raise RecipeError(
            f"rounds = {recipe.rounds}: [text] balance makes labels equally many, and rounds make more of the weak "
            "ones; leave one out"
        )
    return Planned(recipe, file, out, tuple(recipe.names()), first, _exam(recipe, first), tuple(words))


def checked(recipe: LoopRecipe) -> Recipe:
    """The first round's text augmentation, once the names and keys of all tables are known to be right.

    Raises:
        RecipeError: one is wrong.
    """
    out = recipe.folder
    text = text_of(recipe, out / "round-1" / "text", {})
    resolved(text)
    for number, name in enumerate(recipe.names()):
        training = recipe.training(number, out / "round-1" / "text", out / name)
        method_of(training, "chat")
        if training.revision is not None:
            raise RecipeError(
                f"[finetune] revision: the exam would ask another one than '{training.revision}'; give base = FOLDER, "
                "where that one is"
            )
    for modality in PICTURED:
        if getattr(recipe, modality) is not None:
            pictures, format = recipe.pictures(out / modality, modality)
            resolved(pictures)
            if format is not None and format not in FORMATS:
                raise RecipeError(f"[{modality}] export: no format '{format}'; {closest(str(format), sorted(FORMATS))}")
    recipe.evaluation(None, [], out)
    recipe.pretraining()
    return text


def text_of(recipe: LoopRecipe, out: Path, n_by_label: Mapping[str, str]) -> Recipe:
    """The text augmentation, which no row of the exam may reach, wherever that is from."""
    text = recipe.augmentation(out, n_by_label)
    place = exam_place(recipe)
    if text.exam is None and place not in ("", text.source):
        return text.model_copy(update={"exam": place})
    return text


def exam_place(recipe: LoopRecipe) -> str:
    """The source of the exam; "" where it is what the augmentation holds out."""
    told, card = recipe.evaluate, str(recipe.evaluate.get("card") or "")
    return str(told.get("exam") or (source_of(card, read_exam_card(card)) if card else ""))


def _exam(recipe: LoopRecipe, first: Plan) -> pl.DataFrame:
    """The exam's rows.

    Raises:
        RecipeError: there are none, or nothing to score answers by, or the adapters could learn one of them.
    """
    asked = recipe.evaluation(None, [], recipe.folder)
    held = first.exam.join(first.source.validation.select("id"), on="id", how="anti")
    if place := exam_place(recipe):
        exam = open_exam(
            asked.card,
            file=asked.exam,
            path=asked.path,
            columns=asked.map,
            holdout=asked.holdout,
            everything=asked.everything,
        ).rows
        loose = len(exam) - int(fold(exam["query"]).is_in(fold(held["prompt"]).implode()).sum())
        if loose:
            raise RecipeError(
                f"[evaluate] asks {loose:,} of the {len(exam):,} questions of {place} although [text] does not hold "
                "them out, so that adapters may learn them; leave exam, card, holdout and everything out of [evaluate] "
                "(the exam is then what [text] holds out), or name the same  exam = FILE  in both"
            )
    else:
        exam = held.select("id", "label", pl.col("prompt").alias("query"), pl.col("response").alias("gold"))
    if exam.is_empty():
        raise RecipeError(
            f'no exam: {first.source.name} holds nothing out; add  holdout = "20%"  to [text], or  exam = FILE  to '
            "[evaluate]"
        )
    if asked.judge is None and exam["gold"].null_count() == len(exam):
        raise RecipeError(
            f"the exam {place or first.source.name} has no gold answers, and [evaluate] names no judge, so that "
            'nothing can be scored; add  judge = "openai:MODEL"  with a card, or a column of answers'
        )
    return exam
