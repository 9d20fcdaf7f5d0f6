"""Work that a person may stop: the first Ctrl-C or SIGTERM lets it end well, the second ends it at once."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from augment.errors import BudgetSpent, Interrupted

SPENT = 3
"""Exit code of a run whose budget is spent before it is done: neither a failure nor a published dataset."""


@contextmanager
def stoppable(
    console: Console,
    halt: Callable[[], None] | None = None,
    waits: str = "",
    kept: Callable[[], str] = lambda: "",
) -> Iterator[None]:
    """Call `halt` on the first signal; work that then raises Interrupted ends with exit code 130 and what to do;
    with `SPENT` where its budget is spent.

    `waits` says what is waited for ("the answers in flight"), `kept` what is not lost ("12 answers are kept").
    Without `halt` the first signal ends it at once.
    """
    stopped = False

    def stop(_signum: int, _frame: object) -> None:
        nonlocal stopped
        if stopped or halt is None:
            raise KeyboardInterrupt
        stopped = True
        console.print(f"stopping: waiting for {waits} (again to stop at once)")
        halt()

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except BudgetSpent as error:
        console.print(
            f"augment: {error}; what was answered is kept. To go on, give the same command again:", soft_wrap=True
        )
        console.print(f"  augment {shlex.join(sys.argv[1:])}", soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(SPENT) from None
    except (Interrupted, KeyboardInterrupt):
        safe = f"{kept()}; " if kept() else ""
        console.print(f"augment: stopped. {safe}to go on, give the same command again:", soft_wrap=True)
        console.print(f"  augment {shlex.join(sys.argv[1:])}", soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(130) from None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
