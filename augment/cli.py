"""The `augment` command: one thin function a verb. Heavy imports stay inside the functions."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.doctor.commands import doctor
from augment.errors import AugmentError, RecipeError
from augment.filtering.commands import compare_thresholds, filter
from augment.help import Verb, Verbs
from augment.options import pairs, print_json
from augment.places import RUNS
from augment.report.commands import report
from augment.review.commands import review
from augment.verbs import verbs
from augment.verify.commands import verify
from finetune import commands
from finetune.evaluation.commands import evaluate
from finetune.lift.commands import lift
from finetune.loop.commands import loop
from finetune.subject.commands import subject

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn a small dataset into a larger, cleaner one that trains a better adapter.",
    epilog="\b\nExample:\n  augment text --source sample --n 5x",
)


def main() -> None:
    """Run the command. An error the user can fix is one line on stderr and exit code 2."""
    # it tells of a kernel that is not installed while others import it, before anything of ours could keep it quiet
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        app()
    except AugmentError as error:
        print(f"augment: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _augment(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    context.obj = _flow
    if version:
        from augment import __version__

        print(__version__)  # noqa: T201
        raise typer.Exit


def _flow(verb: str) -> Callable[..., Any]:
    """What runs a verb's work as its Prefect flow; commands find it in their context."""
    from flows.verbs import by_hand

    return by_hand(verb)


for command in verbs():
    app.command(cls=Verb)(command)


@app.command(cls=Verb)
def serve(
    recipes: Annotated[list[Path] | None, typer.Argument(help="Recipe files, each with its [schedule].")] = None,
    recipe: Annotated[Path | None, typer.Option(help="The same, for one.")] = None,
    cron: Annotated[str | None, typer.Option(help='When to run: "0 2 * * *". [default: the recipe\'s]')] = None,
    timezone: Annotated[str | None, typer.Option(help="The zone of --cron: Asia/Shanghai. [default: UTC]")] = None,
    watch: Annotated[str | None, typer.Option(help="Run when files arrive there: a folder or s3://…/.")] = None,
    alert: Annotated[str | None, typer.Option(help="A webhook that is told of failed runs.")] = None,
) -> None:
    """Run recipes by themselves, on schedule or when files arrive, over what is new.

    Needs a Prefect server and goes on until it is stopped. Example:
    augment serve flows/recipes/chbench-nightly.toml
    """
    from augment.errors import needs

    files = [*(recipes or []), *([recipe] if recipe else [])]
    if not files:
        raise RecipeError("no recipe to serve; give recipe files, for example flows/recipes/chbench-nightly.toml")
    with needs("prefect", "flows"):
        from flows.schedules import serve as serve_them
    serve_them(files, {"cron": cron, "timezone": timezone, "watch": watch}, alert)


app.command("compare-thresholds", cls=Verb)(compare_thresholds)
for verb in (loop, filter, commands.finetune, evaluate, lift, subject, report, review, verify, doctor):
    app.command(cls=Verb)(verb)
app.add_typer(commands.adapter, name="adapter")


@app.command(cls=Verb)
def sources(
    name: Annotated[str | None, typer.Argument(help="A card, a file or folder, or owner/name.")] = None,
    split: Annotated[str | None, typer.Option(help="train or exam: with --out, which rows to write.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl, .csv or .parquet file for the rows.")] = None,
    path: Annotated[Path | None, typer.Option(help="Where the source's files are.")] = None,
    map: Annotated[list[str] | None, typer.Option(help="Columns: prompt=query,response=answer.")] = None,
    holdout: Annotated[str | None, typer.Option(help="Share held out as the exam: 20%. [default: the card's]")] = None,
) -> None:
    """List the source cards, show one, or write its rows.

    Example: augment sources sample --split exam --out exam.jsonl
    """
    from augment import catalogue

    if name is None:
        typer.echo(catalogue.listing())
        return
    from augment.recipe import share_of

    source = catalogue.open_any(name, path, pairs(map, "--map"), share_of(holdout))
    if out is None and split is None:
        typer.echo(catalogue.portrait(source, name))
        return
    typer.echo(catalogue.write_rows(source, split or "train", out))


@app.command("list", cls=Verb)
def list_() -> None:
    """List every generator, filter, engine, adapter, objective, perturbation and scorer.

    Example: augment list
    """
    import filters
    from augment import engines, generators
    from finetune import adapters, objectives, perturbations, scorers

    for kind in (generators, filters, engines, adapters, objectives, perturbations, scorers):
        table = kind.TABLE
        typer.echo(f"{table.kind}s")
        for name, line in table.summaries():
            typer.echo(f"  {name:<15} {line}")


@app.command(cls=Verb)
def explain(
    id: Annotated[str, typer.Argument(help="A row's id, or its first characters.")],
    run: Annotated[Path | None, typer.Option(help="The run folder. [default: the newest that has the row]")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Tell a row's whole story.

    Its parents, who made it, with what words and settings, its scores beside their limits, the verdict. Example:
    augment explain 1a2b3c4d
    """
    from augment.explain import readable, story

    told = story(id, run)
    if json:
        print_json(told)
        return
    for title, value in readable(told).items():
        _print_part(title, value)


def _print_part(title: str, value: Any) -> None:
    if isinstance(value, list):
        for each in value:
            _print_part(title.removesuffix("s"), each)
    elif isinstance(value, dict):
        typer.echo(f"{title}:")
        for key, inner in value.items():
            text = str(inner).replace("\n", "\n    ")
            typer.echo(f"  {key}: {text}")
    else:
        typer.echo(f"{title}: {value}")


@app.command(cls=Verb)
def runs(
    runs: Annotated[Path, typer.Option(help="The folder that holds the run folders.")] = RUNS,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List past runs, newest first, with versions and counts.

    Example: augment runs
    """
    from rich.console import Console

    from augment.runs import past_runs, print_runs

    found = past_runs(runs)
    if json:
        print_json(found)
    else:
        print_runs(found, runs, Console())


@app.command(cls=Verb)
def diff(
    old: Annotated[str, typer.Argument(help="A run folder, or a run's name.")],
    new: Annotated[str, typer.Argument(help="The run to compare it with.")],
    examples: Annotated[int, typer.Option(min=0, help="Rows to show of each: added, removed, changed.")] = 5,
    runs: Annotated[Path, typer.Option(help="The folder that holds the run folders.")] = RUNS,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what changed between two runs.

    Rows added, removed and changed, and how labels, lengths, scores, generators and rejections shifted. Example:
    augment diff runs/sample-1a2b3c4d runs/sample-5e6f7a8b
    """
    from augment.diff import compare
    from augment.runs import run_folder

    found = compare(run_folder(old, runs), run_folder(new, runs), examples)
    if json:
        print_json(found)
        return
    from rich.console import Console

    from augment.diff.view import print_diff

    print_diff(found, Console())


@app.command(cls=Verb)
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    format: Annotated[
        str,
        typer.Option(
            help="alpaca, sharegpt, chatml, llamafactory; of pictures: imagefolder, diffusers, llava, webdataset, coco."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write into.")],
) -> None:
    """Write a run's rows in a trainer's format.

    Example: augment export runs/sample-1a2b3c4d --format llamafactory --out train/
    """
    from augment.export import export as write

    done = write(run, format, out)
    left_out = f" ({done.left_out:,} {done.why} left out)" if done.left_out else ""
    if done.warning:
        typer.echo(f"note: {done.warning}", err=True)
    typer.echo(f"{done.rows:,} rows to {done.path}{left_out}{f' ({done.note})' if done.note else ''}")


if __name__ == "__main__":
    main()
