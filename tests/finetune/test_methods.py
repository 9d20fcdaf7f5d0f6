"""What the papers say of each adapter: starts, gradients, parameter counts."""

from __future__ import annotations

import copy

import pytest
import torch
from accelerate import init_empty_weights
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from augment.errors import FinetuneError
from finetune.adapters.inttune import IntTune
from finetune.adapters.lora import LoRA
from finetune.adapters.nlora import NLoRA
from finetune.adapters.nystrom import fitted, inverted
from finetune.adapters.pissa import PiSSA
from finetune.adapters.slora import SLoRA
from tests.finetune.models import IDS, delta, logits, qwen, sides, stock, train


def backward(model):
    model(IDS, labels=IDS).loss.backward()
    return model


def test_lora_is_pefts_lora_from_the_same_start():
    ours = LoRA(rank=8, alpha=16).attach(qwen())
    theirs = stock(qwen())
    with torch.no_grad():
        for (_, down, up), (_, other_down, other_up) in zip(sides(ours), sides(theirs), strict=True):
            assert down.factor.abs().max() <= 1 / down.factor.shape[1] ** 0.5
            assert down.factor.std() == pytest.approx(float(other_down.weight.std()), rel=0.2)
            other_down.weight.copy_(down.factor)
            other_up.weight.copy_(up.factor)
    torch.testing.assert_close(logits(train(ours)), logits(train(theirs)), rtol=1e-4, atol=1e-5)


def test_anchored_pissa_has_the_outputs_and_gradients_of_pefts_pissa():
    ours = PiSSA(rank=8, alpha=16, niter=None).attach(qwen())
    theirs = stock(qwen(), "pissa")
    torch.testing.assert_close(logits(theirs), logits(ours), rtol=1e-4, atol=1e-5)
    for model in (ours, theirs):
        backward(model)
    for (layer, down, up), (_, other_down, other_up) in zip(sides(ours), sides(theirs), strict=True):
        torch.testing.assert_close(up.factor @ down.factor, other_up.weight @ other_down.weight, rtol=1e-3, atol=1e-5)
        leading = torch.linalg.svdvals(layer.base_layer.weight)[:8]
        torch.testing.assert_close(torch.linalg.svdvals(2 * up.factor @ down.factor)[:8], leading, rtol=1e-4, atol=1e-5)
        # singular vectors are unique up to their sign: B ∇A and ∇B A are not affected by it
        for mine, other in (
            (up.factor @ down.factor.grad, other_up.weight @ other_down.weight.grad),
            (up.factor.grad @ down.factor, other_up.weight.grad @ other_down.weight),
        ):
            torch.testing.assert_close(mine, other, rtol=1e-2, atol=1e-5)


def test_slora_starts_at_nothing_and_only_b_is_pulled():
    model = backward(SLoRA(rank=8).attach(qwen()))
    for _, down, up in sides(model):
        assert torch.count_nonzero(up.factor) == 0
        assert 0 < down.factor.abs().max() <= 1 / down.factor.shape[1] ** 0.5
        assert 0 < up.core.abs().max() <= 1 / 8**0.5
        assert torch.count_nonzero(down.factor.grad) == torch.count_nonzero(up.core.grad) == 0
        assert torch.count_nonzero(up.factor.grad) > 0


@pytest.mark.parametrize("core", ["nystrom", "pinv", "copy"])
@pytest.mark.parametrize("anchored", [True, False])
def test_nlora_pulls_all_three_factors_and_keeps_the_output_only_if_anchored(core, anchored):
    model = qwen()
    before = logits(model)
    model = NLoRA(rank=8, core=core, anchored=anchored).attach(model)
    assert torch.equal(logits(model), before) == anchored
    backward(model)
    for _, down, up in sides(model):
        for factor in (down.factor, up.core, up.factor):
            assert torch.count_nonzero(factor.grad) > 0


def test_the_released_code_is_copied_blocks_and_a_perturbed_output():
    model = NLoRA(rank=8, alpha=4, core="copy", anchored=False).attach(qwen())
    for layer, down, up in sides(model):
        weight = layer.base_layer.weight
        assert torch.equal(down.factor, weight[:8])
        assert torch.equal(up.factor, weight[:, :8])
        assert torch.equal(up.core, weight[:8, :8])
        wanted = 0.5 * weight[:, :8] @ weight[:8, :8] @ weight[:8]
        torch.testing.assert_close(layer.get_delta_weight("default"), wanted)


@pytest.mark.parametrize("core", ["nystrom", "pinv"])
def test_nlora_starts_at_the_approximation_of_the_weight_whatever_the_scale(core):
    model = NLoRA(rank=8, alpha=4, core=core, rcond=0.3, anchored=False).attach(qwen())
    for (layer, _, _), start in zip(sides(model), delta(model), strict=True):
        weight = layer.base_layer.weight.detach()
        near = fitted(weight, 8, 1) if core == "nystrom" else inverted(weight, 8, 0.3, 1)
        torch.testing.assert_close(start, near.up @ near.core @ near.down, rtol=1e-4, atol=1e-6)


def test_every_layer_and_every_factor_starts_at_random_numbers_of_its_own():
    def alike(one, other):
        size = min(one.numel(), other.numel())
        return abs(torch.corrcoef(torch.stack([each.detach().flatten()[:size] for each in (one, other)]))[0, 1]) > 0.5

    (_, q_down, q_up), (_, k_down, k_up) = sides(SLoRA(rank=8).attach(qwen()))[:2]
    assert alike(q_down.factor, q_down.factor)
    assert not alike(q_down.factor, k_down.factor)
    assert not alike(q_up.core, k_up.core)
    assert not alike(q_down.factor, q_up.core)


def test_gradients_of_the_anchored_form_are_those_of_a_residual_base():
    anchored = backward(NLoRA(rank=8).attach(qwen()))
    residual = NLoRA(rank=8, anchored=False).attach(qwen())
    with torch.no_grad():
        for layer, _, _ in sides(residual):
            layer.base_layer.weight -= layer.get_delta_weight("default")
    torch.testing.assert_close(logits(residual), logits(qwen()), rtol=1e-5, atol=1e-5)
    backward(residual)
    for key, each in anchored.named_parameters():
        if each.requires_grad:
            torch.testing.assert_close(residual.get_parameter(key).grad, each.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("bases", ["slices", "svd"])
def test_inttune_trains_r_squared_numbers_a_layer_between_frozen_bases(bases):
    model = IntTune(rank=8, bases=bases).attach(qwen())
    frozen = [(down.factor.clone(), up.factor.clone()) for _, down, up in sides(model)]
    assert model.get_nb_trainable_parameters()[0] == 14 * 8 * 8
    assert not any(".start" in key for key in model.state_dict())
    train(model)
    for (layer, down, up), (before_down, before_up) in zip(sides(model), frozen, strict=True):
        assert torch.equal(down.factor, before_down) and torch.equal(up.factor, before_up)
        assert torch.count_nonzero(up.core) > 0
        weight = layer.base_layer.weight
        if bases == "slices":
            assert torch.equal(down.factor, weight[:8]) and torch.equal(up.factor, weight[:, :8])
        else:
            left, values, right = torch.linalg.svd(weight, full_matrices=False)
            best = left[:, :8] * values[:8] @ right[:8]
            torch.testing.assert_close(up.factor @ down.factor, best, rtol=1e-2, atol=2e-3)


def test_inttune_unanchored_is_the_released_code():
    with pytest.raises(FinetuneError, match="leave anchored=True"):
        IntTune(bases="svd", anchored=False)
    model = IntTune(rank=8, anchored=False).attach(qwen())
    assert all(torch.equal(up.core, layer.base_layer.weight[:8, :8]) for layer, _, up in sides(model))
    assert not torch.equal(logits(model), logits(qwen()))


def test_folding_the_core_into_b_gives_plain_lora():
    model = train(NLoRA(rank=8, anchored=False).attach(qwen()))
    plain = LoRA(rank=8).attach(qwen())
    with torch.no_grad():
        for (_, down, up), (_, plain_down, plain_up) in zip(sides(model), sides(plain), strict=True):
            plain_down.factor.copy_(down.factor)
            plain_up.factor.copy_(up.factor @ up.core)
    torch.testing.assert_close(logits(plain), logits(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["A", "B", "N"])
def test_a_small_difference_is_not_lost_between_large_factors(side):
    model = NLoRA(rank=8).attach(qwen())
    wanted = []
    with torch.no_grad():
        for _, down, up in sides(model):
            pairs = {"A": (down.factor, down.start), "B": (up.factor, up.start), "N": (up.core, up.core_start)}
            factor, start = pairs[side]
            factor[0, 0] += 1e-5
            parts = {name: one.double() for name, (_, one) in pairs.items()}
            parts[side] = factor.double() - start.double()
            wanted.append((parts["B"] @ parts["N"] @ parts["A"]).float())
    for found, one in zip(delta(model), wanted, strict=True):
        assert float((found - one).norm()) < 1e-4 * float(one.norm())


LLAMA = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)
MISTRAL = MistralConfig(
    hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8
)
COUNTS = [
    (LLAMA, 64, 159_907_840, 917_504, 160_825_344),
    (LLAMA, 128, 319_815_680, 3_670_016, 323_485_696),
    (LLAMA, 256, 639_631_360, 14_680_064, 654_311_424),
    (MISTRAL, 64, 167_772_160, 917_504, 168_689_664),
    (MISTRAL, 128, 335_544_320, 3_670_016, 339_214_336),
    (MISTRAL, 256, 671_088_640, 14_680_064, 685_768_704),
]


@pytest.mark.parametrize(
    ("config", "rank", "lora", "core", "both"), COUNTS, ids=lambda each: getattr(each, "model_type", None)
)
def test_the_papers_parameter_counts_of_7b_models(config, rank, lora, core, both):
    wanted = {"lora": lora, "pissa": lora, "slora": both, "nlora": both, "inttune": core}
    with init_empty_weights():
        empty = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    for kind in (LoRA, PiSSA, SLoRA, NLoRA, IntTune):
        model = kind(rank=rank).attach(empty)
        assert len(sides(model)) == 224
        assert model.get_nb_trainable_parameters()[0] == wanted[kind.name]
        assert {each.device.type for each in model.parameters()} == {"meta"}
        empty = model.unload()
