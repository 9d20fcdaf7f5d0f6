"""The teacher is the pretrained model to the bit, whatever the adapter and however long it was trained."""

from __future__ import annotations

import pytest
import torch

from augment.errors import FinetuneError
from finetune.adapters.nlora import NLoRA
from finetune.objectives.original import Original
from tests.finetune.models import ADAPTERS, adapted, batch, classifier, logits, moved, peaked, stock, train

every = pytest.mark.parametrize("name", ADAPTERS)
INPUTS = batch()


def teacher(model, inputs=INPUTS, original=None):
    return (original or Original(model)).run(lambda: logits(model, inputs))


@every
def test_it_is_the_pretrained_model_to_the_bit_before_and_after_training(name):
    pretrained = logits(peaked(), INPUTS)
    model = adapted(peaked(), name, dropout=0.5).train()
    original = Original(model)
    assert torch.equal(teacher(model, original=original), pretrained)
    moved(model)
    for _ in range(2):
        assert torch.equal(teacher(model, original=original), pretrained)
    assert (logits(model.eval(), INPUTS) - pretrained).abs().max() > 0.1
    with model.disable_adapter():
        assert torch.equal(logits(model, INPUTS), pretrained)


def test_it_is_the_pretrained_model_under_a_start_that_is_not_subtracted():
    pretrained = logits(peaked(), INPUTS)
    model = NLoRA(rank=8, core="copy", anchored=False).attach(peaked())
    assert not torch.equal(logits(model, INPUTS), pretrained)
    assert torch.equal(teacher(model), pretrained)


@every
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_as_it_was_afterwards_even_after_an_error(name, fails):
    model = moved(adapted(peaked(), name, dropout=0.5)).train()
    model.get_base_model().model.layers[0].mlp.eval()
    original = Original(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    storage = [each.data_ptr() for each in model.parameters()]
    trainable = [each.requires_grad for each in model.parameters()]
    training = [each.training for each in model.modules()]

    def forward():
        assert not torch.is_grad_enabled()
        assert not any(each.training for each in model.modules())
        if fails:
            raise KeyError("any")
        return model(**INPUTS).loss

    try:
        assert not original.run(forward).requires_grad
    except KeyError:
        assert fails
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert storage == [each.data_ptr() for each in model.parameters()]
    assert trainable == [each.requires_grad for each in model.parameters()]
    assert training == [each.training for each in model.modules()]
    assert not any(getattr(each, "_disable_adapters", False) for each in model.modules())


def test_adapters_that_were_off_stay_off_and_one_run_may_hold_another():
    model = moved(adapted(peaked(), "pissa"))
    original, trained = Original(model), logits(model, INPUTS)
    with model.disable_adapter():
        disabled = teacher(model, original=original)
        assert torch.equal(logits(model, INPUTS), disabled)
    outer = original.run(lambda: (teacher(model, original=original), logits(model, INPUTS)))
    assert torch.equal(*outer) and torch.equal(outer[0], disabled)
    assert torch.equal(logits(model, INPUTS), trained)


@every
def test_a_head_trained_beside_the_adapter_is_the_pretrained_one_too(name):
    inputs = batch(4)
    pretrained = logits(classifier(), inputs)
    model = adapted(classifier(), name)
    with torch.no_grad():
        for key, each in model.named_parameters():
            if "modules_to_save" in key:
                each.add_(1.0)
    assert not torch.allclose(logits(model, inputs), pretrained, atol=1e-2)
    original = Original(model)
    assert torch.equal(teacher(model, inputs, original), pretrained)
    assert torch.equal(teacher(train(model), inputs, original), pretrained)


@every
def test_a_pass_between_forward_and_backward_leaves_the_gradient_alone(name):
    model = moved(adapted(peaked(), name)).train()
    original = Original(model)
    slopes = []
    for between in (False, True):
        model.zero_grad()
        loss = model(**INPUTS).loss
        if between:
            teacher(model, original=original)
        loss.backward()
        slopes.append([each.grad.clone() for each in model.parameters() if each.requires_grad])
    assert all(map(torch.equal, *slopes))


def test_a_merged_model_has_no_original():
    model = moved(adapted(peaked(), "nlora"))
    original = Original(model)
    model.merge_adapter()
    with pytest.raises(FinetuneError, match="unmerge_adapter") as caught:
        teacher(model, original=original)
    assert "\n" not in str(caught.value)


def test_a_model_without_an_adapter_is_refused():
    with pytest.raises(FinetuneError, match="no adapter"):
        Original(peaked())


def test_pefts_starts_that_change_the_base_are_refused_and_plain_lora_is_not():
    pretrained = logits(peaked(), INPUTS)
    for init in ("pissa_niter_4", "olora"):
        model = stock(peaked(), init)
        with model.disable_adapter():
            assert not torch.allclose(logits(model, INPUTS), pretrained, atol=0.1)
        with pytest.raises(FinetuneError, match=f"init_lora_weights='{init}'.*finetune.adapters") as caught:
            Original(model)
        assert "\n" not in str(caught.value)
    assert torch.equal(teacher(moved(stock(peaked(), "gaussian"))), pretrained)
