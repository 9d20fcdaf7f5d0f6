from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from augment.errors import FinetuneError
from finetune.objectives.ce import Ce, head_loss
from finetune.objectives.outputs import Logits
from finetune.objectives.readout import Readout
from tests.finetune.models import adapted, batch, classifier, normal, peaked


def test_on_logits_it_is_bit_for_bit_the_models_own_loss():
    model, inputs = adapted(peaked()), batch()
    labels = inputs["labels"]
    for items in (None, 31, torch.tensor(31)):
        own = model(**inputs, num_items_in_batch=items).loss
        loss, terms = Ce()(Readout(model, hidden=False)(model, inputs), labels, items=items)
        assert torch.equal(loss, own)
        assert torch.equal(terms["ce"], loss.detach())
        assert not terms["ce"].requires_grad


def test_on_hidden_states_it_is_the_same_to_1e5():
    model, inputs = adapted(peaked()), batch()
    own = model(**inputs).loss
    loss, _ = Ce()(Readout(model)(model, inputs), inputs["labels"], attention_mask=inputs["attention_mask"])
    assert loss.item() == pytest.approx(own.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (3, torch.tensor([0, 2, 1, 1])),
        (1, torch.tensor([0.5, -1.0, 2.0, 0.0])),
        (3, torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])),
    ],
)
def test_a_head_is_trained_as_transformers_trains_it(classes, labels):
    model = classifier(classes)
    inputs = {name: value for name, value in batch(4).items() if name != "labels"}
    own = model(**inputs, labels=labels).loss
    loss, _ = Ce()(Readout(model, hidden=False)(model, inputs), labels)
    torch.testing.assert_close(loss, own)


@pytest.mark.parametrize("labels", [torch.tensor([0, 2, 1, -100]), normal(4, 3).sigmoid()])
def test_micro_batches_of_rows_add_up_to_the_batch(labels):
    logits = normal(4, 3)
    items = int((labels != -100).sum()) if labels.ndim == 1 else 4
    whole = head_loss(logits, labels)
    parts = [head_loss(logits[part], labels[part], items) for part in (slice(0, 3), slice(3, 4))]
    torch.testing.assert_close(sum(parts), whole)


def test_labels_of_another_shape_are_refused_with_both_shapes():
    with pytest.raises(FinetuneError, match=r"\(4, 2\).*\(4, 3\)"):
        Ce()(Logits(normal(4, 3)), torch.zeros(4, 2))


def test_its_gradient_is_the_numeric_one():
    labels = torch.tensor([[-100, 1, 4, 2]])
    values = normal(1, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda each: Ce()(Logits(each), labels)[0], values)
    for rows in (torch.tensor([0, 2]), normal(2, 3).sigmoid()):
        assert torch.autograd.gradcheck(lambda each, rows=rows: head_loss(each, rows), normal(2, 3).requires_grad_())
    wanted = functional.cross_entropy(values[0, :3], labels[0, 1:])
    torch.testing.assert_close(Ce()(Logits(values), labels)[0], wanted)
