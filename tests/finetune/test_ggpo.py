from __future__ import annotations

import pytest
import torch

from augment.errors import FinetuneError, RecipeError
from finetune.perturbations.ggpo import Ggpo, _TokenNoise
from finetune.perturbations.norms import adapted_layers, gradient_row_squares
from tests.finetune.models import adapted, batch, moved, normal, peaked


def started(settings: Ggpo, model=None):
    """A model that has taken its first backward pass, so that noise is on, and its perturbation."""
    model = moved(adapted(peaked())).train() if model is None else model
    attached = settings.attach(model)
    with attached.micro_batch():
        model(**batch()).loss.backward()
    attached.before_step()
    return model, attached


def whole_weight(layer) -> torch.Tensor:
    return (layer.get_base_layer().weight + layer.get_delta_weight("default")).detach()


def drawn(layer, attached, draws: int) -> torch.Tensor:
    """The noise that a layer adds for inputs e_1 … e_n, the columns of ε: (draws, out, in)."""
    eye = torch.eye(layer.in_features)
    plain = layer(eye)
    found = []
    for _ in range(draws):
        with attached.micro_batch():
            found.append((layer(eye) - plain).T)
    return torch.stack(found).detach()


def test_the_first_step_is_plain_and_later_ones_are_not():
    model, inputs = moved(adapted(peaked())).train(), batch()
    plain = model(**inputs).loss
    attached = Ggpo().attach(model)
    with attached.micro_batch():
        loss = model(**inputs).loss
        loss.backward()
    assert torch.equal(loss, plain)
    attached.before_step()
    with attached.micro_batch():
        assert not torch.equal(model(**inputs).loss, plain)


def test_the_spread_of_each_row_is_the_formulas():
    settings = Ggpo(sigma=0.2, beta=0.5)
    model, attached = started(settings)
    sizes = set()
    for name, layer in adapted_layers(model).items():
        whole, slopes = whole_weight(layer), gradient_row_squares(layer)
        wanted = 0.2 * ((whole.square().sum(1) + 0.5 * slopes) / whole.shape[1]).sqrt()
        torch.testing.assert_close(attached.spread[name], wanted, rtol=1e-4, atol=1e-6)
        sizes.add(tuple(whole.shape))
    assert sizes == {(64, 64), (32, 64), (96, 64), (64, 96)}
    found = drawn(layer, attached, 400)  # of the last layer; 400 × 96 draws a row: 0.4 % standard error
    standard = found.permute(1, 0, 2).flatten(1).std(1)
    assert ((standard / wanted - 1).abs() < 0.02).all()
    assert (standard / wanted - 1).abs().mean() < 0.01
    assert abs((found / wanted[:, None]).mean()) < 0.005


def test_without_the_gradient_a_rows_noise_is_sigma_of_its_length():
    model, attached = started(Ggpo(sigma=0.1, beta=0.0))
    layer = next(iter(adapted_layers(model).values()))
    lengths = drawn(layer, attached, 400).norm(dim=2).square().mean(0).sqrt()
    ratio = lengths / whole_weight(layer).norm(dim=1)
    assert ratio.mean().item() == pytest.approx(0.1, rel=0.01)


def test_steep_rows_get_more_noise():
    _, flat = started(Ggpo(beta=0.0))
    _, steep = started(Ggpo(beta=100.0))
    assert all((steep.spread[name] >= flat.spread[name]).all() for name in flat.spread)
    assert any((steep.spread[name] > 1.01 * flat.spread[name]).any() for name in flat.spread)


def test_a_huge_gradient_does_not_explode():
    # std = (σ w + β g²)/√m, a common form, would give hundreds here
    model = moved(adapted(peaked()))
    attached = Ggpo().attach(model)
    layer = next(iter(adapted_layers(model).values()))
    for factor in (layer.lora_A["default"], layer.lora_B["default"]):
        factor.factor.grad = torch.full_like(factor.factor, 1e3)
    attached.before_step()
    name = next(iter(attached.spread))
    bound = 0.03 * ((whole_weight(layer).square().sum(1) + 0.01 * gradient_row_squares(layer)) / 64).sqrt()
    torch.testing.assert_close(attached.spread[name], bound, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_a_noisy_layer_is_the_numeric_one():
    x, y, spread = normal(2, 3, 4).requires_grad_(), normal(2, 3, 5, seed=1).requires_grad_(), normal(5, seed=2).abs()
    assert torch.autograd.gradcheck(lambda a, b: _TokenNoise.apply(a, b, spread, 7), (x, y))


def test_a_zero_input_gets_no_noise_and_a_finite_gradient():
    x, y = torch.zeros(1, 4, requires_grad=True), torch.ones(1, 5)
    out = _TokenNoise.apply(x, y, torch.ones(5), 7)
    out.sum().backward()
    assert torch.equal(out, y)
    assert x.grad.isfinite().all()


def test_the_gradient_agrees_on_average_with_noise_on_the_weight_itself():
    # loss (y − 1)² of y = (w + ε) x: E ∂/∂x = 2 (w x − 1) w + 2 ρ² x
    w, x, rho = torch.tensor([[0.5, -1.0]]), torch.tensor([[2.0, 1.0]], requires_grad=True), 0.3
    total = torch.zeros(1, 2)
    for seed in range(4000):
        y = _TokenNoise.apply(x, x @ w.T, torch.tensor([rho]), seed)
        total += torch.autograd.grad((y - 1).square().sum(), x)[0]
    wanted = 2 * (x @ w.T - 1) * w + 2 * rho**2 * x
    torch.testing.assert_close(total / 4000, wanted.detach(), rtol=0, atol=0.06)
    assert (wanted - 2 * (x @ w.T - 1) * w).abs().max() > 0.3, "so that the second term is seen"


def test_gradient_checkpointing_sees_the_same_noise():
    slopes = []
    for checkpointed in (False, True):
        model = moved(adapted(peaked())).train()
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model, attached = started(Ggpo(sigma=0.2), model)
        model.zero_grad()
        with attached.micro_batch():
            model(**batch()).loss.backward()
        slopes.append([each.grad for each in model.parameters() if each.requires_grad])
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_micro_batches_and_steps_and_layers_and_seeds_see_other_noise():
    def noise(settings: Ggpo, place: int = 0) -> torch.Tensor:
        """Two draws of one layer's noise, in units of its spread."""
        model, attached = started(settings)
        name, layer = list(adapted_layers(model).items())[place]
        return drawn(layer, attached, 2) / attached.spread[name][:, None]

    first = noise(Ggpo())
    assert torch.equal(noise(Ggpo()), first)
    assert abs(torch.corrcoef(first.flatten(1))[0, 1]) < 0.2
    model, attached = started(Ggpo())
    name, layer = next(iter(adapted_layers(model).items()))
    before = drawn(layer, attached, 1)[0] / attached.spread[name][:, None]
    attached.before_step()
    after = drawn(layer, attached, 1)[0] / attached.spread[name][:, None]
    assert abs(torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1]) < 0.2, "steps"
    k_proj, v_proj = noise(Ggpo(), 1)[0], noise(Ggpo(), 2)[0]
    for one, other in ((first[0], noise(Ggpo(seed=1))[0]), (k_proj, v_proj)):
        assert abs(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]) < 0.2


def test_evaluation_the_teacher_and_what_is_outside_are_left_alone():
    model, attached = started(Ggpo(sigma=0.5))
    inputs = batch()
    plain = model(**inputs).logits
    with attached.micro_batch():
        assert torch.equal(model.eval()(**inputs).logits, plain)
        model.train()
        assert not torch.equal(model(**inputs).logits, plain)
        with model.disable_adapter():
            inside = model(**inputs).logits
    with model.disable_adapter():
        assert torch.equal(model(**inputs).logits, inside)
    attached.detach()
    with attached.micro_batch():
        assert torch.equal(model(**inputs).logits, plain)


def test_bf16_is_perturbed_in_bf16():
    model = moved(adapted(peaked(torch.bfloat16))).train()
    model, attached = started(Ggpo(sigma=0.3), model)
    plain = model(**batch()).logits
    with attached.micro_batch():
        noisy = model(**batch()).logits
        noisy.sum().backward()
    assert plain.dtype == noisy.dtype == torch.bfloat16
    assert not torch.equal(plain, noisy)
    assert all(each.dtype == torch.float32 for each in attached.spread.values())


def test_the_state_of_other_layers_is_refused():
    _, attached = started(Ggpo())
    other = Ggpo().attach(adapted(peaked(), targets=("q_proj",)))
    with pytest.raises(FinetuneError, match="other layers"):
        other.load_state_dict(attached.state_dict())


@pytest.mark.parametrize("changes", [{"sigma": -0.1}, {"beta": -1.0}])
def test_negative_values_are_refused(changes):
    with pytest.raises(RecipeError, match="give 0 or more"):
        Ggpo(**changes)
