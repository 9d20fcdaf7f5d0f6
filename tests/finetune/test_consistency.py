from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from finetune.objectives.consistency import direction_error, divergence
from tests.finetune.models import normal


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_it_is_torchs_own_divergence_times_the_squared_temperature(temperature):
    student, teacher = normal(5, 7), normal(5, 7, seed=1)
    theirs = functional.kl_div(
        (student / temperature).log_softmax(-1), (teacher / temperature).softmax(-1), reduction="none"
    ).sum(-1)
    torch.testing.assert_close(divergence(student, teacher, temperature), theirs * temperature**2)


def test_two_classes_in_closed_form():
    # p = (3/4, 1/4), q = (1/2, 1/2): KL = log 2 − H(p)
    p = torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    found = divergence(torch.zeros(1, 2, dtype=torch.float64), p.log())
    wanted = torch.log(torch.tensor(2.0)) + (p * p.log()).sum()
    assert found.item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_underflowing_classes_leave_value_and_gradient_finite(dtype, temperature):
    levels = torch.cartesian_prod(*[torch.tensor([-1e4, 0.0, 1e4])] * 3).to(dtype)
    for teacher in levels:
        student = levels.clone().requires_grad_()
        rows = divergence(student, teacher.expand_as(levels), temperature)
        assert rows.isfinite().all()
        assert (rows >= 0).all()
        rows.sum().backward()
        assert student.grad.isfinite().all()


def test_equal_outputs_have_neither_value_nor_gradient():
    student = normal(4, 6).requires_grad_()
    for term in (divergence(student, student.detach(), 2.0), direction_error(student, student.detach())):
        assert term.abs().max() < 1e-15
        (slope,) = torch.autograd.grad(term.sum(), student)
        assert slope.abs().max() < 1e-14


def test_the_squared_error_of_directions_is_two_minus_two_cosines_over_the_width():
    student, teacher = normal(5, 7), normal(5, 7, seed=1)
    cosines = functional.cosine_similarity(student, teacher, dim=-1)
    torch.testing.assert_close(direction_error(student, teacher), (2 - 2 * cosines) / 7)


def test_one_column_has_no_gradient():
    student = normal(5, 1).requires_grad_()
    for term in (divergence, direction_error):
        (slope,) = torch.autograd.grad(term(student, normal(5, 1, seed=1)).sum(), student)
        assert slope.abs().max() < 1e-12
