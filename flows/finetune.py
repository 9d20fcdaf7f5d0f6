"""`augment finetune` as a Prefect flow: an adapter trained in one process, and what its run shows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from augment.errors import RecipeError, needs
from finetune.recipe import FinetuneRecipe, method_of, read_finetune_recipe
from flows.artifacts import artifact_key, linked, shown
from flows.runs import Ended, Job, as_flow, by_hand
from flows.stages import Stages

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from finetune.prepare import Prepared
    from finetune.train import Trained

log = logging.getLogger(__name__)
KEPT = "what was learned is kept"


@dataclass(frozen=True)
class Lesson:
    """A training that can start, whom it tells lines, and who else watches it."""

    prepared: Prepared
    tell: Callable[[str], None]
    watch: Sequence[TrainerCallback] = ()


def to_serve(file: Path) -> FinetuneRecipe:
    """The recipe in `file` as it runs by itself, its names checked before the first run.

    Raises:
        RecipeError: it is wrong, or would have two trainings in one folder.
    """
    recipe = read_finetune_recipe({}, file)
    if recipe.out is not None and not recipe.overwrite:
        raise RecipeError(
            f"recipe {file}: out = '{recipe.out}' holds one training, and other data make another; leave it out, or "
            "add overwrite = true"
        )
    with needs("torch", "finetune"):
        method_of(recipe, "chat" if recipe.task == "auto" else recipe.task)
    return recipe


def _run_name() -> str:
    recipe = runtime.flow_run.parameters.get("recipe") or {}
    told = recipe if isinstance(recipe, dict) else recipe.model_dump()
    return f"{told.get('name') or Path(str(told.get('base'))).name} {told.get('adapter', 'lora')}"


@flow(name="finetune", flow_run_name=_run_name, persist_result=False)
def finetune(recipe: FinetuneRecipe, retries: int = 0, retry_delay: float = 60.0) -> State[Any]:
    """Train an adapter on a dataset, or go on where an earlier run stopped; what was trained before is not again.

    Args:
        recipe: what `augment finetune` takes as flags or as a TOML file.
        retries: how often a failed run is tried again; what is wrong with the recipe itself is not.
        retry_delay: seconds between two tries.
    """
    job = Job(
        name=_name(recipe),
        first=f"prepare {recipe.data}",
        whole=f"finetune {recipe.base}",
        plan=lambda: _lesson(recipe),
        run=_run,
        kept=KEPT,
        waits="this step",
    )
    return as_flow(job, retries, retry_delay)


def train_by_hand(
    prepared: Prepared, *, tell: Callable[[str], None], watch: Sequence[TrainerCallback], stop: threading.Event
) -> Trained:
    """Train as a flow in this process; the arguments are those of `train`.

    Raises:
        RunError: a Prefect API is configured and does not answer.
        AugmentError: as `train`.
    """
    done: Trained = by_hand(finetune, prepared.recipe, Lesson(prepared, tell, watch), stop, KEPT)
    return done


def _name(recipe: FinetuneRecipe) -> str:
    return recipe.name or f"{Path(recipe.base).name}-{recipe.adapter}"


def _lesson(recipe: FinetuneRecipe) -> Lesson:
    with needs("torch", "finetune"):
        from finetune.model import quiet
        from finetune.prepare import prepare
    quiet()
    prepared = prepare(recipe)
    for line in (*prepared.notes, *prepared.forecast.lines()):
        log.info("%s", line)
    return Lesson(prepared, log.info)


def _run(lesson: Lesson, stages: Stages, stop: threading.Event) -> Ended:
    from finetune.card import result_of
    from finetune.progress import Reached
    from finetune.train import train

    prepared = lesson.prepared
    reached = Reached(stages.show)
    stages.follow(lambda: reached.share, "Steps done, of those planned")
    done = train(prepared, tell=lesson.tell, watch=[*lesson.watch, reached], stop=stop, stage=stages)
    if done.already:
        return Ended(done, f"trained before, and nothing is new; nothing was done: {done.path}")
    if stages.progress():
        _report(_name(prepared.recipe), done)
    return Ended(done, f"{result_of(done.record)} Adapter: {done.path}")


def _report(name: str, done: Trained) -> None:
    """The run's artifacts: a summary, and where the adapter and its card are."""
    from finetune.card import result_of

    record, folder, key = done.record, done.path.resolve(), artifact_key(name)
    before, after = record["validation"]["before"], record["validation"]["after"]
    facts = {
        "validation loss before": f"{before['eval_loss']:.4f}" if before else "no validation",
        "validation loss after": f"{after['eval_loss']:.4f}" if after else "no validation",
        "steps": f"{record['steps']['done']:,} of {record['steps']['planned']:,}",
        "rows": f"{record['data']['train']:,} to train on, {record['data']['validation']:,} to validate with",
        "trainable parameters": f"{record['parameters']['trainable']:,}",
        "seconds": f"{record['measured']['seconds']:,}",
        "memory at most": f"{record['measured']['memory'] / 2**30:.2f} GiB",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {fact} | {value} |" for fact, value in facts.items())])
    text = f"# {name}\n\n{result_of(record)}\n\n{table}\n\nAdapter: `{folder}`"
    shown(create_markdown_artifact, text, f"{key}-summary")
    linked(folder, folder / "README.md", key, "How the adapter was trained, and how to use it")
