"""What a model said: logits, or hidden states with the head that would turn them into logits.

At a vocabulary of 152k the logits of 512 tokens take 0.3 GB in fp32 and a loss holds several copies of
them; the hidden states take 0.001 GB, and the head can be applied to a few tokens at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Logits:
    """`values`: (B, T, V) of a language model, (N, D) of a classification or regression head."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class Head:
    """A frozen linear head: logits = states @ weightᵀ + bias. Make one a model and keep it.

    weight: (V, d); bias: (V,) or None.
    """

    weight: Tensor
    bias: Tensor | None = None

    @cached_property
    def metric(self) -> Tensor:
        """[W b]ᵀ[W b], fp32 or wider, (d, d) or (d + 1, d + 1): two states' logits have the product h metric h'ᵀ."""
        with torch.no_grad(), torch.autocast(self.weight.device.type, enabled=False):
            dtype = working_dtype(self.weight)
            size = self.weight.shape[1] + (self.bias is not None)
            found = self.weight.new_zeros((size, size), dtype=dtype)
            for start in range(0, len(self.weight), 8192):
                rows = self.weight[start : start + 8192].to(dtype)
                if self.bias is not None:
                    rows = torch.cat([rows, self.bias[start : start + 8192, None].to(dtype)], dim=1)
                found.addmm_(rows.T, rows)
            return found

    def extended(self, states: Tensor) -> Tensor:
        """The states (M, d) as `metric` multiplies them: with a column of ones where the head has a bias."""
        states = states.to(working_dtype(states))
        return states if self.bias is None else torch.cat([states, states.new_ones(len(states), 1)], dim=1)


@dataclass(frozen=True)
class Hidden:
    """`states`: (B, T, d), the inputs of `head`."""

    states: Tensor
    head: Head


def working_dtype(tensor: Tensor) -> torch.dtype:
    """The precision that losses are computed in: fp32, or fp64 for an fp64 tensor."""
    return torch.promote_types(tensor.dtype, torch.float32)
