from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from augment.errors import FinetuneError
from finetune.objectives.consistency import divergence
from finetune.objectives.diversity import negative_entropy
from finetune.objectives.fused import TokenWeights, token_terms
from finetune.objectives.outputs import Head
from tests.finetune.models import normal

FORMS = [
    TokenWeights(0.2),
    TokenWeights(0.2, 0.7, None, temperature=2.0),
    TokenWeights(0.2, 0.7, 0.5, temperature=2.0, top=6),
    TokenWeights(0.2, 0.7, 0.5, temperature=1.0, top=None),
    TokenWeights(torch.tensor(0.25), None, 0.5, top=None),
    TokenWeights(0.2, 0.7, temperature=0.01),
    TokenWeights(0.2, 0.75, 0.5, temperature=3.0, top=600),
]
WIDTH = 600


def setting(
    dtype: torch.dtype = torch.float64, bias: bool = True
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Head]:
    head = Head(normal(WIDTH, 8, seed=2, dtype=dtype), normal(WIDTH, seed=3, dtype=dtype) if bias else None)
    targets = torch.randint(0, WIDTH, (9,), generator=torch.Generator().manual_seed(4))
    return normal(9, 8, dtype=dtype).requires_grad_(), normal(9, 8, seed=1, dtype=dtype), targets, head


def naive(rows, teacher, targets, head, weights):
    z = functional.linear(rows, head.weight, head.bias)
    z = z if z.dtype == torch.float64 else z.float()
    loss = functional.cross_entropy(z, targets, reduction="sum")
    if weights.divergence is not None:
        known = functional.linear(teacher, head.weight, head.bias).to(z.dtype)
        loss = loss + weights.divergence * divergence(z, known, weights.temperature).sum()
    if weights.negative_entropy is not None:
        loss = loss + weights.negative_entropy * negative_entropy(z, weights.top).sum()
    return loss * weights.share


@pytest.mark.parametrize("weights", FORMS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk_mib", [1, 96])
def test_value_and_gradient_are_the_naive_ones(weights, bias, chunk_mib, monkeypatch):
    rows, teacher, targets, head = setting(bias=bias)
    if chunk_mib == 1:  # two tokens a chunk, and a last chunk of one
        monkeypatch.setattr("finetune.objectives.fused.MIB", 2 * WIDTH * 8)
    found = token_terms(rows, head, targets, weights, teacher, chunk_mib=chunk_mib).loss
    wanted = naive(rows, teacher, targets, head, weights)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(3 * each, rows)[0] for each in (found, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("weights", FORMS)
def test_its_gradient_is_the_numeric_one(weights):
    rows, teacher, targets, head = setting()
    assert torch.autograd.gradcheck(lambda each: token_terms(each, head, targets, weights, teacher).loss, rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_is_the_naive_one_in_that_precision(dtype):
    rows, teacher, targets, head = setting(dtype)
    found = token_terms(rows, head, targets, FORMS[2], teacher).loss
    wanted = naive(rows, teacher, targets, head, FORMS[2])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
    slopes = [torch.autograd.grad(each, rows)[0].float() for each in (found, wanted)]
    torch.testing.assert_close(*slopes, rtol=0, atol=(1e-5 if dtype == torch.float32 else 0.02) * slopes[1].abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", FORMS[2:4])
def test_underflowing_classes_leave_it_finite(dtype, weights):
    rows = torch.tensor([[-1e4], [0.0], [1e4], [1.0]], dtype=dtype).requires_grad_()
    teacher = torch.tensor([[1e4], [1e4], [1e4], [0.0]], dtype=dtype)
    head = Head(torch.tensor([[1.0], [0.0], [-1.0], [0.5]], dtype=dtype).repeat(3, 1))
    found = token_terms(rows, head, torch.tensor([0, 1, 2, 3]), weights, teacher)
    found.loss.backward()
    assert found.loss.isfinite()
    assert (found.divergence >= 0).all()
    assert found.divergence.isfinite().all()
    assert rows.grad.isfinite().all()


def test_a_weight_of_zero_is_computed_for_the_log_and_pulls_by_not_one_bit():
    rows, teacher, targets, head = setting(torch.float32)
    plain = token_terms(rows, head, targets, TokenWeights(0.2))
    silent = token_terms(rows, head, targets, TokenWeights(0.2, 0.0, 0.0, 2.0, 6), teacher)
    assert torch.equal(plain.loss, silent.loss)
    assert torch.equal(*(torch.autograd.grad(each.loss, rows)[0] for each in (plain, silent)))
    assert plain.divergence is plain.negative_entropy is None
    assert silent.divergence.min() > 0 > silent.negative_entropy.max()


def test_equal_states_have_neither_divergence_nor_its_gradient():
    rows, _, targets, head = setting(torch.float32)
    found = token_terms(rows, head, targets, TokenWeights(0.2, 1.0, None, 2.0), rows.detach())
    plain = token_terms(rows, head, targets, TokenWeights(0.2))
    assert found.divergence.abs().max() < 1e-6
    torch.testing.assert_close(*(torch.autograd.grad(each.loss, rows)[0] for each in (found, plain)))


def test_no_token_is_no_loss_and_a_zero_gradient():
    rows, teacher, targets, head = setting()
    found = token_terms(rows[:0], head, targets[:0], FORMS[2], teacher[:0])
    found.loss.backward()
    assert found.loss.item() == 0
    assert rows.grad.abs().sum() == 0


def test_a_trained_head_and_a_missing_teacher_are_refused():
    rows, _, targets, head = setting()
    with pytest.raises(FinetuneError, match="frozen lm_head"):
        token_terms(rows, Head(head.weight.clone().requires_grad_()), targets, FORMS[0])
    with pytest.raises(FinetuneError, match="teacher"):
        token_terms(rows, head, targets, FORMS[1])


def test_logits_exist_a_chunk_at_a_time(monkeypatch):
    sizes = []
    softmax = torch.log_softmax

    def seen(*args, **kwargs):
        sizes.append(len(args[0]))
        return softmax(*args, **kwargs)

    monkeypatch.setattr(torch, "log_softmax", seen)
    monkeypatch.setattr("finetune.objectives.fused.MIB", 4 * WIDTH * 8)
    rows, teacher, targets, head = setting()
    token_terms(rows, head, targets, FORMS[1], teacher, chunk_mib=1)
    assert sizes == [3] * 9


def test_autocast_does_not_reach_into_it():
    rows, teacher, targets, head = setting(torch.float32)
    plain = token_terms(rows, head, targets, FORMS[2], teacher).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = token_terms(rows, head, targets, FORMS[2], teacher).loss
    assert torch.equal(inside, plain)
    assert torch.equal(*(torch.autograd.grad(each, rows)[0] for each in (inside, plain)))
