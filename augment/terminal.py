"""What a person sees of a run: what was chosen, a live line on a terminal (plain lines elsewhere), the accounts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from augment.plan import Plan
from augment.sieve import harsh
from augment.summary import Summary, Tally, remarks, total_rejected

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

    with ExitStack() as stack:
        every = LIVE_EVERY if console.is_terminal else PLAIN_EVERY
        live = Live(Text(current()), console=console, auto_refresh=False, transient=True)
        if console.is_terminal:
            stack.enter_context(live)

        def show() -> None:
            if console.is_terminal:
                live.update(Text(current()), refresh=True)
            else:
                console.print(current(), highlight=False, soft_wrap=True)

        def repeat() -> None:
            while not over.wait(every):
                show()

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def announce(plan: Plan, console: Console) -> None:
    """Say, before anything runs, what was chosen for the user."""
    notes = [f"{plan.source.name}: {note}" for note in plan.source.notes]
    if not plan.engines and not plan.recipe.generators:
        flag = "--llm" if plan.modality == "text" else "--engine"
        notes.append(f"no {flag} given: using the generator `{plan.recipe.usual()[0]}`, which needs no model")
    if plan.chosen_by_columns:
        notes.append(f"generators chosen by the source's columns: {','.join(plan.recipe.generators)}")
    if plan.parent is not None:
        notes.append(f"version {plan.version}: grows from {plan.parent.folder}")
    if plan.exam.is_empty():
        notes.append("no exam is held out; --holdout 20% keeps rows for evaluation, --exam FILE names others")
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True, markup=False)


def print_dropped(counts: dict[str, Any], console: Console) -> None:
    """Who dropped how many rows and why, the most first; nothing where nothing was dropped."""
    dropped = [(name, reason, rows) for name, each in counts["rejected"].items() for reason, rows in each.items()]
    dropped += [("failed", reason, rows) for reason, rows in counts["failures"].items()]
    if dropped:
        table = Table("dropped by", "reason", "rows", box=None)
        table.columns[2].justify = "right"
        for name, reason, rows in sorted(dropped, key=lambda each: -each[2]):
            table.add_row(name, reason, f"{rows:,}")
        console.print(table)


def print_summary(summary: Summary, console: Console) -> None:
    """Both accounts, what was dropped by whom, what is short, and what was paid."""

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    counts = summary.to_dict()
    say(
        f"{counts['rows_in']:,} rows in = {counts['seeds']:,} seeds + {counts['exam']:,} exam"
        f" + {counts['source_rejected']:,} rejected + {counts['unused']:,} unused"
    )
    say(
        f"{counts['candidates']:,} candidates = {counts['kept']:,} kept"
        f" + {total_rejected(counts):,} rejected + {counts['failed']:,} failed"
        + (f" ({counts['carried']:,} carried over)" if counts["carried"] else "")
    )
    print_dropped(counts, console)
    for line in remarks(counts):
        say(line)
    for line in harsh(counts.get("sieve", [])):
        console.print(f"! {line}", style="bold", highlight=False, soft_wrap=True)
    if counts["seeds_short"]:
        missing = counts["target"] - counts["kept"]
        say(f"seeds short of their share: {len(counts['seeds_short']):,}, by {missing:,} variants (see summary.json)")
    if counts["requests_sent"] or counts["replies_reused"]:
        say(
            f"{counts['requests_sent']:,} requests sent, {counts['replies_reused']:,} replies reused, "
            f"{counts['tokens_in']:,} tokens in, {counts['tokens_out']:,} out"
        )
    if by_prompt := counts.get("structured", {}).get("prompt"):
        say(f"{by_prompt:,} answers were asked for as JSON in words alone: the decoder was not held to the schema")
    say(f"{counts['kept']:,} of {counts['target']:,} variants in {counts['seconds']} s:")
