"""`augment loop`: a thin function; torch is imported when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augment.options import print_json
from augment.running import flow_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetune.loop.planned import Planned
    from finetune.loop.run import Looped


def loop(
    context: typer.Context,
    recipe: Annotated[Path, typer.Option(help="A TOML file with a table for each stage.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Another value: text.n=2x, adapters.0.rank=4, evaluate.judge=….")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds. [default: the recipe's]")] = None,
    out: Annotated[Path | None, typer.Option(help="The loop's folder. [default: loops/NAME]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what each stage would cost, and do nothing.")] = False,
    gpu: Annotated[
        str | None, typer.Option(help="With --dry-run: the GPU whose times are told: H100. [default: this machine's]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    prefect: Annotated[
        bool | None,
        typer.Option("--prefect/--no-prefect", help="As a Prefect flow. [default: when $PREFECT_API_URL is set]"),
    ] = None,
) -> None:
    """From seeds to adapters that are measured: augment, train, sit the exam, and again where it was weakest.

    Each stage is skipped when the same is there already: killed or changed, the same command does what is missing.
    Example: augment loop --recipe flows/recipes/tiny-loop.toml
    """
    from augment.errors import needs
    from finetune.loop.recipe import read_loop_recipe

    written = read_loop_recipe({"rounds": rounds, "out": out}, recipe, set_ or ())
    for package, extra in (("torch", "finetune"), *((name, "evaluate") for name in ("scipy", "altair", "sklearn"))):
        with needs(package, extra):
            __import__(package)
    from finetune.loop.planned import planned

    told = [*(("--rounds", str(rounds)) if rounds is not None else ()), *(("--out", str(out)) if out else ())]
    plan = planned(written, recipe, [*told, *(word for each in set_ or () for word in ("--set", each))])
    if dry_run:
        from dataclasses import asdict

        from finetune.loop.forecast import forecast, lines_of

        stages = forecast(plan, gpu)
        if json:
            print_json([asdict(each) for each in stages])
            return
        for line in lines_of(stages, gpu):
            typer.echo(line)
        return
    done = _watched(plan, flow_of(context, "loop", prefect))
    if json:
        print_json({**done.record, "path": str(done.path), "failed": [list(each) for each in done.failed]})
    else:
        _report(done)
    if done.failed:
        for name, why in done.failed:
            typer.echo(f"augment: {name}: {why}", err=True)
        typer.echo(f"augment: the rest is in {done.path}; mend that, and go on with", err=True)
        typer.echo(f"  {_again()}", err=True)
        raise typer.Exit(2)


def _again() -> str:
    import shlex

    return f"augment {shlex.join(sys.argv[1:])}"


def _watched(plan: Planned, flow: Callable[..., Looped] | None) -> Looped:
    from rich.console import Console

    from augment.stopping import stoppable
    from finetune.loop.halt import Halt
    from finetune.loop.run import loop as run
    from finetune.loop.show import OnConsole

    console, halt = Console(stderr=True), Halt()
    with stoppable(console, halt, "the stage under way", lambda: "finished stages are kept"):
        return (flow or run)(plan, shown=OnConsole(console), halt=halt)


def _report(done: Looped) -> None:
    from finetune.loop.card import verdicts

    for line in verdicts(done.record):
        if line:
            typer.echo(line.replace("**", ""))
    typer.echo(done.path / "README.md")
