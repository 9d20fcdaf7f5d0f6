"""`augment verify`: a thin function; everything heavy is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from augment.options import print_json

SHOWN = 10
"""Faults of each check that are printed; --json has all."""


def verify(
    run: Annotated[str, typer.Argument(help="A run folder, or a run's name.")],
    redraw: Annotated[
        str | None,
        typer.Option(
            metavar="N|all|none", help="Pictures to make again and compare. [default: 200 of those that need no model]"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="What was found as JSON, every fault.")] = False,
) -> None:
    """Check a run against its manifest, and its pictures against their recipes.

    Every file has the size and the hash that it was published with; every picture has its pixels, and a generated one
    says how it was made. Some are made again and compared. Exits with 1 where something differs or is missing.
    Example: augment verify sample-images-1a2b3c4d
    """
    from augment.runs import run_folder
    from augment.verify.checks import verified

    found = verified(run_folder(run), redraw)
    if json:
        print_json(found.to_dict())
    else:
        for note in found.notes:
            typer.echo(f"note: {note}", err=True)
        for check in found.checks:
            typer.echo(f"{check.name:<9} {check.said}")
            for place, what in check.faults[:SHOWN]:
                typer.echo(f"          {place}: {what}")
            if len(check.faults) > SHOWN:
                typer.echo(f"          and {len(check.faults) - SHOWN:,} more; --json has all")
    if not found.good:
        raise typer.Exit(1)
