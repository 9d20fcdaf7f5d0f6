"""Leading singular vectors by subspace iteration, and the SVD of a product of thin factors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from finetune.adapters.svd import principal, product


def weight(rows: int, columns: int) -> Tensor:
    """Singular values 1, 1/2, 1/3, …"""
    random = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(rows, rows, generator=random)).Q
    right = torch.linalg.qr(torch.randn(columns, columns, generator=random)).Q
    side = min(rows, columns)
    return left[:, :side] @ torch.diag(1 / torch.arange(1.0, side + 1)) @ right[:side]


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
@pytest.mark.parametrize(("niter", "tolerance"), [(None, 1e-5), (16, 1e-4), (0, 0.2)])
def test_the_leading_part_is_the_best_of_its_rank(shape, niter, tolerance):
    given = weight(*shape)
    left, values, right = principal(given, 6, niter, random())
    assert left.shape == (shape[0], 6) and right.shape == (6, shape[1])
    torch.testing.assert_close(values, 1 / torch.arange(1.0, 7), rtol=tolerance, atol=0)
    torch.testing.assert_close(left.T @ left, torch.eye(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(right @ right.T, torch.eye(6), atol=1e-4, rtol=0)
    best = torch.linalg.svdvals(given)[6:].norm()
    assert float((given - left * values @ right).norm()) <= float(best) * (1 + tolerance)


@pytest.mark.parametrize("rank", [1, 40])
def test_ranks_at_the_ends(rank):
    given = weight(40, 60)
    left, values, right = principal(given, rank, 16, random())
    assert values.shape == (rank,)
    if rank == 40:
        torch.testing.assert_close(left * values @ right, given, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rows", "inner", "columns"), [(30, 4, 20), (3, 5, 20), (20, 5, 3)])
def test_a_product_of_thin_factors_needs_no_whole_matrix(rows, inner, columns):
    up = torch.randn(rows, inner, generator=random())
    down = torch.randn(inner, columns, generator=random())
    left, values, right = product(up, down)
    torch.testing.assert_close(left * values @ right, up @ down, atol=1e-5, rtol=1e-4)
    wanted = torch.linalg.svdvals(up @ down)[: len(values)]
    torch.testing.assert_close(values[: len(wanted)], wanted, atol=1e-5, rtol=1e-4)
