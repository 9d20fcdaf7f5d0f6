from __future__ import annotations

import pytest
import torch

from finetune.objectives import svdr
from finetune.objectives.outputs import Head
from finetune.objectives.svdr import matrix_share, token_share
from tests.finetune.models import normal


def spectrum(rows: int, width: int, decay: float, seed: int = 0) -> torch.Tensor:
    """A matrix whose singular values fall like those of a language model's logits."""
    u, _ = torch.linalg.qr(normal(rows, min(rows, width), seed=seed))
    v, _ = torch.linalg.qr(normal(width, min(rows, width), seed=seed + 1))
    return u * (torch.arange(1, min(rows, width) + 1, dtype=torch.float64) ** -decay) @ v.T * 100


def test_a_diagonal_matrix_in_closed_form():
    z = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64))
    assert matrix_share(z, 2).item() == pytest.approx(-7 / 10)
    assert token_share(z, None, 2, nuclear=True).item() == pytest.approx(-7 / 10)
    assert token_share(z, None, 2).item() == pytest.approx(-7 / 30**0.5)


@pytest.mark.parametrize("nuclear", [False, True])
def test_the_gram_form_is_the_singular_value_form_with_its_gradient(nuclear):
    z = spectrum(20, 300, 0.8).requires_grad_()
    values = torch.linalg.svdvals(z)
    wanted = -values[:5].sum() / (values.sum() if nuclear else values.square().sum().sqrt())
    found = token_share(z, None, 5, nuclear=nuclear)
    assert abs(found - wanted).item() < 3e-11
    slopes = [torch.autograd.grad(each, z)[0] for each in (found, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("bias", [False, True])
def test_the_form_without_logits_is_that_of_the_logits(bias):
    states, weight = normal(20, 16).requires_grad_(), normal(300, 16, seed=1)
    head = Head(weight, normal(300, seed=2) if bias else None)
    logits = torch.nn.functional.linear(states, weight, head.bias)
    wanted = token_share(logits, None, 5)
    found = token_share(head.extended(states), head.metric, 5)
    torch.testing.assert_close(found, wanted)
    slopes = [torch.autograd.grad(each, states)[0] for each in (found, wanted)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("term", [lambda z: matrix_share(z, 3), lambda z: token_share(z, None, 3)])
def test_scaling_the_logits_changes_nothing(term):
    z = normal(12, 9)
    for scale in (1e-3, 1e3):
        torch.testing.assert_close(term(z * scale), term(z))


@pytest.mark.parametrize("shape", [(8, 3), (1, 9), (3, 9), (5, 1)])
def test_as_many_directions_as_singular_values_are_a_constant_with_a_warning(shape):
    z = normal(*shape).requires_grad_()
    with pytest.warns(UserWarning, match=r"constant.*k is 3"):
        found = matrix_share(z, 3)
    found.backward()
    assert found.item() == -1
    assert z.grad.abs().sum() == 0
    if shape[0] <= 3:
        with pytest.warns(UserWarning, match="constant"):
            assert token_share(z, None, 3, nuclear=True).item() == -1


@pytest.mark.parametrize("shape", [(1, 9), (0, 9), (4, 2)])
def test_few_tokens_and_lost_rank_leave_it_finite(shape):
    z = normal(*shape)
    z = torch.cat([z, z]).requires_grad_()  # half its singular values are 0
    for nuclear in (False, True):
        token_share(z, None, 3, nuclear=nuclear and len(z) > 3).backward()
        assert z.grad.isfinite().all()


def test_all_zero_logits_leave_it_finite():
    z = torch.zeros(6, 9, requires_grad=True)
    (token_share(z, None, 3) + matrix_share(z, 3)).backward()
    assert z.grad.isfinite().all()


def test_the_range_finder_is_near_the_exact_term_and_its_gradient(monkeypatch):
    z = spectrum(200, 400, 0.5).float().requires_grad_()
    exact = token_share(z, None, 10)
    monkeypatch.setattr(svdr, "EXACT", 0)
    near = token_share(z, None, 10)
    assert near.item() == pytest.approx(exact.item(), rel=1e-3)
    slopes = [torch.autograd.grad(each, z)[0].flatten() for each in (near, exact)]
    assert torch.nn.functional.cosine_similarity(*slopes, dim=0) > 0.999
    assert torch.equal(near, token_share(z, None, 10)), "it draws from a seed of its own"
