from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from augment import terminal
from augment.summary import Tally


@pytest.mark.parametrize("live", [False, True])
def test_progress_is_shown_while_a_run_goes_on(monkeypatch, live):
    monkeypatch.setattr(terminal, "PLAIN_EVERY", 0.01)
    monkeypatch.setattr(terminal, "LIVE_EVERY", 0.01)
    seen = io.StringIO()
    tally = Tally(target=9)
    with terminal.watch(tally, Console(file=seen, force_terminal=live, width=200)):
        tally.kept = 4
        time.sleep(0.2)
    assert "4/9 kept" in seen.getvalue()


def test_a_line_of_progress_counts_and_says_what_is_left():
    tally = Tally(target=100, kept=20, requests_sent=20, tokens_in=5, tokens_out=6, candidates=20)
    assert terminal.line_of(tally, 60.0) == (
        "20 answered · 20/100 kept · 0 rejected · 0 failed · 0 rows/s · 11 tokens · about 4:00 left"
    )
