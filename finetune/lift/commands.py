"""`augment lift`: a thin function; scikit-learn, and torch where it trains adapters, are imported when it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.options import print_json, settings

if TYPE_CHECKING:
    from finetune.lift.adapter import Score
    from finetune.lift.arms import Design
    from finetune.lift.measure import Task
    from finetune.lift.pool import Pool
    from finetune.lift.run import Lifted

TASKS = ["classify", "adapter"]
SCORES = ["loss", "cosine", "jaccard"]


def lift(
    run: Annotated[str, typer.Argument(help="A run folder, or a run's name.")],
    task: Annotated[
        str, typer.Option(help="classify: guess labels, in seconds. adapter: fine-tune, and answer the exam.")
    ] = "classify",
    shots: Annotated[
        int | None, typer.Option(min=1, help="Seeds a label in a draw. [default: 5; all seeds for adapter]")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Random draws. [default: 20; 3 for adapter]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="All randomness derives from it.")] = 0,
    path: Annotated[Path | None, typer.Option(help="Where the source's files are, if the run was told so.")] = None,
    base: Annotated[str | None, typer.Option(help="adapter: the base model.")] = None,
    adapter: Annotated[str | None, typer.Option(help="adapter: lora, nlora, … [default: lora]")] = None,
    rank: Annotated[int | None, typer.Option(help="adapter: its rank. [default: 16]")] = None,
    epochs: Annotated[float | None, typer.Option(help="adapter: times over the augmented rows. [default: 1]")] = None,
    max_steps: Annotated[int | None, typer.Option(help="adapter: optimizer steps at most.")] = None,
    score: Annotated[
        str | None,
        typer.Option(help="adapter: loss on the exam's answers; cosine or jaccard to them. [default: loss]"),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="adapter: tokens of an answer. [default: 512]")] = None,
    recipe: Annotated[Path | None, typer.Option(help="adapter: a TOML file with keys of augment finetune.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="adapter: as augment finetune has it.")] = None,
    out: Annotated[Path | None, typer.Option(help="The lift's folder. [default: lifts/RUN-TASK-…]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another lift in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Measure whether a run's variants help, beyond chance.

    Trains on few real rows, on the same rows repeated (equal compute), on them with their variants, and without each
    generator in turn, over random draws; tests on real rows that were not drawn. Example:
    augment lift runs/sample-1a2b3c4d
    """
    from augment.errors import RecipeError, needs
    from augment.registry import closest
    from augment.runs import run_folder

    tuned: dict[str, Any] = {"base": base, "adapter": adapter, "rank": rank, "epochs": epochs, "max_steps": max_steps}
    flags = {**tuned, "score": score, "max_tokens": max_tokens, "recipe": recipe, "set": set_}
    given = {name: value for name, value in flags.items() if value is not None}
    if task not in TASKS:
        raise RecipeError(f"no task called '{task}'; {closest(task, TASKS)}")
    if score is not None and score not in SCORES:
        raise RecipeError(f"no score called '{score}'; {closest(score, SCORES)}")
    if task == "classify" and given:
        raise RecipeError(f"--{next(iter(given)).replace('_', '-')} is for --task adapter; add that, or leave it out")
    folder = run_folder(run)
    with needs("sklearn", "evaluate"), needs("altair", "evaluate"), needs("scipy", "evaluate"):
        from finetune.lift.run import lift as measure
    with needs("vl_convert", "evaluate"):  # drawn with when all is measured: better told before
        import vl_convert  # noqa: F401
    from finetune.lift.arms import by_label
    from finetune.lift.pool import open_pool

    design: Design
    judge: Task
    pool = open_pool(folder, path)
    with _progress(lines=task == "adapter") as tell:
        if task == "classify":
            with needs("sklearn", "evaluate"):
                from finetune.lift.classify import Classifying
            design, judge = by_label(pool, shots or 5), Classifying(pool)
        else:
            tuned["set"] = settings(set_)
            design, judge = _adapting(pool, shots, tuned, recipe, score or SCORES[0], max_tokens or 512)
        count = seeds or (20 if task == "classify" else 3)
        command = {"task": task, **({"shots": shots or 5} if task == "classify" or shots else {}), "seeds": count}
        command |= {"seed": seed, **{name.replace("_", "-"): value for name, value in given.items()}}
        done = measure(
            design, task, judge, seeds=count, base=seed, command=command, out=out, overwrite=overwrite, tell=tell
        )
    _report(done, json)


def _adapting(
    pool: Pool, shots: int | None, flags: dict[str, Any], recipe: Path | None, score: str, max_tokens: int
) -> tuple[Design, Task]:
    """Who is drawn from and who judges, where adapters are trained."""
    from augment.errors import RecipeError, needs
    from finetune.recipe import read_finetune_recipe

    written = read_finetune_recipe({**flags, "data": str(pool.run)}, recipe)
    if written.patience is not None:
        raise RecipeError("patience watches validation rows, and a lift keeps none; leave it out of the recipe")
    with needs("torch", "finetune"):
        from finetune.lift.adapter import Adapting, answered, design_of
        from finetune.lift.exam import AnswerSimilarity
        from finetune.lift.loss import AnswerLoss
        from finetune.model import quiet
    quiet()
    judged: Score = AnswerLoss(written) if score == "loss" else AnswerSimilarity(written, score, max_tokens)
    return design_of(answered(pool), shots), Adapting(written, judged)


@contextmanager
def _progress(lines: bool) -> Iterator[Callable[[int, int], None]]:
    """Says how far it is: a bar on a terminal, and elsewhere `lines` or nothing. A Ctrl-C ends it in two lines."""
    from rich.console import Console
    from rich.progress import Progress

    from augment.stopping import stoppable

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    with stoppable(console), bar as shown:
        measuring = shown.add_task("measuring")

        def tell(done: int, total: int) -> None:
            shown.update(measuring, completed=done, total=total)
            if lines and not console.is_terminal:
                typer.echo(f"{done} of {total} trainings done", err=True)

        yield tell


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
