"""What `augment finetune` says before it starts is what happens then."""

from __future__ import annotations

import pytest
from accelerate import init_empty_weights
from transformers import LlamaConfig, LlamaForCausalLM

from finetune.adapters.lora import LoRA
from finetune.adapters.nlora import NLoRA
from finetune.batches import Packs
from finetune.forecast import NF4, memory_of, size_of, steps_of, widest
from finetune.prepare import prepare
from finetune.recipe import read_finetune_recipe
from finetune.train import train
from tests.finetune.bases import save_base
from tests.finetune.test_batches import examples

LLAMA = LlamaConfig()  # LLaMA-2-7B's shape is the default


def size(adapter):
    with init_empty_weights():
        model = LlamaForCausalLM(LLAMA)
    return size_of(adapter.attach(model))


def test_a_7b_model_is_counted_without_its_weights():
    plain = size(LoRA(rank=128))
    assert (plain.parameters, plain.trainable, plain.kept, plain.layers) == (6_738_415_616, 319_815_680, 0, 224)
    assert plain.adapted == 6_476_005_376
    anchored = size(NLoRA(rank=128))
    assert (anchored.trainable, anchored.kept) == (323_485_696, 323_485_696)


def test_memory_is_weights_optimizer_and_kept_factors():
    shape = {"checkpointing": True, "fused": True, "tokens": 4 * 512}
    found = memory_of(size(NLoRA(rank=128)), LLAMA, itemsize=2, four_bit=False, **shape)
    assert found["weights"] == 2 * 6_738_415_616
    assert found["adapter and optimizer"] == 323_485_696 * (16 + 4)
    four = memory_of(size(NLoRA(rank=128)), LLAMA, itemsize=2, four_bit=True, **shape)
    assert four["weights"] == pytest.approx(2 * (6_738_415_616 - 6_476_005_376) + NF4 * 6_476_005_376)
    whole = memory_of(size(NLoRA(rank=128)), LLAMA, itemsize=2, four_bit=False, **{**shape, "checkpointing": False})
    assert whole["activations"] > 10 * found["activations"]


def test_steps_count_the_last_part_of_an_epoch():
    assert steps_of(33, 16, 1, None) == 3
    assert steps_of(33, 16, 2, None) == 6
    assert steps_of(33, 16, 0.5, None) == 2
    assert steps_of(33, 16, 2, 4) == 4


def test_the_widest_micro_batch_counts_its_padding():
    assert widest([[each] for each in examples(5, 9, 3)], 2) == 18
    assert widest([[each] for each in examples(5, 9, 3)], 8) == 27
    assert widest([examples(5, 9), examples(3)], 1) == 14


@pytest.mark.parametrize("changes", [{}, {"packing": True, "batch": 2}, {"epochs": 1.5}])
def test_what_was_told_is_what_was_done(place, changes):
    save_base(place / "base")
    flags = {"base": "base", "data": "sample", "rank": 4, "batch": 8, "out": place / "a", "length": 300, **changes}
    prepared = prepare(read_finetune_recipe(flags))
    seen = [prepared.train[number] for number in range(len(prepared.train))]
    told = prepared.forecast
    assert told.tokens == sum(len(each.ids) for group in seen for each in group)
    assert told.learned == sum(int(each.learned.sum()) for group in seen for each in group)
    assert told.examples == sum(map(len, seen))
    assert isinstance(prepared.train, Packs)
    record = train(prepared).record
    assert record["steps"]["done"] == told.steps
    assert record["history"][-1]["epoch"] == pytest.approx(flags.get("epochs", 1), abs=0.1)
    from finetune.export import info

    assert info(place / "a").trained == told.size.trainable
