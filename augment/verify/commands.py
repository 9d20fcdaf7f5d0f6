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
    rescore: Annotated[
        str | None,
        typer.Option(metavar="N|all|none", help="Candidates of text to score again by row filters. [default: none]"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="What was found as JSON, every fault.")] = False,
) -> None:
    """Check a run against its manifest, and its rows or pictures against what they were made of.

    Every file has the size and the hash that it was published with, and no other is there. Texts are made again from
    their seeds, or read again out of the stored replies; every picture has its pixels, and some are drawn again.
    Exits with 1 where something differs, is missing or is too many.
    Example: augment verify runs/sample-1a2b3c4d
    """
    from augment.runs import run_folder
    from augment.verify.checks import verified

    found = verified(run_folder(run), redraw, rescore)
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
