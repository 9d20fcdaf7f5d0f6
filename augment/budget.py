"""`--budget 2M-tokens` or `30min`: what one run may spend before it stops by itself, to go on another time."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from augment.errors import BudgetSpent, Interrupted
from augment.summary import Tally

_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kM])?-?tokens?|(s|min|h|d))")
_TOKENS = {None: 1, "k": 1_000, "M": 1_000_000}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Budget:
    """As `written`: so many `tokens`, in and out, that are paid for, or so many `seconds`; the other is None."""

    written: str
    tokens: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, written: str) -> Budget:
        """The budget that `2M-tokens`, `500k-tokens`, `30min`, `2h` or `90s` is.

        Raises:
            ValueError: it is none.
        """
        found = _WRITTEN.fullmatch(written.strip())
        amount = float(found[1]) if found else 0.0
        if found is None or not amount:
            raise ValueError(f"'{written}' is no budget; write 2M-tokens, 500k-tokens, 30min or 2h")
        if found[3]:
            return cls(written, seconds=amount * _SECONDS[found[3]])
        return cls(written, tokens=amount * _TOKENS[found[2]])


@contextmanager
def within(budget: Budget | None, tally: Tally, drain: Callable[[], None]) -> Iterator[None]:
    """Work that calls `tally.sent` for every reply, and is drained once the budget is spent.

    What is in flight then is still answered and kept, so that a run may spend a little more: as much as
    `--concurrency` answers cost.

    Raises:
        BudgetSpent: the work was interrupted for that.
    """
    if budget is None:
        yield
        return
    spent, until = threading.Event(), time.monotonic() + (budget.seconds or float("inf"))

    def look() -> None:
        paid = tally.tokens_in + tally.tokens_out
        if not spent.is_set() and ((budget.tokens and paid >= budget.tokens) or time.monotonic() >= until):
            spent.set()
            drain()

    tally.after = look
    timer = threading.Timer(budget.seconds or 0, look)
    timer.daemon = True
    if budget.seconds:
        timer.start()
    try:
        yield
    except Interrupted:
        if not spent.is_set():
            raise
        paid = f"{tally.requests_sent:,} answers, {tally.tokens_in + tally.tokens_out:,} tokens"
        raise BudgetSpent(f"the budget of {budget.written} is spent ({paid}); {tally.line()} so far") from None
    finally:
        timer.cancel()
        tally.after = None
