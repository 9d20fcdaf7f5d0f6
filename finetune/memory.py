"""A memory that is too small for a training, told as what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from augment.errors import FinetuneError
from finetune.prepare import Prepared


@contextmanager
def enough_memory(prepared: Prepared) -> Iterator[None]:
    """Turns what a full memory raises in the block into what to change.

    Raises:
        FinetuneError: the memory is full.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        told = f"{error}".lower()
        if (
            not isinstance(error, torch.OutOfMemoryError | MemoryError)
            and "alloc" not in told
            and "out of memory" not in told
        ):
            raise
        recipe, micro_batch = prepared.recipe, prepared.forecast.micro_batch
        ways = [
            f"--micro-batch {_next_smaller(micro_batch)}" if micro_batch > 1 else "",
            "" if recipe.gradient_checkpointing else "--gradient-checkpointing (same result, slower)",
            "" if prepared.dtype == torch.bfloat16 else "--precision bf16",
            "" if recipe.quantize else "--quantize 4bit",
            f"a smaller --length than {prepared.length}",
        ]
        raise FinetuneError(f"out of memory: use {', or '.join(way for way in ways if way)}") from None


def _next_smaller(micro_batch: int) -> int:
    """The largest divisor below: it divides the batch too."""
    return next(size for size in range(micro_batch - 1, 0, -1) if micro_batch % size == 0)
