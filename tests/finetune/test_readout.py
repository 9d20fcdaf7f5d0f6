from __future__ import annotations

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

from augment.errors import FinetuneError
from finetune.objectives.outputs import Hidden, Logits
from finetune.objectives.readout import Readout
from tests.finetune.models import LINEAR, SIZES, VOCABULARY, adapted, batch, classifier, peaked, qwen, stock

SHAPE = {**SIZES, "pad_token_id": 0}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_head_makes_the_models_logits_of_the_hidden_states(tied, dtype):
    model, inputs = adapted(peaked(dtype, tie_word_embeddings=tied)), batch()
    said = Readout(model)(model, inputs)
    assert isinstance(said, Hidden)
    assert said.states.requires_grad
    wanted = Readout(model, hidden=False)(model, inputs)
    assert isinstance(wanted, Logits)
    made = torch.nn.functional.linear(said.states, said.head.weight, said.head.bias)
    torch.testing.assert_close(made, wanted.values)


def test_for_hidden_states_one_position_of_logits_is_made_and_no_cache_kept():
    model, inputs, made = adapted(peaked()), batch(), []
    model.register_forward_hook(lambda _module, _inputs, output: made.append(output))
    Readout(model)(model, inputs)
    assert made[0].logits.shape == (2, 1, VOCABULARY)
    assert made[0].past_key_values is None


def test_it_leaves_no_hook_behind():
    model, inputs = adapted(peaked()), batch()
    readout = Readout(model)
    for _ in range(3):
        readout(model, inputs)
    assert not model.get_base_model().model._forward_hooks


def test_a_classifier_is_read_as_logits():
    model = classifier()
    assert Readout(model, hidden=False)(model, batch(4)).values.shape == (4, 3)


def test_heads_that_are_no_frozen_linear_map_are_refused():
    for model, reason in (
        (adapted(qwen(), targets=(*LINEAR, "lm_head")), "no plain linear"),
        (stock(qwen(), modules_to_save=["lm_head"]), "no plain linear"),
        (qwen(), "being trained"),
        (Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=16)).requires_grad_(False), "caps its logits"),
    ):
        with pytest.raises(FinetuneError, match=reason):
            Readout(model)


def test_a_scaled_head_is_found_out_at_the_first_batch():
    model = GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=4.0)).requires_grad_(False)
    with pytest.raises(FinetuneError, match="no linear map"):
        Readout(model)(model, batch())
