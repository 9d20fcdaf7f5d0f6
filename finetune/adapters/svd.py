"""The leading singular vectors of a weight, by subspace iteration with a generator of its own.

`torch.svd_lowrank` draws from the global generator, so that the same call gives other factors in another process.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EXTRA = 8  # columns beyond the rank, dropped at the end: Halko, Martinsson, Tropp 2011, section 4.2 (p = 5 … 10)


def principal(weight: Tensor, rank: int, niter: int | None, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """U (m × r), S (r) descending, Vᵀ (r × n) of `weight` (m × n).

    `niter` rounds of Halko et al.'s algorithm 4.4 from a Gaussian start drawn from `random` (on the CPU, so that
    a device does not change it); None is the full SVD.
    """
    rows, columns = weight.shape
    width = min(rank + _EXTRA, rows, columns)
    if niter is None:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return left[:, :rank].contiguous(), values[:rank], right[:rank].contiguous()
    sketch = torch.randn(columns, width, generator=random, dtype=weight.dtype).to(weight.device)
    basis = torch.linalg.qr(weight @ sketch).Q
    for _ in range(niter):
        basis = torch.linalg.qr(weight.T @ basis).Q
        basis = torch.linalg.qr(weight @ basis).Q
    inner, values, right = torch.linalg.svd(basis.T @ weight, full_matrices=False)
    return basis @ inner[:, :rank], values[:rank], right[:rank].contiguous()


def product(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (m × k), S (k) descending, Vᵀ (k × n) of `up` (m × k) times `down` (k × n), k ≤ m, n, without the m × n matrix.

    Two QRs and the SVD of a k × k matrix. A k over a side of the matrix gives as many values as that side.
    """
    left, right = torch.linalg.qr(up), torch.linalg.qr(down.T)
    inner, values, outer = torch.linalg.svd(left.R @ right.R.T, full_matrices=False)
    return left.Q @ inner, values, outer @ right.Q.T
