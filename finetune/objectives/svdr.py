"""BA-LoRA's singular value regularisation: keep energy in the leading directions (arXiv 2408.04556).

The value is minus the share of the leading k singular values of the logits. It does not change when the
logits are scaled. Gradients through a randomised SVD are biased (cosine .64 to .96 with the exact one), so
singular values come from the Gram matrix Z Zᵀ, M × M for M tokens whatever the vocabulary; where even that
is large, from Z projected on its leading directions, found without a gradient.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

EXACT = 512
"""The most tokens whose whole Gram matrix is decomposed (.06 s on one core); beyond, the range finder."""
OVERSAMPLED, ITERATIONS = 16, 4


def matrix_share(logits: Tensor, k: int) -> Tensor:
    """−Σ_{i≤k} σ_i / Σ_j σ_j of the logits (N, D), a scalar in [−1, 0).

    With min(N, D) ≤ k it is −1 whatever the logits, so its gradient is 0: that is said in a warning.
    """
    if min(logits.shape) <= k:
        _warn_constant(min(logits.shape), k)
        return logits.sum() * 0.0 - 1.0
    values: Tensor = torch.linalg.svdvals(logits)
    return -values[:k].sum() / values.sum().clamp(min=torch.finfo(values.dtype).tiny)


def token_share(rows: Tensor, metric: Tensor | None, k: int, *, nuclear: bool = False) -> Tensor:
    """−Σ_{i≤k} σ_i / ‖Z‖ of the logits Z of M tokens, a scalar.

    ‖Z‖ is Frobenius' norm (version B), or with `nuclear` the sum of all σ (version A: decomposes M × M always).

    Args:
        rows: Z itself (M, V) with metric None; or (M, d) with `Head.metric`, so that Z Zᵀ = rows metric rowsᵀ and
            no logits are made.
    """
    if nuclear and len(rows) <= k:
        _warn_constant(len(rows), k)
        return rows.sum() * 0.0 - 1.0
    if len(rows) == 0:
        return rows.sum() * 0.0

    def products(left: Tensor, right: Tensor) -> Tensor:
        return (left if metric is None else left @ metric) @ right.T

    if nuclear or len(rows) <= EXACT:
        values = _roots(products(rows, rows))
        norm = values.sum() if nuclear else values.square().sum().sqrt()
        return (-values[:k].sum() / norm.clamp(min=torch.finfo(values.dtype).tiny)).to(rows.dtype)
    span = _leading_span(rows, products, k)
    inside = span.T @ rows
    values = _roots(products(inside, inside))[:k]
    squares = ((rows if metric is None else rows @ metric) * rows).sum()
    return -values.sum().to(rows.dtype) / squares.clamp(min=torch.finfo(rows.dtype).tiny).sqrt()


def _roots(gram: Tensor) -> Tensor:
    """The singular values behind a Gram matrix, largest first, fp64; those lost in rounding are 0 with no gradient."""
    squares = torch.linalg.eigvalsh(gram.double()).flip(-1)
    rounding = 4 * torch.finfo(gram.dtype).eps * squares[0].detach().clamp(min=0)
    kept = squares > rounding
    return torch.where(kept, torch.where(kept, squares, 1.0).sqrt(), 0.0)


@torch.no_grad()
def _leading_span(rows: Tensor, products: Callable[[Tensor, Tensor], Tensor], k: int) -> Tensor:
    """An orthonormal basis (M, k + 16) of nearly the leading left singular vectors, by subspace iteration.

    The sum of the leading σ is largest on the exact basis, so an error e in it moves value and gradient by e² and e.
    """
    generator = torch.Generator(rows.device).manual_seed(0)
    size = min(k + OVERSAMPLED, len(rows))
    span = torch.randn(len(rows), size, generator=generator, device=rows.device, dtype=rows.dtype)
    for _ in range(ITERATIONS):
        span = torch.linalg.qr(products(rows, span.T @ rows))[0]
    return span


def _warn_constant(size: int, k: int) -> None:
    warnings.warn(
        f"the singular value term is constant: the logits have {size} singular values and k is {k}; "
        "use larger batches, a smaller k, or lambda3 = 0",
        stacklevel=3,
    )
