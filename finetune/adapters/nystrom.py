"""A matrix from its leading rows and columns: W ≈ C N R with R = W[:r, :] and C = W[:, :r].

Three cores N, from the released code's to the best: a copy of W[:r, :r], its pseudo-inverse (the classical Nyström
form), and C⁺ W R⁺, which minimises ‖W − C N R‖ (Stewart 1999) and so is never worse than nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from finetune.adapters.factors import Factors


def blocks(weight: Tensor, rank: int) -> Factors:
    """B = W[:, :r], A = W[:r, :], N = W[:r, :r], copied."""
    return Factors(weight[:, :rank].clone(), weight[:rank].clone(), weight[:rank, :rank].clone())


def inverted(weight: Tensor, rank: int, rcond: float, scaling: float) -> Factors:
    """C, pinv(W[:r, :r]) / s, R; singular values below `rcond` times the largest count as zero."""
    found = blocks(weight, rank)
    assert found.core is not None
    return Factors(found.up, found.down, torch.linalg.pinv(found.core, rtol=rcond) / scaling)


def fitted(weight: Tensor, rank: int, scaling: float) -> Factors:
    """Factors with s·B N A = C C⁺ W R⁺ R.

    With orthonormal bases Q of C's columns and P of R's rows the product is Q (Qᵀ W P) Pᵀ: the same matrix, and
    no pseudo-inverse that an ill-conditioned block could blow up. Q and Pᵀ carry equal shares √γ of the scale,
    which leaves N the Frobenius norm of an identity, so that gradients reach A and B as they do in PiSSA.
    """
    left = torch.linalg.qr(weight[:, :rank]).Q
    right = torch.linalg.qr(weight[:rank].T).Q
    core = left.T @ (weight @ right) / scaling
    share = float(torch.linalg.matrix_norm(core)) / rank**0.5 or 1.0
    return Factors(left * share**0.5, right.T * share**0.5, core / share)
