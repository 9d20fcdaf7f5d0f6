from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from augment.errors import FinetuneError
from finetune.perturbations.factors import (
    adapted_layers,
    adapter_parameters,
    base_row_squares,
    gradient_row_squares,
    weight_row_squares,
)
from tests.finetune.tiny_model import adapted, batch, classifier, language_model, moved


class CoreFactor(nn.Module):
    """N A as one factor whose weight is computed: x ↦ N A x."""

    def __init__(self, a: torch.Tensor, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.a = nn.Parameter(a.clone())
        self.core = nn.Parameter(torch.randn(len(a), len(a), generator=generator) / 2)

    @property
    def weight(self) -> torch.Tensor:
        return self.core @ self.a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(nn.functional.linear(x, self.a), self.core)


def with_cores(model):
    for place, layer in enumerate(adapted_layers(model).values()):
        layer.lora_A["default"] = CoreFactor(layer.lora_A["default"].weight.detach(), place)
    return model


def gpt2():
    """Its linear maps are stored transposed, with a bias."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=320, n_embd=32, n_layer=1, n_head=2, n_positions=64))
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.bias.normal_()
    settings = LoraConfig(
        r=4, lora_alpha=8, target_modules=["c_fc", "c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, settings)


MODELS = {
    "lora": lambda: adapted(language_model()),
    "pissa": lambda: adapted(language_model(), "pissa"),
    "core": lambda: with_cores(adapted(language_model())),
    "gpt2": gpt2,
}


def trained(kind: str):
    model = moved(MODELS[kind]())
    model(**batch()).loss.backward()
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_row_norms_are_those_of_the_whole_weight(kind):
    for layer in adapted_layers(trained(kind)).values():
        base = layer.get_base_layer().weight.detach()
        whole = (base.T if kind == "gpt2" else base) + layer.scaling["default"] * (
            layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        ).detach()
        found = weight_row_squares(layer, base_row_squares(layer))
        torch.testing.assert_close(found, whole.square().sum(1), rtol=1e-4, atol=1e-5)


def test_two_active_adapters_are_both_in_the_weight():
    model = adapted(language_model())
    model.add_adapter("second", LoraConfig(r=3, lora_alpha=9, target_modules=["q_proj"], init_lora_weights=False))
    model.base_model.set_adapter(["default", "second"])
    moved(model)
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    whole = layer.get_base_layer().weight + layer.get_delta_weight("default") + layer.get_delta_weight("second")
    found = weight_row_squares(layer, base_row_squares(layer))
    torch.testing.assert_close(found, whole.detach().square().sum(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_the_gradient_is_how_the_product_moves_along_the_adapters_own_gradients(kind):
    step = 1e-6
    for layer in adapted_layers(trained(kind)).values():
        a, b = (layer.lora_A["default"].double(), layer.lora_B["default"].double())
        delta = layer.scaling["default"] * (b.weight @ a.weight).detach()
        with torch.no_grad():
            for factor in (a, b):
                for each in factor.parameters():
                    each.add_(each.grad, alpha=step)
        along = (layer.scaling["default"] * (b.weight @ a.weight).detach() - delta) / step
        with torch.no_grad():
            for factor in (a, b):
                for each in factor.parameters():
                    each.sub_(each.grad, alpha=step)
        found = gradient_row_squares(layer).double()
        torch.testing.assert_close(found, along.square().sum(1), rtol=1e-3, atol=1e-6)


def test_it_is_the_gradient_projected_on_the_factors_not_the_gradient():
    # G̃ = s²(G AᵀA + B Bᵀ G), with G the gradient of W', which W has too
    model = moved(adapted(language_model()))
    layer = model.get_base_model().model.layers[0].mlp.down_proj
    base = layer.get_base_layer().weight.requires_grad_()
    model(**batch()).loss.backward()
    a, b, s = layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.scaling["default"]
    wanted = s**2 * (base.grad @ a.T @ a + b @ b.T @ base.grad)
    torch.testing.assert_close(gradient_row_squares(layer), wanted.square().sum(1).detach(), rtol=1e-3, atol=1e-7)


def test_without_gradients_there_is_none():
    assert gradient_row_squares(next(iter(adapted_layers(adapted(language_model())).values()))) is None


def test_the_adapters_parameters_are_its_factors_alone():
    model = with_cores(adapted(classifier(), bias="all"))
    names = {id(each): name for name, each in model.named_parameters()}
    found = {names[id(each)] for each in adapter_parameters(model)}
    assert found == {name for name in names.values() if "lora_A" in name or "lora_B" in name}
    assert any(name.endswith("core") for name in found)


def test_a_model_without_an_adapter_or_with_a_frozen_one_is_refused():
    with pytest.raises(FinetuneError, match="no LoRA-like adapter"):
        adapted_layers(language_model())
    with pytest.raises(FinetuneError, match="nothing to perturb"):
        adapter_parameters(adapted(language_model()).requires_grad_(False))
