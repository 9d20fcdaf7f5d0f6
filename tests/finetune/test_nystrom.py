"""The three Nyström cores, in closed form and at their limits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from finetune.adapters.factors import Factors
from finetune.adapters.nystrom import blocks, fitted, inverted

FORMS = {
    "copy": lambda weight, rank, scaling: blocks(weight, rank),
    "pinv": lambda weight, rank, scaling: inverted(weight, rank, 0, scaling),
    "nystrom": fitted,
}


def gaussian(rows: int, columns: int, rank: int | None = None, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    if rank is None:
        return torch.randn(rows, columns, generator=random)
    left, right = (torch.randn(*shape, generator=random).double() for shape in ((rows, rank), (rank, columns)))
    return left @ right / rank**0.5


def product(found: Factors, scaling: float = 1) -> Tensor:
    return scaling * found.up @ found.core @ found.down


def error(weight: Tensor, near: Tensor) -> float:
    return float((weight - near).norm() / weight.norm())


def test_copied_blocks_are_the_weights_own():
    weight = gaussian(12, 20)
    found = blocks(weight, 5)
    assert torch.equal(found.up, weight[:, :5])
    assert torch.equal(found.down, weight[:5])
    assert torch.equal(found.core, weight[:5, :5])
    found.up[0, 0] = 9
    assert weight[0, 0] != 9


def test_copied_blocks_unsubtracted_perturb_a_gaussian_by_its_variance_times_the_rank():
    weight = gaussian(1024, 1024) * 0.02
    moved = float(product(blocks(weight, 128)).norm() / weight.norm())
    assert moved == pytest.approx(0.02**2 * 128, rel=0.1)  # 5 %


@pytest.mark.parametrize("scaling", [1.0, 0.25])
@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
def test_the_pseudo_inverse_gives_the_first_rows_and_columns_exactly(shape, scaling):
    weight = gaussian(*shape).double()
    near = product(inverted(weight, 5, 0, scaling), scaling)
    torch.testing.assert_close(near[:5], weight[:5])
    torch.testing.assert_close(near[:, :5], weight[:, :5])
    assert error(weight, near) > 1


@pytest.mark.parametrize("scaling", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_the_fitted_core_is_the_pseudo_inverses_product(shape, scaling):
    weight = gaussian(*shape).double()
    left, right = weight[:, :8], weight[:8]
    wanted = left @ torch.linalg.pinv(left) @ weight @ torch.linalg.pinv(right) @ right
    torch.testing.assert_close(product(fitted(weight, 8, scaling), scaling), wanted)


@pytest.mark.parametrize("form", ["pinv", "nystrom"])
@pytest.mark.parametrize("rank", [8, 3])
def test_a_weight_of_no_more_than_that_rank_is_reproduced_whole(form, rank):
    weight = gaussian(40, 60, rank)
    near = product(inverted(weight, 8, 1e-9, 1) if form == "pinv" else fitted(weight, 8, 1))
    assert error(weight, near) < 1e-9
    assert error(weight.float(), product(fitted(weight.float(), 8, 1))) < 1e-4  # its leading block is near singular


@pytest.mark.parametrize("rank", [1, 7, 40])
def test_the_fitted_core_is_never_worse_than_nothing_and_full_rank_is_exact(rank):
    weight = gaussian(40, 60)
    found = error(weight, product(fitted(weight, rank, 1)))
    assert found <= 1
    assert (found < 1e-5) == (rank == 40)
    assert found <= error(weight, product(inverted(weight, rank, 0.1, 1))) + 1e-5


def test_fitted_factors_share_the_scale_evenly_whatever_the_weights():
    for scale in (1e-3, 1.0, 1e3):
        found = fitted(gaussian(40, 60) * scale, 8, 1)
        for factor, gram in ((found.up, found.up.T @ found.up), (found.down, found.down @ found.down.T)):
            assert torch.allclose(gram, gram[0, 0] * torch.eye(8), atol=1e-4 * float(gram[0, 0])), factor.shape
        assert float(found.up.norm()) == pytest.approx(float(found.down.norm()), rel=1e-5)
        assert float(found.core.norm()) == pytest.approx(8**0.5, rel=1e-5)


@pytest.mark.parametrize("spoil", ["zero", "equal columns", "one entry"])
def test_a_degenerate_weight_gives_finite_factors_that_can_learn(spoil):
    weight = torch.zeros(12, 20)
    if spoil == "equal columns":
        weight += torch.arange(12.0)[:, None]
    if spoil == "one entry":
        weight[11, 19] = 1
    found = fitted(weight, 5, 1)
    assert all(torch.isfinite(each).all() for each in (found.up, found.core, found.down))
    assert float((weight - product(found)).norm()) <= float(weight.norm()) * (1 + 1e-6)
    assert float(found.up.norm()) > 0 and float(found.down.norm()) > 0


def test_the_errors_on_a_gaussian_are_those_of_the_notes():
    weight = gaussian(1536, 1536)
    assert 0.990 < error(weight, product(fitted(weight, 64, 1))) < 1
    assert error(weight, product(inverted(weight, 64, 0, 1))) > 3
    assert 1.4 < error(weight, product(inverted(weight, 64, 0.1, 1))) < 2.6
