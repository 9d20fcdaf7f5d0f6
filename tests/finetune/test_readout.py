from __future__ import annotations

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

from augment.errors import FinetuneError
from finetune.objectives.outputs import Hidden, Logits
from finetune.objectives.readout import Readout
from tests.finetune.tiny_model import LINEAR, adapted, batch, classifier, config, language_model

SHAPE = {
    name: getattr(config(), name)
    for name in (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "pad_token_id",
    )
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_head_makes_the_models_logits_of_the_hidden_states(tied, dtype):
    model, inputs = adapted(language_model(dtype, tie_word_embeddings=tied)), batch()
    said = Readout(model)(model, inputs)
    assert isinstance(said, Hidden)
    assert said.states.requires_grad
    wanted = Readout(model, hidden=False)(model, inputs)
    assert isinstance(wanted, Logits)
    made = torch.nn.functional.linear(said.states, said.head.weight, said.head.bias)
    torch.testing.assert_close(made, wanted.values)


def test_it_leaves_no_hook_behind():
    model, inputs = adapted(language_model()), batch()
    readout = Readout(model)
    for _ in range(3):
        readout(model, inputs)
    assert not model.get_base_model().model._forward_hooks


def test_a_classifier_is_read_as_logits():
    model = classifier()
    assert Readout(model, hidden=False)(model, batch(4)).values.shape == (4, 3)


def test_heads_that_are_no_frozen_linear_map_are_refused():
    for model, reason in (
        (adapted(language_model(), modules=[*LINEAR, "lm_head"]), "no plain linear"),
        (adapted(language_model(), modules_to_save=["lm_head"]), "no plain linear"),
        (language_model(), "being trained"),
        (Gemma2ForCausalLM(Gemma2Config(**SHAPE)).requires_grad_(False), "caps its logits"),
    ):
        with pytest.raises(FinetuneError, match=reason):
            Readout(model)


def test_a_scaled_head_is_found_out_at_the_first_batch():
    model = GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=4.0)).requires_grad_(False)
    with pytest.raises(FinetuneError, match="no linear map"):
        Readout(model)(model, batch())
