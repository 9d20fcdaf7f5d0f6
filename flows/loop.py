"""`augment loop` as a Prefect flow: every stage of every round a task, and the loop's report on the page of its run."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from augment.errors import EngineError, RunError, needs
from finetune.loop.halt import Halt
from finetune.loop.recipe import LoopRecipe, read_loop_recipe
from finetune.loop.show import Shown
from flows.artifacts import artifact_key, linked, shown
from flows.runs import Ended, Job, as_flow, by_hand
from flows.stages import Stages

if TYPE_CHECKING:
    from finetune.loop.planned import Planned
    from finetune.loop.run import Looped

log = logging.getLogger(__name__)
KEPT = "every stage that was done is kept"


class Logged(Shown):
    """What a stage came to, on the page of the run."""

    def say(self, line: str) -> None:
        log.info("%s", line)

    def end(self, name: str, told: str, already: bool) -> None:
        log.info("%s: %s%s", name, told, " (it was there)" if already else "")

    def failed(self, name: str, why: str) -> None:
        log.warning("%s failed: %s", name, why)


@dataclass(frozen=True)
class Begun:
    """A loop that can start, who is told of its stages, and what ends it."""

    planned: Planned
    shown: Shown
    halt: Halt


def to_serve(file: Path) -> LoopRecipe:
    """The recipe in `file` as it runs by itself, its names and keys checked before the first run.

    Raises:
        RecipeError: it is wrong.
    """
    recipe = read_loop_recipe({}, file)
    with needs("torch", "finetune"):
        from finetune.loop.planned import checked
    checked(recipe)
    return recipe


def _run_name() -> str:
    recipe = runtime.flow_run.parameters.get("recipe") or {}
    told = recipe if isinstance(recipe, dict) else recipe.model_dump()
    rounds = told.get("rounds", 1)
    return f"{told.get('name') or 'loop'}, {rounds} round{'s' if rounds != 1 else ''}"


@flow(name="loop", flow_run_name=_run_name, persist_result=False)
def loop(recipe: LoopRecipe, retries: int = 0, retry_delay: float = 60.0) -> State[Any]:
    """Augment, train, sit the exam, and again where it was weakest; what is there already is not done again.

    Args:
        recipe: what `augment loop` takes as a TOML file.
        retries: how often a failed run is tried again; what is wrong with the recipe itself is not.
        retry_delay: seconds between two tries.
    """
    job = Job(
        name=_name(recipe),
        first=f"plan {_name(recipe)}",
        whole=f"loop {_name(recipe)}",
        plan=lambda: _begun(recipe),
        run=_run,
        kept=KEPT,
        waits="the stage under way",
        halt=lambda begun: begun.halt(),
    )
    return as_flow(job, retries, retry_delay)


def loop_by_hand(planned: Planned, *, shown: Shown, halt: Halt) -> Looped:
    """Run the loop as a flow in this process; the arguments are those of `finetune.loop.run.loop`.

    Raises:
        RunError: a Prefect API is configured and does not answer.
        AugmentError: as `finetune.loop.run.loop`.
    """
    done: Looped = by_hand(loop, planned.recipe, Begun(planned, shown, halt), halt.event, KEPT)
    return done


def _name(recipe: LoopRecipe) -> str:
    return recipe.name or recipe.folder.name


def _begun(recipe: LoopRecipe) -> Begun:
    with needs("torch", "finetune"):
        from finetune.loop.planned import planned
    plan = planned(recipe)
    log.info("%s seeds, %s rows to steer by, %s of the exam", len(plan.seeds), len(plan.validation), len(plan.exam))
    return Begun(plan, Logged(), Halt())


def _run(begun: Begun, stages: Stages, _stop: threading.Event) -> Ended:
    from finetune.loop.card import verdicts
    from finetune.loop.run import loop as run

    done = run(begun.planned, stage=stages, shown=begun.shown, halt=begun.halt)
    _report(_name(begun.planned.recipe), done)
    if not done.failed:
        said = " ".join(line.replace("**", "").removeprefix("* ") for line in verdicts(done.record) if line)
        return Ended(done, f"{said} Loop: {done.path}")
    told = "; ".join(f"{name}: {why}" for name, why in done.failed)
    kind = EngineError if done.away else RunError  # the one may be gone the next time, the other will not
    return Ended(done, lacks=kind(f"{told}; the rest is in {done.path}"))


def _report(name: str, done: Looped) -> None:
    """The run's artifacts: the loop's report, and where its folder and its pages are."""
    folder, key = done.path.resolve(), artifact_key(name)
    lines = (folder / "README.md").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("!["))  # a figure's file is not within its reach
    shown(create_markdown_artifact, f"{text}\n\nLoop: `{folder}`", f"{key}-summary")
    page = next(each for each in (folder / "report.html", folder / "README.md") if each.is_file())
    linked(folder, page, key, "Every row of every round, what was trained and how it did")
