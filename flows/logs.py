"""Our loggers' lines in Prefect: on the page of the run, next to its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

OURS = ("augment", "filters", "finetune", "flows")


@contextmanager
def our_logs() -> Iterator[None]:
    """While the block runs, what our loggers say from INFO up goes where Prefect's flow runs log to."""
    handlers = logging.getLogger("prefect.extra").handlers
    before = {name: logging.getLogger(name).level for name in OURS}
    for name in OURS:
        logger = logging.getLogger(name)
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)
        for handler in handlers:
            logger.addHandler(handler)
    try:
        yield
    finally:
        for name, level in before.items():
            logger = logging.getLogger(name)
            logger.setLevel(level)
            for handler in handlers:
                logger.removeHandler(handler)
