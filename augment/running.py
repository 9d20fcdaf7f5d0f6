"""One augmentation from its recipe to what a person sees of it: a forecast, or the run with progress and accounts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from augment.options import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from augment.pipeline import Curated
    from augment.plan import Plan
    from augment.recipe import Recipe
    from augment.summary import Tally

    Curate = Callable[[Plan, Tally, threading.Event], Curated]


def flow_of(context: typer.Context, verb: str, prefect: bool | None) -> Callable[..., Any] | None:
    """What runs the verb's work as a Prefect flow where one is wanted: by `prefect`, else where an API is configured.

    The command's `context` holds what imports and gives that: `flows` is a ring further out.

    Raises:
        RecipeError: Prefect is wanted and not installed.
    """
    if not (bool(os.environ.get("PREFECT_API_URL")) if prefect is None else prefect):
        return None
    from augment.errors import needs

    with needs("prefect", "flows"):
        found: Callable[..., Any] = context.obj(verb)
    return found


def carry_out(
    recipe: Recipe, dry_run: bool, pilot: bool, json: bool, prefect: bool | None, context: typer.Context
) -> None:
    """Do what the recipe says, as a Prefect flow where one is wanted.

    `dry_run` asks nobody, `pilot` a small part; both say what the whole will cost, and end there.

    Raises:
        AugmentError: whatever planning and running raise.
    """
    from augment.plan import make_plan, open_plan

    plan = make_plan(recipe, None) if dry_run else open_plan(recipe)
    if dry_run:
        _print_forecast(plan, json)
    elif plan.nothing_new:
        _print_nothing_new(plan, json)
    elif pilot:
        _pilot(plan, json)
    else:
        from augment.pipeline import run_here

        _run(plan, json, flow_of(context, recipe.modality, prefect) or run_here)


def _print_forecast(plan: Plan, json: bool) -> None:
    from augment.forecast import forecast, to_text

    found = forecast(plan)
    if json:
        print_json(found)
    else:
        typer.echo(to_text(found))


def _begin_long(plan: Plan, console: Console) -> None:
    """Say what a long run will cost before most of it is asked; workers and a budget are not made to wait for that."""
    from augment.pilot import LONG, pilot, to_text

    recipe = plan.recipe
    if plan.engine is None or plan.pictured or plan.total < LONG or recipe.workers or recipe.ray or recipe.budget:
        return
    console.print(to_text(pilot(plan)), highlight=False, soft_wrap=True, markup=False)


def _pilot(plan: Plan, json: bool) -> None:
    """Ask a small part of the run and say what the whole will cost."""
    from rich.console import Console

    from augment.pilot import pilot, to_text
    from augment.stopping import stoppable
    from augment.summary import Tally

    tally = Tally()

    def drain() -> None:
        for engine in plan.engines:
            engine.drain()

    with stoppable(Console(stderr=True), drain, "the answers in flight"):
        found = pilot(plan, tally=tally)
    if json:
        print_json(found)
    else:
        typer.echo(to_text(found))
        typer.echo("nothing was published; what was asked is kept, and asked no more by the run itself")


def _print_nothing_new(plan: Plan, json: bool) -> None:
    assert plan.parent is not None
    if json:
        print_json({"nothing_new": True, "version": plan.parent.version, "path": str(plan.parent.folder)})
    else:
        typer.echo(f"nothing new since version {plan.parent.version}; nothing was published. The newest is")
        typer.echo(plan.parent.folder)


def _run(plan: Plan, json: bool, curate: Curate) -> None:
    """Curate with progress on stderr; the first Ctrl-C or SIGTERM drains, the second ends at once."""

    from rich.console import Console

    from augment.stopping import stoppable
    from augment.summary import Tally
    from augment.terminal import announce, print_summary, watch

    console = Console(stderr=True)
    stop = threading.Event()
    tally = Tally()
    announce(plan, console)

    def drain() -> None:
        stop.set()
        for engine in plan.engines:
            engine.drain()

    def kept() -> str:
        return f"{tally.requests_sent:,} answers of this run are kept" if tally.requests_sent else ""

    with stoppable(console, drain, "the answers in flight", kept):
        _begin_long(plan, console)
        with watch(tally, console):
            done = curate(plan, tally, stop)
    if json:
        print_json({**done.summary.to_dict(), "path": str(done.path)})
    else:
        print_summary(done.summary, Console())
        typer.echo(done.path)
    if not tally.kept:
        (name, reason), count = max(tally.reasons.items(), key=lambda each: each[1])
        console.print(f"augment: no variant was kept; {count:,} were dropped by {name}: {reason}", soft_wrap=True)
        raise typer.Exit(1)
