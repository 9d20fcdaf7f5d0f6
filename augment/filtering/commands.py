"""`augment filter` and `augment compare-thresholds`: thin functions; polars is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.options import pairs, print_json, settings

if TYPE_CHECKING:
    from augment.filtering.dataset import Dataset


def filter(
    target: Annotated[str, typer.Argument(help="A run folder, a run's name, a file, a card, or owner/name.")],
    filters: Annotated[
        str | None, typer.Option(help="Names, or default, or none. [default: those of the run, else default]")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: near_dup.threshold=0.8, judge.llm=openai:MODEL.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="The best so many a seed; of a file, in all.")] = None,
    exam: Annotated[str | None, typer.Option(help="A source that no kept row may repeat.")] = None,
    map: Annotated[list[str] | None, typer.Option(help="Columns of a file: prompt=query,response=answer.")] = None,
    path: Annotated[Path | None, typer.Option(help="Where the source's files are.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Run models in so many processes, with Ray.")] = None,
    ray: Annotated[str | None, typer.Option(help="A Ray cluster's address, or auto.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write. [default: runs/NAME-FINGERPRINT]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another run in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Sift a run anew, or any dataset; nothing is generated, and a score is made again only where what made it changed.

    Writes what is kept, what is not and why, as a run folder. Example:
    augment filter runs/sample-1a2b3c4d --set near_dup.threshold=0.8
    """
    from rich.console import Console

    from augment.errors import RecipeError
    from augment.filtering.sifting import sift

    told = settings(set_) or {}
    names = [each.strip() for each in filters.split(",") if each.strip()] if filters is not None else None
    if names == []:
        raise RecipeError(f"--filters {filters!r} names no filter; write none to sift with none, or leave it away")
    dataset = _dataset(target, path, map, exam)
    done = sift(
        dataset, names, told, Console(stderr=True), top_k=top_k, workers=workers, ray=ray, out=out, overwrite=overwrite
    )
    if json:
        print_json({**done.summary, "path": str(done.path)})
        return
    from augment.filtering.view import print_filtered

    print_filtered(done, Console())


def compare_thresholds(
    run: Annotated[str, typer.Argument(help="A run folder, or a run's name.")],
    setting: Annotated[str, typer.Argument(help="FILTER.SETTING, for example near_dup.threshold.")],
    values: Annotated[list[str], typer.Argument(help="The values to compare: 0.6 0.7 0.8.")],
    examples: Annotated[int, typer.Option(min=0, help="Rows to show on each side of each value.")] = 2,
    path: Annotated[Path | None, typer.Option(help="Where the source's files are.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what other thresholds would keep, with the rows at the edge; nothing is written.

    Example: augment compare-thresholds runs/sample-1a2b3c4d near_dup.threshold 0.6 0.7 0.8
    """
    from rich.console import Console

    from augment.filtering.compare import compared
    from augment.filtering.view import print_compared

    found = compared(_dataset(run, path, None, None), setting, values, examples)
    if json:
        print_json(found)
    else:
        print_compared(found, Console())


def _dataset(target: str, path: Path | None, map: list[str] | None, exam: str | None) -> Dataset:
    from augment.errors import RecipeError
    from augment.filtering.of_file import of_file
    from augment.filtering.of_run import of_run
    from augment.manifest import MANIFEST
    from augment.places import RUNS

    columns: dict[str, Any] = pairs(map, "--map") or {}
    for folder in (Path(target), RUNS / target):
        if (folder / MANIFEST).is_file():
            if columns:
                raise RecipeError(f"--map is for a file; the columns of the run {folder} are known")
            return of_run(folder, path, exam)
    return of_file(target, path, columns, exam)
