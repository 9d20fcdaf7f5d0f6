"""`augment review`: a thin function; the server and polars are imported when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.options import print_json

if TYPE_CHECKING:
    from pathlib import Path

    from augment.review.session import Desk

BOUND = "10%"


def review(
    run: Annotated[str, typer.Argument(help="A run folder, or a run's name.")],
    sample: Annotated[
        int | None, typer.Option(min=1, help="Rows to look at, kept and rejected. [default: by --bound]")
    ] = None,
    bound: Annotated[str | None, typer.Option(help="How exactly each rate should be known: 5%. [default: 10%]")] = None,
    reviewer: Annotated[str | None, typer.Option(help="Who decides. [default: your login name]")] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, show_default=False, help="The page's port. [default: a free one]")
    ] = 0,
    browser: Annotated[
        bool,
        typer.Option(
            "--browser/--no-browser", show_default=False, help="Open the page in a browser, or only print its address."
        ),
    ] = True,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, show_default=False, help="Another one shows other rows. [default: 0]")
    ] = 0,
    path: Annotated[
        str | None, typer.Option(help="Where the source's files are, to hold edits against its exam.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Print the rates so far; open no page.")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="Write the dataset's next version; open no page.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The rates and all decisions as JSON; open no page.")] = False,
) -> None:
    """Look at a sample of a run's rows, and let your verdict count.

    Opens a page on this machine to accept, reject or edit rows, and tells how good the sift is. Examples:
    augment review runs/sample-1a2b3c4d; augment review runs/sample-1a2b3c4d --publish
    """
    from pathlib import Path

    from augment.errors import RecipeError, RunError
    from augment.manifest import holds_pictures, manifest_of
    from augment.runs import run_folder

    folder = run_folder(run)
    if holds_pictures(manifest_of(folder)):
        raise RunError(
            f"{folder} holds pictures, and the review page shows texts; look at them with augment report {folder}, "
            "and make the run again with other thresholds (--set FILTER.SETTING=VALUE)"
        )
    files = None if path is None else Path(path)
    if sample is not None and bound is not None:
        raise RecipeError(f"--sample {sample} and --bound {bound} both say how many rows; give one of them")
    if status and publish:
        raise RecipeError("--status and --publish do not go together; give one of them")
    if publish:
        _publish(folder, files, json)
        return
    from augment.review.session import Desk

    desk = Desk.of(folder)
    if json or status:
        _tell(desk, json)
        return
    _sit(desk, _name(reviewer), _sizes(desk, sample, _bound(bound)), seed, port, browser, files)


def _name(given: str | None) -> str:
    import getpass

    from augment.errors import RecipeError

    try:
        name = (getpass.getuser() if given is None else given).strip()
    except (OSError, KeyError):
        raise RecipeError("this system has no name for you; give --reviewer NAME") from None
    if not name or len(name) > 64 or not name.isprintable() or "," in name:
        raise RecipeError(f"--reviewer {given!r} is no name; write up to 64 letters without a comma")
    return name


def _bound(given: str | None) -> float:
    from augment.errors import RecipeError
    from augment.recipe import share

    text = BOUND if given is None else given
    try:
        bound = float(share(text))
    except ValueError:
        bound = 0.0
    if not 0.001 <= bound < 0.5:
        raise RecipeError(f"--bound '{given}' is no error bound; write a share from 0.1% to under 50%, like 5%")
    return bound


def _sizes(desk: Desk, rows: int | None, bound: float) -> tuple[int, int]:
    """How many kept and rejected rows to show, saying why and what others would give."""
    from augment.errors import RunError
    from augment.review import rates
    from augment.review.sample import split

    sizes = desk.population.sizes
    if not any(sizes):
        raise RunError(_nothing(desk))
    typer.echo(f"{sizes[0]:,} kept and {sizes[1]:,} rejected rows can be reviewed")
    if rows is None:
        for each in sorted({bound, *(one for one in (0.1, 0.05, 0.03) if one < bound)}, reverse=True):
            kept, rejected = rates.proposed(sizes, each)
            typer.echo(
                f"  each rate to ±{each:.2%}".replace(".00%", "%") + f": {kept:,} kept and {rejected:,} rejected"
            )
        return rates.proposed(sizes, bound)
    kept, rejected = split(rows, sizes)
    for n, size, what in ((kept, sizes[0], "kept"), (rejected, sizes[1], "rejected")):
        if n:
            typer.echo(f"  {n:,} {what} rows tell their rate to ±{rates.bound_of(n, size):.1%} at worst")
    return kept, rejected


def _sit(
    desk: Desk, reviewer: str, sizes: tuple[int, int], seed: int, port: int, browser: bool, path: Path | None
) -> None:
    """Serve the page until Ctrl-C or SIGTERM, then tell the rates and what to do next."""
    import asyncio
    import signal
    import webbrowser
    from contextlib import nullcontext

    from augment.review import server
    from augment.review.session import Session, open_guard

    guard, why = open_guard(desk.folder, path)
    if why is not None:
        typer.echo(f"note: {why} (--publish needs it too)", err=True)
    session = Session.open(desk, reviewer, sizes, seed, guard)
    listening = server.listen(port)
    door = server.door_of(listening)

    async def sit() -> None:
        stop = asyncio.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
        serving = asyncio.create_task(server.serve(session, listening, door, stop))
        typer.echo(f"{len(session.order):,} rows for {reviewer}; the page is on this machine alone:")
        typer.echo(door.url)
        typer.echo("Ctrl-C ends it; every decision is on the disk when the page shows it", err=True)
        with server.invitation(desk.folder, door) if browser else nullcontext() as address:
            if address is not None:
                await asyncio.to_thread(webbrowser.open, address)
            await serving

    asyncio.run(sit())
    _tell(desk, json=False)


def _tell(desk: Desk, json: bool) -> None:
    """The rates and how to go on; with `json`, every decision besides."""
    from augment.review import rates
    from augment.review.decisions import DECISIONS, read

    made = desk.made()
    standing = desk.standing(made)
    broken = read(desk.folder / DECISIONS)[1]
    if json:
        print_json({"run": str(desk.folder), **standing, "decisions": made, "unreadable_lines": broken})
        return
    _echo_all(rates.lines(standing["rates"], standing["agreement"]) or [_nothing(desk)])
    if broken:
        typer.echo(
            f"{desk.folder / DECISIONS} has {broken:,} lines that hold no decision; they were read past", err=True
        )
    if made:
        typer.echo(f"the next version, as you decided: augment review {desk.folder} --publish")


def _nothing(desk: Desk) -> str:
    """Why there is no row to look at."""
    from augment.manifest import manifest_of

    why = "it holds no variant"
    if desk.done:
        why = f"all {len(desk.done):,} were reviewed before"
    elif "columns" in manifest_of(desk.folder):
        why = (
            "it was sifted from a file, and people review what was generated; rejected.parquet has its rejected rows "
            "and why, and augment filter with --set FILTER.SETTING=VALUE decides anew"
        )
    return f"{desk.folder} has no row to review: {why}"


def _echo_all(lines: list[str]) -> None:
    from augment.tables import escaped

    for line in lines:
        typer.echo(escaped(line))


def _publish(folder: Path, path: Path | None, json: bool) -> None:
    from rich.console import Console

    from augment.review.edition import publish
    from augment.summary import Summary
    from augment.terminal import print_summary

    done = publish(folder, path)
    if json:
        told: dict[str, Any] = {**done.summary, "path": str(done.path), "version": done.version, "new": done.new}
        print_json(told)
        return
    if not done.new:
        typer.echo(f"nothing was decided since version {done.version}; nothing was published. The newest is")
        typer.echo(done.path)
        return
    typer.echo(
        f"version {done.version}: {done.put_out:,} rows put out, {done.let_in:,} let in and {done.edited:,} edited"
    )
    _echo_all(done.summary["review"].get("lines", []))
    print_summary(Summary(done.summary), Console())
    if done.short:
        typer.echo(f"{done.short:,} seeds are short of variants; augment text with --incremental makes others")
    typer.echo(done.path)
