from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from augment.errors import FinetuneError
from finetune.batches import Flattened, Packs, Padded, check_packing
from finetune.chat import Example
from finetune.objectives.ce import Ce
from finetune.objectives.outputs import Logits
from tests.finetune.models import qwen


def examples(*sizes, prompt=2):
    random = np.random.default_rng(0)
    return [
        Example(random.integers(1, 128, size).astype(np.int32), np.arange(size) >= min(prompt, size - 1))
        for size in sizes
    ]


def test_packs_hold_every_example_once_and_no_more_than_the_length():
    found = examples(*np.random.default_rng(1).integers(3, 60, 200))
    packs = Packs(found, 64)
    groups = [packs[n] for n in range(len(packs))]
    assert sorted(id(each) for group in groups for each in group) == sorted(map(id, found))
    assert all(sum(len(each.ids) for each in group) <= 64 for group in groups)
    tokens = sum(len(each.ids) for each in found)
    assert len(packs) <= 1.1 * tokens / 64 + 1
    assert len(Packs(found)) == 200


def test_padding_is_masked_and_not_learned():
    batch = Padded(9)([[each] for each in examples(4, 7)])
    assert batch["input_ids"].shape == (2, 7)
    assert batch["attention_mask"].sum(1).tolist() == [4, 7]
    assert batch["input_ids"][0, 4:].tolist() == [9] * 3
    assert (batch["labels"] != -100).sum(1).tolist() == [2, 5]


def test_classes_are_one_label_a_row():
    rows = [[Example(np.array([1, 2, 3], np.int32), label=label)] for label in (1, 0)]
    assert Padded(0)(rows)["labels"].tolist() == [1, 0]


def test_packed_rows_have_the_loss_of_padded_ones():
    model, found = qwen(), examples(5, 9, 3, 12)
    padded, packed = Padded(0)([[each] for each in found]), Flattened()([found])
    losses = []
    for batch in (padded, packed):
        labels = batch.pop("labels")
        said = Logits(model(**batch, use_cache=False).logits)
        loss, _ = Ce()(said, labels, attention_mask=batch.get("attention_mask"), position_ids=batch.get("position_ids"))
        losses.append(loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)


def test_a_model_that_carries_a_state_across_rows_is_not_packed_for():
    check_packing(qwen(), examples(9, 12))
    torch.manual_seed(0)
    mamba = MambaForCausalLM(
        MambaConfig(vocab_size=128, hidden_size=32, num_hidden_layers=1, initializer_range=0.5)
    ).eval()
    with pytest.raises(FinetuneError, match="MambaForCausalLM lets packed rows see each other; leave out --packing"):
        check_packing(mamba, examples(9, 12))
