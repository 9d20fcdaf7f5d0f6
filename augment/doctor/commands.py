"""`augment doctor`: a thin function; everything is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="As JSON, with every version and number.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that imports of one extra may take.")] = 60.0,
) -> None:
    """Check this machine, and say what is not well and how to put it right.

    Python, packages and whether their versions go together, GPU, memory, disk, the reply store, and the servers that
    the environment names. Exits with 1 where something is a problem. Where even this does not start:
    python -m augment.doctor. Example: augment doctor
    """
    from augment.doctor import examine
    from augment.doctor.view import good, to_json, to_text

    found = examine(timeout)
    typer.echo(to_json(found) if json else to_text(found))
    if not good(found):
        raise typer.Exit(1)
