"""How far an evaluation is: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from augment.terminal import LIVE_EVERY, PLAIN_EVERY


class Count:
    """Counts what is settled, by whom, and shows it on `console` while the block lasts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._settled: Counter[str] = Counter()
        self._told = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, who: str) -> None:
        """One more answer of `who` is there."""
        self._settled[who] += 1
        now = time.monotonic()
        if now - self._told < (LIVE_EVERY if self._live is not None else PLAIN_EVERY):
            return
        self._told = now
        line = " · ".join(f"{name}: {count:,} answers" for name, count in self._settled.items())
        if self._live is not None:
            self._live.update(Text(line), refresh=True)
        else:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)
