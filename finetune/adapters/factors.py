"""The factors of one adapted layer, and the modules that stand where PEFT expects `lora_A` and `lora_B`.

For a layer W (out m × in n) of rank r, with B (m × r), N (r × r, absent in plain LoRA), A (r × n):

    y = W x + s·(B N A − B0 N0 A0) x

PEFT asks of the two modules that `lora_B(lora_A(x))` be the bracket applied to x and that
`lora_B.weight @ lora_A.weight` be the bracket itself. Everything else (merging, several adapters, quantised
bases, checkpointing) follows from that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from augment.records import seed_for

RESERVED = ("factor", "core", "start", "core_start")
"""Tensor names below `lora_A.<adapter>` and `lora_B.<adapter>`; an adapter of the same name would hide them."""


@dataclass(frozen=True)
class Factors:
    """Where a layer's factors start: `up` B (m × r), `core` N (r × r) or None for the identity, `down` A (r × n)."""

    up: Tensor
    down: Tensor
    core: Tensor | None = None


@dataclass(frozen=True)
class Site:
    """A layer about to be adapted, as the function that starts its factors sees it.

    `rows` × `columns` is the weight's shape m × n, whatever the layer's storage order; `read` gives that weight,
    dequantised, in fp32 (fp64 for an fp64 base) on the layer's device.
    """

    key: str
    rows: int
    columns: int
    rank: int
    scaling: float
    device: torch.device
    dtype: torch.dtype
    read: Callable[[], Tensor]

    def random(self, seed: int, purpose: str) -> torch.Generator:
        """A CPU generator of this layer's own, so that a start does not depend on device or order of layers."""
        return torch.Generator().manual_seed(seed_for(self.key, purpose, 0, seed))

    def kaiming(self, rows: int, columns: int, seed: int, purpose: str) -> Tensor:
        """Kaiming-uniform(a = √5): uniform in ±1/√columns, LoRA's usual start of A."""
        made = torch.empty(rows, columns, dtype=self.dtype)
        bound: float = columns**-0.5
        return made.uniform_(-bound, bound, generator=self.random(seed, purpose)).to(self.device)

    def zeros(self, rows: int, columns: int) -> Tensor:
        return torch.zeros(rows, columns, dtype=self.dtype, device=self.device)


class _Factor(nn.Module):
    """What both sides share. A frozen factor is a buffer: PEFT switches `requires_grad` of every parameter."""

    factor: Tensor
    start: Tensor | None

    def __init__(self, factor: Tensor, frozen: bool, anchored: bool) -> None:
        super().__init__()
        factor = factor.contiguous()  # as a reloaded one is: other strides may round otherwise
        _hold(self, "factor", factor, frozen)
        self.register_buffer("start", factor.clone() if anchored else None)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move, but keep the precision.

        While loading, PEFT moves each adapter to the device *and dtype* of its base layer; in bf16 that would
        round the factors, and the start by another path than the factor. `model.to(dtype)` still casts.
        """
        kwargs.pop("dtype", None)
        return super().to(*(each for each in args if not isinstance(each, torch.dtype)), **kwargs)


class Down(_Factor):
    """A (r × n), and its start A0 where the adapter is anchored."""

    def __init__(self, factors: Factors, *, frozen: bool, anchored: bool) -> None:
        super().__init__(factors.down, frozen, anchored)

    @property
    def weight(self) -> Tensor:
        """A (r × n); anchored, A over A − A0 (2r × n). See `Up.weight`."""
        return self.factor if self.start is None else torch.cat([self.factor, self.factor - self.start])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """A x and A0 x, each (…, r)."""
        return linear(x, self.factor), None if self.start is None else linear(x, self.start)


class Up(_Factor):
    """B (m × r) and N (r × r), and their starts."""

    core: Tensor | None
    core_start: Tensor | None

    def __init__(self, factors: Factors, *, frozen: bool, anchored: bool) -> None:
        super().__init__(factors.up, frozen, anchored)
        _hold(self, "core", factors.core, False)
        self.register_buffer("core_start", factors.core.clone() if anchored and factors.core is not None else None)

    @property
    def weight(self) -> Tensor:
        """B N (m × r); anchored, [B N − B0 N0, B0 N0] (m × 2r).

        `Up.weight @ Down.weight` is then (B N − B0 N0) A + B0 N0 (A − A0), which equals B N A − B0 N0 A0 without
        the cancellation that would drown a small learned difference, and is exactly 0 before training.
        """
        if self.start is None:
            return self.factor if self.core is None else self.factor @ self.core
        if self.core is None or self.core_start is None:
            return torch.cat([self.factor - self.start, self.start], dim=1)
        moved = (self.factor - self.start) @ self.core + self.start @ (self.core - self.core_start)
        return torch.cat([moved, self.start @ self.core_start], dim=1)

    def forward(self, inner: tuple[Tensor, Tensor | None]) -> Tensor:
        """B N (A x) − B0 N0 (A0 x): two branches of the same operations, so that they cancel to the bit at first."""
        now, before = inner
        made = linear(now if self.core is None else linear(now, self.core), self.factor)
        if before is None or self.start is None:
            return made
        return made - linear(before if self.core_start is None else linear(before, self.core_start), self.start)


def _hold(module: nn.Module, name: str, tensor: Tensor | None, frozen: bool) -> None:
    if frozen:
        module.register_buffer(name, tensor)
    else:
        module.register_parameter(name, None if tensor is None else nn.Parameter(tensor))
