"""The stages of a loop, each a call of what its verb does, skipped where the same is there already."""

from __future__ import annotations

import dataclasses
import gc
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
import torch

from augment.errors import AugmentError, EngineError
from augment.executors import answering
from augment.manifest import MANIFEST, digest_of, manifest_of
from augment.pipeline import Stage, curate
from augment.plan import Plan, make_plan, open_plan
from augment.recipe import Recipe
from augment.summary import Tally
from finetune.evaluation.evaluate import RECORD, Evaluated, dimensions_of, evaluate
from finetune.evaluation.recipe import EvaluationRecipe
from finetune.evaluation.sitting import sit
from finetune.loop.halt import Halt
from finetune.loop.show import Shown
from finetune.model import quiet
from finetune.prepare import prepare
from finetune.recipe import FinetuneRecipe
from finetune.train import Trained, train

T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """A published run: its counts as in summary.json, and whether it was there before."""

    path: Path
    fingerprint: str
    counts: dict[str, Any]
    already: bool


@dataclass(frozen=True)
class Named:
    """Runs the stretches of a run as stages of a loop, with the loop's stage before their names."""

    name: str
    stage: Stage

    def __call__(self, name: str, work: Any) -> Any:
        return self.stage(f"{self.name}, {name}", work)

    def seconds(self, elapsed: float) -> float:
        """How long a stretch should last at least."""
        return self.stage.seconds(elapsed)


def augmented(recipe: Recipe, name: str, stage: Stage, shown: Shown, halt: Halt) -> Made:
    """The run of a recipe, as `augment text`, `image` or `paired` make it; engines give back their memory after it.

    A run that is there needs nobody to answer: the server that wrote it may have made room for a judge.

    Raises:
        AugmentError: as `curate`.
    """
    try:
        plan = open_plan(recipe)
    except EngineError:
        if (made := _left(recipe)) is None:
            raise
        return made
    counts = _published(plan)
    if counts is not None and manifest_of(plan.out)["fingerprint"] == plan.fingerprint:
        return Made(plan.out, plan.fingerprint, counts, already=True)
    tally = Tally()

    def drain() -> None:
        for engine in plan.engines:
            engine.drain()

    try:
        with halt.told_to(drain), shown.curating(tally), answering(plan, halt.event) as answer:
            done = curate(plan, answer=answer, stage=Named(name, stage), tally=tally, stop=halt.event)
    finally:
        for engine in plan.engines:
            if (release := getattr(engine, "release", None)) is not None:
                release()
    return Made(done.path, plan.fingerprint, done.summary.to_dict(), already=False)


def freed() -> None:
    """Give back what a finished or failed stage still holds of a GPU: whoever is next may be another allocator."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _published(plan: Plan) -> dict[str, Any] | None:
    """The counts of the run in the plan's folder, where one is there and whole."""
    try:
        manifest = manifest_of(plan.out)
        whole = all(digest_of(plan.out / name) == told for name, told in manifest["files"].items())
    except (AugmentError, OSError):
        return None
    if not whole:
        return None
    counts: dict[str, Any] = orjson.loads((plan.out / "summary.json").read_bytes())
    return counts


def _left(recipe: Recipe) -> Made | None:
    """The run of a recipe whose engine is away, by what can be known without it: the recipe and all rows."""
    plan = make_plan(recipe, None)
    counts = _published(plan)
    if counts is None:
        return None
    manifest = manifest_of(plan.out)
    told = (manifest["recipe"], manifest["source"]["fingerprint"], manifest.get("content"))
    if told != (plan.recipe.decisive(), plan.source.fingerprint, plan.content):
        return None
    return Made(plan.out, manifest["fingerprint"], counts, already=True)


def trained(recipe: FinetuneRecipe, shown: Shown, halt: Halt) -> Trained:
    """The adapter of a recipe, as `augment finetune` trains it.

    Raises:
        AugmentError: as `prepare` and `train`.
    """
    halt.check()
    quiet()
    prepared = prepare(recipe)
    return train(prepared, tell=shown.say, watch=shown.training(), stop=halt.event)


def evaluated(recipe: EvaluationRecipe, shown: Shown, halt: Halt) -> Evaluated:
    """The evaluation of a recipe, as `augment evaluate` does it, in the place of another one in its folder.

    One that is there needs no judge: its server may have made room for who writes the next round.

    Raises:
        AugmentError: as `sit` and `evaluate`.
    """
    try:
        sitting = sit(recipe)
    except EngineError:
        if recipe.judge is None or (judged := _judged(recipe)) is None:
            raise
        return judged
    if _identity(sitting.out / RECORD) not in (None, sitting.identity):
        sitting = dataclasses.replace(sitting, recipe=recipe.model_copy(update={"overwrite": True}))
    with halt.told_to(sitting.drain), shown.sitting() as step:
        return evaluate(sitting, step)


def _judged(recipe: EvaluationRecipe) -> Evaluated | None:
    """The evaluation of a recipe whose judge is away, by what can be known without it: all but the judge's revision."""
    sitting = sit(recipe.model_copy(update={"judge": None}))
    try:
        record: dict[str, Any] = json.loads((sitting.out / RECORD).read_text("utf-8"))
        there = record["exam"]["fingerprint"], record["models"], record["recipe"], record["judge"]["dimensions"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    written = recipe.model_dump(mode="json", exclude={"out", "overwrite", "name"})
    who = [each.told() for each in sitting.candidates]
    same = there == (sitting.exam.fingerprint, who, written, dimensions_of(sitting.exam.card))
    return Evaluated(sitting.out, record, already=True) if same and (sitting.out / MANIFEST).is_file() else None


def _identity(record: Path) -> str | None:
    try:
        return str(json.loads(record.read_text("utf-8"))["identity"])
    except (OSError, ValueError, KeyError):
        return None
