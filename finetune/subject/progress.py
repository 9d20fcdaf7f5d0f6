"""What a person sees while a subject is learned: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from augment.terminal import PLAIN_EVERY


class ShowSubject:
    """Shows on `console` how many class pictures are drawn, then how many steps are done, with the last loss."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps = console, steps
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def drawn(self, done: int, whole: int) -> None:
        """Class pictures that are there."""
        self._show("drawing the class", done, whole, "")

    def stepped(self, step: int, loss: float) -> None:
        """Steps that are done."""
        self._show("learning", step, self._steps, f"loss {loss:.4f}")

    def _show(self, what: str, done: int, whole: int, said: str) -> None:
        if self._console.is_terminal:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=whole, said=said)
            self._bar.update(self._tasks[what], completed=done, said=said)
        elif time.monotonic() - self._told >= PLAIN_EVERY:
            self._told = time.monotonic()
            line = f"{what}: {done:,} of {whole:,}" + (f", {said}" if said else "")
            self._console.print(line, highlight=False, soft_wrap=True)
