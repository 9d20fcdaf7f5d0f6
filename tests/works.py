"""Works for tests of what is spread over workers. They note in the file `log` what a test wants to know."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from augment.errors import RecipeError


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers; each 13 in the batch `deadly` times kills who works on it."""

    log: str
    deadly: int = 0
    seconds: float = 0.0
    absent: bool = False

    def open(self) -> Callable[[list[int]], list[int]]:
        self.note(f"open {os.getpid()}")
        if self.absent:
            raise RecipeError("reward.model: no model folder there; give a folder")
        return self.doubled

    def doubled(self, batch: list[int]) -> list[int]:
        if 13 in batch and self.said().count("killed") < self.deadly:
            self.note(f"killed {os.getpid()}")
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds * (len(batch) == 1))  # a batch of one is slow, and others overtake it
        return [2 * each for each in batch]

    def note(self, what: str) -> None:
        with Path(self.log).open("a") as file:
            file.write(f"{what}\n")

    def said(self) -> str:
        return Path(self.log).read_text()
