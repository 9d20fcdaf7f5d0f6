from __future__ import annotations

import pytest
import torch

from augment.errors import FinetuneError
from finetune.objectives.original import Original
from tests.finetune.tiny_model import adapted, batch, classifier, language_model, moved


def logits(model, inputs):
    return model(**{name: value for name, value in inputs.items() if name != "labels"}).logits


@pytest.mark.parametrize("init", [True, "gaussian", "pissa", "olora"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_it_is_the_pretrained_model_after_training_too(init, dropout):
    inputs = batch()
    pretrained = logits(language_model().eval(), inputs)
    model = adapted(language_model(), init, lora_dropout=dropout).train()
    original = Original(model)
    moved(model)
    found = original.run(lambda: logits(model, inputs))
    torch.testing.assert_close(found, pretrained, rtol=1e-4, atol=1e-4)
    assert not found.requires_grad
    assert (logits(model.eval(), inputs) - pretrained).abs().max() > 0.1


def test_under_pissa_the_disabled_model_is_not_the_original():
    inputs = batch()
    pretrained = logits(language_model().eval(), inputs)
    model = adapted(language_model(), "pissa").eval()
    with model.disable_adapter():
        assert (logits(model, inputs) - pretrained).abs().max() > 0.1


@pytest.mark.parametrize("init", [True, "pissa"])
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_as_it_was_afterwards_even_after_an_error(init, fails):
    model = moved(adapted(language_model(), init, lora_dropout=0.5)).train()
    model.get_base_model().model.layers[0].mlp.eval()
    original = Original(model)
    moved(model, seed=9)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    storage = [each.data_ptr() for each in model.parameters()]
    trainable = [each.requires_grad for each in model.parameters()]
    training = [each.training for each in model.modules()]

    def forward():
        assert not any(each.training for each in model.modules())
        if fails:
            raise KeyError("any")
        return logits(model, batch())

    try:
        original.run(forward)
    except KeyError:
        assert fails
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert storage == [each.data_ptr() for each in model.parameters()]
    assert trainable == [each.requires_grad for each in model.parameters()]
    assert training == [each.training for each in model.modules()]
    assert not any(getattr(each, "_disable_adapters", False) for each in model.modules())


@pytest.mark.parametrize("init", [True, "pissa"])
def test_a_head_trained_beside_the_adapter_is_the_first_one_too(init):
    inputs = batch(4)
    pretrained = logits(classifier().eval(), inputs)
    model = adapted(classifier(), init)
    original = Original(model)
    moved(model)
    torch.testing.assert_close(original.run(lambda: logits(model, inputs)), pretrained, rtol=1e-4, atol=1e-4)


def test_a_pass_between_forward_and_backward_leaves_the_gradient_alone():
    model, inputs = adapted(language_model(), "pissa"), batch()
    original = Original(model)
    moved(model)
    slopes = []
    for between in (False, True):
        model.zero_grad()
        loss = model(**inputs).loss
        if between:
            original.run(lambda: logits(model, inputs))
        loss.backward()
        slopes.append([each.grad.clone() for each in model.parameters() if each.requires_grad])
    assert all(map(torch.equal, *slopes))


def test_a_model_without_an_adapter_is_refused():
    with pytest.raises(FinetuneError, match="no adapter"):
        Original(language_model())
