"""Row norms by thin products against the whole matrices, for every adapter."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

from augment.errors import FinetuneError
from finetune.perturbations.norms import (
    adapted_layers,
    adapter_parameters,
    base_row_squares,
    gradient_row_squares,
    weight_row_squares,
)
from tests.finetune.models import ADAPTERS, adapted, batch, classifier, gpt2, moved, peaked, stock

MODELS = {name: lambda name=name: adapted(peaked(), name) for name in ADAPTERS}
MODELS |= {"stock": lambda: stock(peaked()), "transposed": lambda: adapted(gpt2(), "nlora")}
every = pytest.mark.parametrize("kind", MODELS)


def trained(kind: str):
    model = moved(MODELS[kind]())
    model(**batch()).loss.backward()
    return model


def whole_base(layer) -> torch.Tensor:
    weight = layer.get_base_layer().weight.detach()
    return weight.T if layer.fan_in_fan_out else weight


def whole_delta(layer, beside: float = 0.0) -> torch.Tensor:
    """s·(B N A − B0 N0 A0), fp64, with every trained factor moved by `beside` times its gradient."""

    def at(side, name: str) -> torch.Tensor | None:
        each = getattr(side, name, None)
        return None if each is None else each.detach().double() + (0 if each.grad is None else beside * each.grad)

    down, up = layer.lora_A["default"], layer.lora_B["default"]
    if not hasattr(down, "factor"):
        return layer.scaling["default"] * at(up, "weight") @ at(down, "weight")
    a, a0 = (at(down, name) for name in ("factor", "start"))
    b, b0, n, n0 = (at(up, name) for name in ("factor", "start", "core", "core_start"))
    now = b @ a if n is None else b @ n @ a
    if a0 is None:
        return layer.scaling["default"] * now
    return layer.scaling["default"] * (now - (b0 @ a0 if n0 is None else b0 @ n0 @ a0))


@every
def test_row_norms_are_those_of_the_whole_weight(kind):
    for layer in adapted_layers(trained(kind)).values():
        whole = whole_base(layer) + whole_delta(layer)
        found = weight_row_squares(layer, base_row_squares(layer)).double()
        torch.testing.assert_close(found, whole.square().sum(1), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(found, whole_base(layer).double().square().sum(1), rtol=1e-2)


@every
def test_before_training_they_are_those_of_the_base(kind):
    for layer in adapted_layers(MODELS[kind]()).values():
        assert torch.equal(weight_row_squares(layer, base_row_squares(layer)), base_row_squares(layer))
        torch.testing.assert_close(base_row_squares(layer), whole_base(layer).square().sum(1))


@every
def test_the_gradient_is_how_the_weight_moves_along_the_adapters_own_gradients(kind):
    for layer in adapted_layers(trained(kind)).values():
        along = (whole_delta(layer, 1e-6) - whole_delta(layer, -1e-6)) / 2e-6
        found = gradient_row_squares(layer).double()
        torch.testing.assert_close(found, along.square().sum(1), rtol=1e-4, atol=1e-8)
        assert found.max() > 1e-6


def test_it_is_the_gradient_projected_on_the_factors_not_the_gradient():
    # G̃ = s²(G AᵀA + B Bᵀ G), with G the gradient of W', which W has too
    model = moved(adapted(peaked()))
    layer = model.get_base_model().model.layers[0].mlp.down_proj
    base = layer.get_base_layer().weight.requires_grad_()
    model(**batch()).loss.backward()
    a, b, s = layer.lora_A["default"].factor, layer.lora_B["default"].factor, layer.scaling["default"]
    wanted = s**2 * (base.grad @ a.T @ a + b @ b.T @ base.grad)
    torch.testing.assert_close(gradient_row_squares(layer), wanted.square().sum(1).detach(), rtol=1e-3, atol=1e-7)


def test_two_active_adapters_are_both_in_the_weight():
    model = stock(peaked())
    model.add_adapter("second", LoraConfig(r=3, lora_alpha=9, target_modules=["q_proj"], init_lora_weights=False))
    model.base_model.set_adapter(["default", "second"])
    moved(model)
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    whole = layer.get_base_layer().weight + layer.get_delta_weight("default") + layer.get_delta_weight("second")
    found = weight_row_squares(layer, base_row_squares(layer))
    torch.testing.assert_close(found, whole.detach().square().sum(1), rtol=1e-4, atol=1e-5)


@every
def test_without_gradients_there_is_none(kind):
    assert gradient_row_squares(next(iter(adapted_layers(MODELS[kind]()).values()))) is None


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_adapters_parameters_are_its_trained_factors_alone(name):
    model = adapted(classifier(), name)
    names = {id(each): key for key, each in model.named_parameters()}
    found = {names[id(each)] for each in adapter_parameters(model)}
    assert found == {key for key, each in model.named_parameters() if each.requires_grad and ".lora_" in key}
    assert any(key.endswith("core") for key in found) == (name in ("slora", "nlora", "inttune"))


def test_a_bias_of_the_base_is_no_parameter_of_the_adapter():
    model = stock(gpt2(), target_modules=["c_fc"], fan_in_fan_out=True, bias="lora_only")
    trained = {id(each): key for key, each in model.named_parameters() if each.requires_grad}
    assert any(key.endswith("bias") for key in trained.values())
    assert all("lora_" in trained[id(each)] for each in adapter_parameters(model))


def test_a_model_without_an_adapter_or_with_a_frozen_one_is_refused():
    with pytest.raises(FinetuneError, match="no LoRA-like adapter"):
        adapted_layers(peaked())
    with pytest.raises(FinetuneError, match="nothing to perturb"):
        adapter_parameters(adapted(peaked()).requires_grad_(False))
