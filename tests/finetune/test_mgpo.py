from __future__ import annotations

import pytest
import torch

from augment.errors import FinetuneError, RecipeError
from finetune.perturbations.mgpo import Mgpo
from finetune.perturbations.norms import adapter_parameters
from tests.finetune.models import adapted, batch, classifier, moved, peaked


def started(settings: Mgpo, model=None, steps: int = 1, optimizer=torch.optim.AdamW):
    """A model, its perturbation and its optimizer after `steps` steps."""
    model = moved(adapted(peaked())).train() if model is None else model
    attached, made = settings.attach(model), optimizer(adapter_parameters(model), lr=1e-3)
    for _ in range(steps):
        made.zero_grad()
        with attached.micro_batch(made):
            model(**batch()).loss.backward()
        attached.before_step()
        made.step()
    return model, attached, made


def flat(tensors) -> torch.Tensor:
    return torch.cat([each.detach().float().flatten() for each in tensors])


def moments(optimizer) -> torch.Tensor:
    return flat(state["exp_avg"] for state in optimizer.state.values())


def test_the_first_step_is_plain():
    model = moved(adapted(peaked()))
    attached, optimizer = Mgpo(rho=1.0).attach(model), torch.optim.AdamW(adapter_parameters(model))
    before = flat(adapter_parameters(model))
    with attached.micro_batch(optimizer):
        assert torch.equal(flat(adapter_parameters(model)), before)


def test_the_step_is_along_the_momentum_and_rho_over_the_mean_norm_long():
    model, attached, optimizer = started(Mgpo(rho=0.02), steps=3)
    before = flat(adapter_parameters(model))
    with attached.micro_batch(optimizer):
        step = flat(adapter_parameters(model)) - before
    momentum = moments(optimizer)
    assert step.norm().item() == pytest.approx(0.02 / attached.mean_norm.item(), rel=1e-3)
    assert torch.nn.functional.cosine_similarity(step, momentum, dim=0) > 0.9999


def test_the_gradient_is_that_of_the_perturbed_point():
    model, attached, optimizer = started(Mgpo(rho=0.5), steps=2)
    parameters = adapter_parameters(model)
    model.zero_grad()
    with attached.micro_batch(optimizer):
        model(**batch()).loss.backward()
    found = flat(each.grad for each in parameters)
    length = 0.5 / attached.mean_norm
    with torch.no_grad():
        for each in parameters:
            each.add_(optimizer.state[each]["exp_avg"] * (length / moments(optimizer).norm()))
    model.zero_grad()
    model(**batch()).loss.backward()
    torch.testing.assert_close(found, flat(each.grad for each in parameters), rtol=1e-4, atol=1e-6)


def test_the_mean_norm_starts_at_the_first_and_moves_by_one_minus_beta():
    model, attached, optimizer = started(Mgpo(beta=0.8))
    first = flat(each.grad for each in adapter_parameters(model)).norm()
    torch.testing.assert_close(attached.mean_norm, first)
    model.zero_grad()
    with attached.micro_batch(optimizer):
        model(**batch(seed=8)).loss.backward()
    second = flat(each.grad for each in adapter_parameters(model)).norm()
    for each in adapter_parameters(model):
        each.grad.mul_(0.1)  # as clipping would
    attached.before_step()
    torch.testing.assert_close(attached.mean_norm, 0.8 * first + 0.2 * second)


def test_with_accumulation_the_mean_moves_once_by_the_whole_gradient():
    model, attached, optimizer = started(Mgpo(beta=0.5))
    first, seen = attached.mean_norm.clone(), []
    model.zero_grad()
    for seed in (5, 6, 7):
        before = flat(adapter_parameters(model))
        with attached.micro_batch(optimizer):
            seen.append(flat(adapter_parameters(model)) - before)
            model(**batch(seed=seed)).loss.backward()
        assert torch.equal(attached.mean_norm, first)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    whole = flat(each.grad for each in adapter_parameters(model)).norm()
    attached.before_step()
    torch.testing.assert_close(attached.mean_norm, 0.5 * first + 0.5 * whole)
    attached.before_step()
    torch.testing.assert_close(attached.mean_norm, 0.5 * first + 0.5 * whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_hundred_passes_leave_no_bit_changed(dtype):
    model = moved(adapted(peaked())).to(dtype).train()
    model, attached, optimizer = started(Mgpo(rho=0.5), model)
    before = flat(model.parameters())
    moved_any = False
    for _ in range(200):
        with attached.micro_batch(optimizer):
            moved_any |= not torch.equal(flat(model.parameters()), before)
    assert moved_any
    assert torch.equal(flat(model.parameters()), before)


def test_an_error_inside_leaves_no_bit_changed():
    model, attached, optimizer = started(Mgpo(rho=0.5))
    before = flat(model.parameters())
    with pytest.raises(KeyError), attached.micro_batch(optimizer):
        raise KeyError("any")
    assert torch.equal(flat(model.parameters()), before)


def test_a_vanishing_gradient_norm_is_held_to_the_largest_step():
    model, attached, optimizer = started(Mgpo(rho=0.01, largest=0.3))
    attached.mean_norm = torch.tensor(1e-12)
    before = flat(adapter_parameters(model))
    with attached.micro_batch(optimizer):
        assert (flat(adapter_parameters(model)) - before).norm().item() == pytest.approx(0.3, rel=1e-3)


def test_a_zero_momentum_is_no_step():
    model, attached, optimizer = started(Mgpo(rho=0.5))
    for state in optimizer.state.values():
        state["exp_avg"].zero_()
    before = flat(adapter_parameters(model))
    with attached.micro_batch(optimizer):
        assert torch.equal(flat(adapter_parameters(model)), before)


def test_a_norm_that_is_not_finite_is_passed_over():
    model, attached, optimizer = started(Mgpo())
    before = attached.mean_norm.clone()
    with attached.micro_batch(optimizer):
        adapter_parameters(model)[0].grad.fill_(torch.inf)
    attached.before_step()
    assert torch.equal(attached.mean_norm, before)


def test_a_head_trained_beside_the_adapter_is_not_moved():
    model = adapted(classifier()).train()
    attached = Mgpo(rho=0.5).attach(model)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad])
    inputs = {**batch(4), "labels": torch.tensor([0, 1, 2, 0])}
    with attached.micro_batch(optimizer):
        model(**inputs).loss.backward()
    attached.before_step()
    optimizer.step()
    before = {name: each.clone() for name, each in model.named_parameters()}
    with attached.micro_batch(optimizer):
        changed = {name for name, each in model.named_parameters() if not torch.equal(each, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)


def test_sgd_with_momentum_will_do_and_without_will_not():
    model, attached, optimizer = started(Mgpo(rho=0.5), optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9))
    before = flat(adapter_parameters(model))
    with attached.micro_batch(optimizer):
        assert not torch.equal(flat(adapter_parameters(model)), before)
    with pytest.raises(FinetuneError, match="no first moment"):
        started(Mgpo(rho=0.5), steps=2, optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr))
    with pytest.raises(FinetuneError, match="give micro_batch the optimizer"), attached.micro_batch():
        pass


@pytest.mark.parametrize("changes", [{"rho": -0.1}, {"largest": -1.0}, {"beta": 1.0}])
def test_values_that_make_no_sense_are_refused(changes):
    with pytest.raises(RecipeError):
        Mgpo(**changes)
