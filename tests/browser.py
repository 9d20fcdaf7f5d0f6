"""A real browser for the pages that people see: Debian's Chromium, driven by Playwright.

$AUGMENT_CHROMIUM names its executable (`.ci/run` sets it); without it the tests that need one are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)

needs_browser = pytest.mark.skipif("AUGMENT_CHROMIUM" not in os.environ, reason="set AUGMENT_CHROMIUM to a Chromium")


@contextmanager
def browser() -> Iterator:
    """A headless Chromium, as Playwright's Browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=os.environ["AUGMENT_CHROMIUM"], args=list(SWITCHES))
        try:
            yield opened
        finally:
            opened.close()
