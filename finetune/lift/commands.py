"""`augment lift`: a thin function; scikit-learn, and torch where it trains adapters, are imported when it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augment.options import print_json

if TYPE_CHECKING:
    from finetune.lift.run import Lifted

TASKS = ["classify", "adapter"]


def lift(
    run: Annotated[str, typer.Argument(help="A run folder, or a run's name.")],
    task: Annotated[
        str, typer.Option(help="classify: guess labels, in seconds. adapter: fine-tune, and answer the exam.")
    ] = "classify",
    shots: Annotated[int | None, typer.Option(min=1, help="Seeds a label that a draw takes. [default: 5]")] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Random draws. [default: 20]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="All randomness derives from it.")] = 0,
    path: Annotated[Path | None, typer.Option(help="Where the source's files are, if the run was told so.")] = None,
    out: Annotated[Path | None, typer.Option(help="The lift's folder. [default: lifts/RUN-TASK-…]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another lift in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Measure whether a run's variants help, beyond chance.

    Trains on few real rows, on the same rows repeated (equal compute), on them with their variants, and without each
    generator in turn, over random draws; tests on real rows that were not drawn. Example:
    augment lift sample-1a2b3c4d --task classify --shots 5
    """
    from augment.errors import RecipeError, needs
    from augment.registry import closest
    from augment.runs import run_folder

    if task not in TASKS:
        raise RecipeError(f"no task called '{task}'; {closest(task, TASKS)}")
    folder = run_folder(run)
    with needs("sklearn", "evaluate"):
        from finetune.lift.classify import Classifying
    with needs("altair", "evaluate"):
        from finetune.lift.run import lift as measure
    from finetune.lift.arms import by_label
    from finetune.lift.pool import open_pool

    design = by_label(open_pool(folder, path), shots or 5)
    count = seeds or 20
    command = {"task": task, "shots": design.shots, "seeds": count, "seed": seed}
    with _progress() as tell:
        done = measure(
            design,
            task,
            Classifying(),
            seeds=count,
            base=seed,
            command=command,
            out=out,
            overwrite=overwrite,
            tell=tell,
        )
    _report(done, json)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A line on a terminal that says how far it is; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as shown:
        bar = shown.add_task("measuring")
        yield lambda done, total: shown.update(bar, completed=done, total=total)


def _report(done: Lifted, json: bool) -> None:
    from augment.tables import aligned, one_line
    from finetune.lift.card import arms_table, differences_table

    record = done.record
    if json:
        print_json({**record, "path": str(done.path)})
        return
    for note in record["notes"]:
        typer.echo(one_line(note, 400), err=True)
    if done.already:
        typer.echo("it was measured before; nothing was done", err=True)
    for headings, *rows in (arms_table(record), differences_table(record)):
        typer.echo("\n".join(aligned(headings, rows)) + "\n")
    typer.echo(record["verdict"])
    typer.echo(done.path)
