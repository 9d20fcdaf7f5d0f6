"""`augment evaluate`: a thin function; whatever is heavy is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.options import pairs, print_json

if TYPE_CHECKING:
    from finetune.evaluation.evaluate import Evaluated
    from finetune.evaluation.recipe import EvaluationRecipe
    from finetune.evaluation.sitting import Sitting

HARNESS = "harness"
"""The word that prints where the tasks for lm-evaluation-harness are."""


def evaluate(
    card: Annotated[
        str | None,
        typer.Argument(help="chbench, sample or a TOML card; `judge`: calibrate one; `harness`: the path for lm_eval."),
    ] = None,
    exam: Annotated[str | None, typer.Option(help="Rows of your own: a file (query, gold), a source, a run.")] = None,
    answers: Annotated[Path | None, typer.Option(help="Answers to score: query, gold and one column a model.")] = None,
    base: Annotated[str | None, typer.Option(help="A model in this process: a folder, or owner/name.")] = None,
    adapter: Annotated[list[Path] | None, typer.Option(help="An adapter's folder; repeatable.")] = None,
    llm: Annotated[list[str] | None, typer.Option(help="Who answers: openai:MODEL; repeatable.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="What runs --base and --adapter: transformers, vllm. [default: transformers]")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="The server's address. [default: $OPENAI_BASE_URL]")] = None,
    judge: Annotated[str | None, typer.Option(help="Who judges: openai:MODEL. [default: nobody]")] = None,
    judge_url: Annotated[str | None, typer.Option(help="The judge's server. [default: --base-url]")] = None,
    judge_sees: Annotated[
        str | None, typer.Option(help="answer, as CHBench does, or question: both. [default: answer]")
    ] = None,
    votes: Annotated[int | None, typer.Option(help="Votes of the judge on each answer. [default: 1]")] = None,
    judge_temperature: Annotated[
        float | None, typer.Option(help="Its temperature. [default: 0; 0.7 with votes]")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the answers. [default: 0]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens an answer may have. [default: 1024]")] = None,
    system: Annotated[str | None, typer.Option(help="A system message before each question.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests at once, or a batch. [default: 64]")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds one answer may take. [default: 300]")] = None,
    path: Annotated[Path | None, typer.Option(help="Where the exam's files are.")] = None,
    map: Annotated[list[str] | None, typer.Option(help="Columns: prompt=query,response=gold,label=topic.")] = None,
    holdout: Annotated[str | None, typer.Option(help="The share that was held out of --exam. [default: all]")] = None,
    everything: Annotated[
        bool | None, typer.Option("--everything", help="Every row, also those that are not held out.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The first so many questions only.")] = None,
    seed: Annotated[int | None, typer.Option(help="All randomness derives from it. [default: 0]")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file with these keys; flags win over it.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder. [default: evaluations/EXAM-FINGERPRINT]")] = None,
    overwrite: Annotated[
        bool | None, typer.Option("--overwrite", help="Evaluate again, in place of what is in --out.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Answer an exam with models, score the answers beside a floor, and say whether they differ.

    Examples: augment evaluate chbench --base Qwen/Qwen3-0.6B --adapter adapters/mine; augment evaluate judge
    --judge openai:Qwen3-32B
    """
    if card == HARNESS:
        from finetune import harness

        typer.echo(harness.PATH)
        return
    from augment.errors import needs
    from finetune.evaluation.recipe import CALIBRATE, read_evaluation_recipe

    flags: dict[str, Any] = {
        "card": card, "exam": exam, "answers": answers, "base": base, "adapter": adapter or None, "llm": llm or None,
        "engine": engine,
        "base_url": base_url, "judge": judge, "judge_url": judge_url, "judge_sees": judge_sees, "votes": votes,
        "judge_temperature": judge_temperature, "temperature": temperature, "max_tokens": max_tokens,
        "system": system, "concurrency": concurrency, "timeout": timeout, "path": path,
        "map": pairs(map, "--map"), "holdout": holdout, "everything": everything, "limit": limit, "seed": seed,
        "out": out, "overwrite": overwrite,
    }  # fmt: skip
    written = read_evaluation_recipe(flags, recipe)
    with needs("scipy", "evaluate"):
        import scipy  # noqa: F401
    with needs("altair", "evaluate"):
        import altair  # noqa: F401
    if written.card == CALIBRATE:
        _calibrate(written, json)
        return
    from finetune.evaluation.sitting import sit

    sitting = sit(written)
    _announce(sitting)
    done = _watched(sitting)
    if json:
        print_json({**done.record, "path": str(done.path)})
    else:
        _report(done, sitting)


def _announce(sitting: Sitting) -> None:
    from augment.tables import one_line

    exam = sitting.exam
    for note in exam.notes:
        typer.echo(one_line(f"{exam.name}: {note}", 500), err=True)
    for each in sitting.candidates:
        if each.seen:
            typer.echo(
                f"{each.name}: {each.seen:,} of these questions are in its training data; its scores will be too good",
                err=True,
            )
    if sitting.judge is not None:
        told = sitting.judge.told()
        typer.echo(one_line(f"judge: {told['llm']}, {told['variant']}, {told['votes']} vote(s)", 500), err=True)


def _watched(sitting: Sitting) -> Evaluated:
    from rich.console import Console

    from augment.stopping import stoppable
    from finetune.evaluation.evaluate import evaluate as run
    from finetune.evaluation.progress import Count

    console = Console(stderr=True)
    with stoppable(console, sitting.drain, "the answers in flight"), Count(console) as count:
        return run(sitting, count.step)


def _calibrate(recipe: EvaluationRecipe, json: bool) -> None:
    from rich.console import Console

    from augment.stopping import stoppable
    from finetune.evaluation.calibration import calibrate, lines_of, open_calibration
    from finetune.evaluation.progress import Count

    plan = open_calibration(recipe)
    console = Console(stderr=True)
    with stoppable(console, plan.drain, "the answers in flight"), Count(console) as count:
        found = calibrate(plan, count.step)
    if json:
        print_json(found)
        return
    for line in lines_of(found):
        typer.echo(line)


def _report(done: Evaluated, sitting: Sitting) -> None:
    from augment.tables import aligned, one_line
    from finetune.evaluation.answering import SILENT
    from finetune.evaluation.tables import apart, failure, labels, means, published

    record = done.record
    if done.already:
        typer.echo("it was evaluated before; nothing was asked")
    typer.echo(f"{record['exam']['name']}: {record['exam']['rows']:,} questions; in brackets 95 % intervals")
    # a judge's dimensions, and the paper's tables, are those of a group
    groups = [None, *(labels(record) if sitting.exam.card.groups else [])]
    parts = [means(record, label) for label in groups]
    if record["differences"]:
        parts += [apart(record, label) for label in groups]
    if sitting.answers:
        parts += [published(record, label) for label in groups]
    for headings, rows in parts:
        typer.echo()
        for line in aligned([one_line(each) for each in headings], rows):
            typer.echo(line)
    typer.echo()
    typer.echo(one_line(record["verdict"], 8000))
    for each in record.get("failures", ()):
        again = "" if each["commonest"] in SILENT else "; --overwrite asks again those without an answer"
        typer.echo(one_line(f"{each['model']}: {failure(each)}", 400) + again, err=True)
    typer.echo(done.path)
