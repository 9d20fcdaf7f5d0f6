"""What a person sees while a run goes on: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from augment.summary import Tally

PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""
LIVE_EVERY = 0.25


def line_of(tally: Tally, seconds: float) -> str:
    """The state of a run in one line: rows, rows/s, kept, rejected, failed, tokens, time left."""
    answered = tally.requests_sent or tally.candidates
    rate = answered / seconds if seconds > 0 else 0.0
    parts = [
        f"{tally.kept:,}/{tally.target:,} kept",
        f"{tally.rejected:,} rejected",
        f"{tally.failed:,} failed",
        f"{rate:,.0f} rows/s",
    ]
    if tally.requests_sent:
        parts.insert(0, f"{tally.requests_sent:,} answered")
        parts.append(f"{tally.tokens_in + tally.tokens_out:,} tokens")
    done = tally.requests_sent or tally.kept
    missing = tally.target - done - tally.replies_reused
    if done and missing > 0 and seconds > 1:
        left = seconds * missing / done
        parts.append(f"about {int(left // 60)}:{int(left % 60):02} left")
    return " · ".join(parts)


@contextmanager
def watch(tally: Tally, console: Console) -> Iterator[None]:
    """Show `tally` on `console` until the block ends."""
    started = time.monotonic()
    over = threading.Event()

    def current() -> str:
        return line_of(tally, time.monotonic() - started)

    if console.is_terminal:
        with Live(Text(current()), console=console, auto_refresh=False, transient=True) as live:

            def redraw() -> None:
                while not over.wait(LIVE_EVERY):
                    live.update(Text(current()), refresh=True)

            thread = threading.Thread(target=redraw, daemon=True)
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()
        return

    def print_lines() -> None:
        while not over.wait(PLAIN_EVERY):
            console.print(current(), highlight=False, soft_wrap=True)

    thread = threading.Thread(target=print_lines, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
