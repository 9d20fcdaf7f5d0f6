"""Steps down a loss: what every method has in common, and stops at a step that is not finite or not wanted."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from augment.errors import FinetuneError, Interrupted

CLIP = 1.0
"""The largest norm of a step's gradient."""
PROBES = 8
"""Times and noises that each picture is looked at with before and after, always the same ones."""


class Lesson(Protocol):
    """Something to learn from `count` pictures: `parameters` change; `weights` are what each loss counts."""

    count: int
    parameters: list[torch.nn.Parameter]
    weights: dict[str, float]

    def wrong(self, chosen: Sequence[int], chance: Generator) -> Tensor:
        """How wrong it is about the subject's pictures of these numbers, (chosen,)."""
        ...

    def saved(self, pipe: Any) -> bytes:
        """What was learned, as a file that diffusers loads."""
        ...

    def losses(self, chance: Generator) -> dict[str, Tensor]:
        """This step's losses, each a number with a gradient."""
        ...


def learn(
    lesson: Lesson,
    steps: int,
    rate: float,
    chance: Generator,
    tell: Callable[[int, float], None],
    stop: threading.Event,
) -> dict[str, list[float]]:
    """Take `steps` steps of AdamW at a constant rate; every loss of every step, to five digits.

    `tell` takes the number of steps done and the last loss.

    Raises:
        FinetuneError: a loss is not finite.
        Interrupted: `stop` was set.
    """
    optimizer = torch.optim.AdamW(lesson.parameters, lr=rate, weight_decay=0.0)
    history: dict[str, list[float]] = {name: [] for name in lesson.weights}
    for step in range(1, steps + 1):
        if stop.is_set():
            raise Interrupted(f"stopped at step {step - 1} of {steps}")
        found = lesson.losses(chance)
        whole = sum((weight * found[name] for name, weight in lesson.weights.items()), torch.zeros(()))
        for name, value in found.items():
            history[name].append(round(float(value.detach()), 5))
        if not math.isfinite(float(whole.detach())):
            raise FinetuneError(f"the loss is not finite at step {step}; lower --learning-rate")
        optimizer.zero_grad(set_to_none=True)
        whole.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(lesson.parameters, CLIP)
        optimizer.step()
        tell(step, float(whole.detach()))
    return history


@torch.no_grad()
def wrong_by(lesson: Lesson, batch: int) -> float:
    """The mean loss on every picture of the subject, at `PROBES` times and noises that depend on nothing."""
    chance = Generator().manual_seed(0)
    numbers = list(range(lesson.count))
    chunks = [numbers[at : at + batch] for at in range(0, len(numbers), batch)]
    found = [lesson.wrong(each, chance) for _ in range(PROBES) for each in chunks]
    return float(torch.cat(found).mean())


def turns(count: int, chance: Generator) -> Iterator[int]:
    """Numbers below `count` without end: all of them in some order, then all of them in another."""
    while True:
        yield from torch.randperm(count, generator=chance).tolist()
