"""How long a GPU takes to read and write tokens, from what its maker says of it: a forecast, not a measurement.

Training is bound by arithmetic: 4 flops a weight and token (forward 2, backward through frozen weights 2; Kaplan et
al., 2020, §2.1, less the gradients of weights), 2 more with gradient checkpointing, 2 more where the original model is
asked too. Reading a prompt takes 2. Writing is bound by memory: every step reads the weights once for all that are
written side by side.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from augment.errors import RecipeError
from augment.places import data_dir
from augment.registry import closest

TRAINED, READ, WRITTEN = 0.35, 0.5, 0.5
"""What of the arithmetic, and of the bandwidth, is reached: what well-tuned programs report on such GPUs."""
SIDE_BY_SIDE = 256
"""Answers that are written at a time, at most, in a forecast: more do not fit beside a 7B model in 80 GB."""


@dataclass(frozen=True)
class Gpu:
    """`teraflops` are dense bfloat16, `bandwidth` is in GB/s, `memory` in GB."""

    name: str
    teraflops: float
    bandwidth: float
    memory: float

    def training(self, parameters: int, tokens: float, flops: int) -> float:
        """Seconds to train on `tokens`, at so many `flops` a weight and token."""
        return flops * parameters * tokens / (self.teraflops * 1e12 * TRAINED)

    def answering(self, parameters: int, tokens_in: float, tokens_out: float, at_once: int, itemsize: int = 2) -> float:
        """Seconds to read and write so many tokens, `at_once` answers side by side."""
        beside = max(1, min(at_once, SIDE_BY_SIDE))
        reading = 2 * parameters * tokens_in / (self.teraflops * 1e12 * READ)
        step = parameters * itemsize / (self.bandwidth * 1e9 * WRITTEN)
        return reading + tokens_out / beside * step


def known_gpus() -> list[Gpu]:
    """All that `data/gpus.toml` knows."""
    table = tomllib.loads((data_dir() / "gpus.toml").read_text("utf-8"))
    return [Gpu(name, **numbers) for name, numbers in table.items()]


def gpu_of(name: str | None) -> Gpu | None:
    """The GPU of that name, or without one the first of this machine; None where there is none that is known.

    Raises:
        RecipeError: none of that name is known.
    """
    known = known_gpus()
    if name is not None:
        found = next((each for each in known if each.name.lower() == name.lower()), None)
        if found is None:
            raise RecipeError(f"no GPU called '{name}'; {closest(name, [each.name for each in known])}")
        return found
    import torch

    if not torch.cuda.is_available():
        return None
    said = torch.cuda.get_device_name(0)
    return next((each for each in known if each.name in said), None)
