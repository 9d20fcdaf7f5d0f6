"""What a person sees of a loop: the stage under way, its progress, what it came to and what failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import TrainerCallback

    from augment.summary import Tally


class Shown:
    """Says nothing; what flows use, and what shows it on a console builds on."""

    def say(self, line: str) -> None:
        """A line for the user."""

    def begin(self, name: str) -> None:
        """A stage begins."""

    def end(self, name: str, told: str, already: bool) -> None:
        """A stage has ended: what it came to, and whether it was there before."""

    def failed(self, name: str, why: str) -> None:
        """A stage could not be done."""

    @contextmanager
    def curating(self, tally: Tally) -> Iterator[None]:
        """Variants are being made."""
        yield

    def training(self) -> Sequence[TrainerCallback]:
        """What looks at a training."""
        return ()

    @contextmanager
    def sitting(self) -> Iterator[Callable[[str], None]]:
        """An exam is being answered: what is told of each answer."""
        yield lambda _: None


class OnConsole(Shown):
    """Shows it on `console`, with the seconds since the loop began."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def begin(self, name: str) -> None:
        if self._console.is_terminal:
            self.say(f"{name} …")

    def end(self, name: str, told: str, already: bool) -> None:
        self.say(f"{self._clock()} {name}: {told}{' (it was there)' if already else ''}")

    def failed(self, name: str, why: str) -> None:
        self.say(f"{self._clock()} {name} FAILED: {why}")

    @contextmanager
    def curating(self, tally: Tally) -> Iterator[None]:
        from augment.terminal import watch

        with watch(tally, self._console):
            yield

    def training(self) -> Sequence[TrainerCallback]:
        from finetune.progress import ShowProgress

        return (ShowProgress(self._console),)

    @contextmanager
    def sitting(self) -> Iterator[Callable[[str], None]]:
        from finetune.evaluation.progress import Count

        with Count(self._console) as count:
            yield count.step

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes:3}:{seconds:02}"
