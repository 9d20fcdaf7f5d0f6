"""`augment report`: a thin function; everything heavy is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.options import print_json
from augment.places import RUNS


def report(
    folders: Annotated[list[str], typer.Argument(help="Runs; also trainings, evaluations, lifts.", metavar="RUN...")],
    out: Annotated[
        Path | None, typer.Option(help="The page. [default: report.html in the folder; of several, here]")
    ] = None,
    runs: Annotated[Path, typer.Option(help="The folder that holds the run folders.")] = RUNS,
    json: Annotated[bool, typer.Option("--json", help="Print path, bytes, rows and notes as JSON.")] = False,
) -> None:
    """Write one HTML page: what happened, the data, what was dropped, every row, training and evaluation.

    It needs no network and no server. What belongs to a run under adapters/, evaluations/ and lifts/ is found and
    shown. Several runs are compared side by side. Example: augment report runs/sample-1a2b3c4d
    """
    from augment.errors import needs

    with (
        needs("jinja2", "evaluate"),
        needs("altair", "evaluate"),
        needs("vl_convert", "evaluate"),
        needs("sklearn", "evaluate"),
        needs("scipy", "evaluate"),
    ):
        from augment.report.write import write_report
    from augment.tables import size_of

    done = write_report(folders, out, runs)
    if json:
        print_json(done)
        return
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{done.path} ({size_of(done.bytes)})")
