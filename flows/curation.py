"""`augment text`, `image` and `paired` as Prefect flows: one body for the three, and what their runs show."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import Flow, runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State

from augment.executors import answering
from augment.pipeline import Curated, curate
from augment.plan import Plan, open_plan
from augment.recipe import Recipe, read_recipe
from augment.resolved import resolved
from augment.summary import Tally
from flows.artifacts import artifact_key, linked, shown
from flows.runs import Ended, Job, as_flow, by_hand
from flows.stages import Stages

log = logging.getLogger(__name__)
KEPT = "what was answered is kept"


@dataclass(frozen=True)
class Counted:
    """A plan and who counts what becomes of its candidates."""

    plan: Plan
    tally: Tally


def to_serve(file: Path) -> Recipe:
    """The recipe in `file` as it runs by itself: over what is new, its names checked before the first run.

    Raises:
        RecipeError: it is wrong.
    """
    recipe = read_recipe({}, file)
    if "incremental" not in recipe.model_fields_set:
        recipe = recipe.model_copy(update={"incremental": True})
    resolved(recipe)
    return recipe


def run_name() -> str:
    """What a flow run is called: the recipe or its source, and how many variants."""
    recipe = runtime.flow_run.parameters.get("recipe") or {}
    told = recipe if isinstance(recipe, dict) else recipe.model_dump()
    return " ".join(filter(None, (str(told.get("name") or told.get("source")), told.get("n"))))


def curated(recipe: Recipe, retries: int, retry_delay: float) -> State[Any]:
    """The body of each verb's flow: the same curate, each stage a task, the recipe its parameters."""
    job = Job(
        name=recipe.name or recipe.source,
        first=f"read {recipe.source}",
        whole=f"curate {recipe.source}",
        plan=lambda: Counted(open_plan(recipe), Tally()),
        run=_run,
        kept=KEPT,
        waits="the answers in flight",
        halt=_drain,
    )
    return as_flow(job, retries, retry_delay)


def curate_by_hand(flow: Flow[..., Any], plan: Plan, tally: Tally, stop: threading.Event) -> Curated:
    """Run a plan as its flow in this process; `tally` is watched and `stop` set from outside.

    Raises:
        RunError: a Prefect API is configured and does not answer.
        AugmentError: as `curate`.
    """
    done: Curated = by_hand(flow, plan.recipe, Counted(plan, tally), stop, KEPT)
    return done


def _run(counted: Counted, stages: Stages, stop: threading.Event) -> Ended:
    plan, tally = counted.plan, counted.tally
    log.info("%s seeds, %s held out, %s variants wanted", len(plan.seeds), len(plan.exam), plan.total)
    if plan.nothing_new:
        assert plan.parent is not None
        return Ended(None, f"nothing new since {plan.parent.folder}; nothing was published")
    stages.follow(lambda: tally.kept / tally.target if tally.target else None, "Variants kept, of the target")
    with answering(plan, stop) as answer:
        done = curate(plan, answer=answer, stage=stages, tally=tally, stop=stop)
    if stages.progress():
        _report(plan, done)
    return Ended(done, f"{tally.line()}: {done.path}")


def _drain(counted: Counted) -> None:
    for engine in counted.plan.engines:
        engine.drain()


def _report(plan: Plan, done: Curated) -> None:
    """The run's artifacts: a summary, what was dropped by whom and why, and where the dataset is."""
    counts = done.summary.to_dict()
    key = artifact_key(plan.name)
    folder = done.path.resolve()
    title = f"# {plan.name}: {counts['kept']:,} of {counts['target']:,} variants\n\n"
    where = f"\n\nDataset: `{folder}`, version {plan.version}"
    grown = f", grown from `{plan.parent.folder.name}`" if plan.parent else ""
    shown(create_markdown_artifact, title + done.summary.to_markdown() + where + grown, f"{key}-summary")
    dropped = [(name, reason, rows) for name, each in counts["rejected"].items() for reason, rows in each.items()]
    dropped += [("engine", reason, rows) for reason, rows in counts["failures"].items()]
    table = [
        {"dropped by": name, "reason": reason, "rows": rows}
        for name, reason, rows in sorted(dropped, key=lambda each: -each[2])
    ]
    shown(create_table_artifact, table, f"{key}-drops", description="Candidates dropped, by filter and reason")
    page = next(each for each in (folder / "report.html", folder / "README.md") if each.is_file())
    linked(folder, page, key, "What the dataset is and holds")
