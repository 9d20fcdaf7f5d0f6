"""What cannot be adapted is refused in one line, before the model is touched."""

from __future__ import annotations

import pytest
import torch
from accelerate import cpu_offload
from torch import nn

from augment.errors import FinetuneError
from finetune.adapters.attach import attach
from finetune.adapters.lora import LoRA
from finetune.adapters.nlora import NLoRA
from tests.finetune.models import classifier, gpt2, logits, qwen, sides


def refusal(model: nn.Module, **options: object) -> str:
    before = [key for key, _ in model.named_modules()]
    with pytest.raises(FinetuneError) as caught:
        NLoRA(**{"rank": 8, **options}).attach(model)
    assert [key for key, _ in model.named_modules()] == before, "refused too late"
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_rank_over_a_layers_size_names_the_layer_and_the_rank_that_fits():
    message = refusal(qwen(), rank=48)
    assert "rank 48 is over the size of model.layers.0.self_attn.k_proj (32 × 64)" in message
    assert "at most 32" in message
    model = NLoRA(rank=48, rank_pattern={"k_proj": 32, "v_proj": 32}).attach(qwen())
    assert torch.equal(logits(model), logits(qwen()))


def test_a_full_rank_fits():
    model = NLoRA(rank=32, targets=("k_proj",)).attach(qwen())
    assert torch.equal(logits(model), logits(qwen()))
    assert "rank 9" in refusal(qwen(), rank_pattern={"layers.1.self_attn.k_proj": 99})


def test_no_match_shows_the_models_own_module_names():
    message = refusal(qwen(), targets=".*attention")
    assert message == (
        "no module of Qwen3ForCausalLM matches '.*attention'; its linear modules: "
        "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"
    )


def test_one_wrong_name_in_a_list_is_not_passed_over():
    assert "is called 'q_prj'; did you mean q_proj" in refusal(qwen(), targets=("q_prj", "v_proj"))
    assert "known: c_attn, c_fc, c_proj, lm_head" in refusal(gpt2(), targets=("zzz",))


@pytest.mark.parametrize(("target", "kind"), [("embed_tokens", "Embedding"), ("self_attn", "Qwen3Attention")])
def test_only_linear_layers_are_adapted(target, kind):
    assert f"is a {kind}, and only linear layers" in refusal(qwen(), targets=(target,))


def test_convolutions_are_refused():
    model = qwen()
    model.model.conv = nn.Conv1d(3, 3, 3)
    assert "is a Conv1d" in refusal(model, targets=("conv",))


def test_an_offloaded_layer_is_refused():
    with pytest.raises(FinetuneError, match=r"q_proj is offloaded.*; load the model without offloading"):
        LoRA(rank=2).attach(cpu_offload(qwen()))


def test_all_linear_leaves_the_heads_alone():
    model = LoRA(rank=2).attach(qwen())
    assert len(sides(model)) == 14
    model = LoRA(rank=2).attach(classifier())
    assert len(sides(model)) == 14
    assert [key for key, each in model.named_parameters() if each.requires_grad and "lora" not in key] == [
        "base_model.model.score.modules_to_save.default.weight"
    ]


def test_a_second_adapter_is_judged_like_the_first():
    model = LoRA(rank=2).attach(qwen())
    with pytest.raises(FinetuneError, match="at most 32"):
        NLoRA(rank=33).attach(model, "second")
    with pytest.raises(FinetuneError, match="no module of Qwen3ForCausalLM is called 'lora_A'"):
        NLoRA(rank=2, targets=("lora_A",)).attach(model, "second")


@pytest.mark.parametrize("name", ["core", "a.b"])
def test_a_name_that_would_hide_tensors_is_refused(name):
    with pytest.raises(FinetuneError, match=name):
        attach(qwen(), LoRA(rank=2), name)
