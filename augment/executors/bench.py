"""What runs on a worker where models are spread: works, each opened once. Knows no Ray and no file layout."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from augment import __version__
from filters.spread import Work


class Bench:
    """Works on batches, one after the other."""

    def __init__(self) -> None:
        self._opened: dict[Work, Callable[[Any], Any]] = {}

    def settle(self, folder: str, environment: dict[str, str]) -> str:
        """Take over the driver's folder, if it is here too, and keys; which `augment` is installed here."""
        os.environ.update(environment)
        if Path(folder).is_dir():
            os.chdir(folder)
        return __version__

    def work(self, given: bytes) -> bytes:
        """The result for one batch of a work, both pickled.

        Raises:
            AugmentError: the work cannot be opened here.
        """
        work, batch = pickle.loads(given)
        if work not in self._opened:
            self._opened[work] = work.open()
        return pickle.dumps(self._opened[work](batch))
