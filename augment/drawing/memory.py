"""Where weights are kept, and how many pictures are drawn at once: by what the device has room for."""

from __future__ import annotations

from typing import Any

CPU_BATCH = 4
MOST = 16
"""Pictures at once, where nobody says how many."""
SPARE = 2 * 2**30
"""Bytes of a GPU that are left to what is not weights."""
A_MEGAPIXEL = 3 * 2**30
"""Bytes that drawing one picture of a megapixel may take, with guidance; a guess on the safe side."""


def place_for(weights: int, largest: int, free: int) -> str:
    """Where weights go on a GPU with `free` bytes: "whole" all on it, "models" one model at a time, "layers".

    `weights` are the bytes of all models together, `largest` those of the largest of them.
    """
    if weights + SPARE <= free:
        return "whole"
    return "models" if largest + SPARE <= free else "layers"


def batch_for(free: int, width: int, height: int) -> int:
    """How many pictures of that size to draw at once with `free` bytes beside the weights: a power of two."""
    fit = int(free / (A_MEGAPIXEL * width * height / 2**20))
    return 1 << (max(1, min(MOST, fit)).bit_length() - 1)


def sizes(pipe: Any) -> tuple[int, int]:
    """Bytes of all of a pipeline's weights, and of its largest model."""
    import torch

    each = [
        sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))
        for model in pipe.components.values()
        if isinstance(model, torch.nn.Module)
    ]
    return sum(each), max(each, default=0)
