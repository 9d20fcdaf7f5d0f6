"""What every adapter of the table keeps, whatever it is: a newcomer is exercised here without this file being edited."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
import torch
from peft import PeftModel
from pydantic import TypeAdapter, ValidationError
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Trainer, TrainingArguments

from finetune import adapters
from finetune.objectives.original import Original
from tests.finetune.models import ADAPTERS, IDS, adapter, delta, gpt2, logits, moved, qwen, run, sides, train

every = pytest.mark.parametrize("name", ADAPTERS)


@every
def test_an_adapter_is_frozen_data_whose_scale_is_one_by_default(name):
    kind = adapters.TABLE.load(name)
    assert kind.__dataclass_params__.frozen
    made = kind()
    assert dataclasses.replace(made, rank=4).rank == 4
    assert made.rank == 128 and made.alpha is None
    read = TypeAdapter(kind).validate_python({"rank": 4, "targets": ["q_proj"], "rank_pattern": {"k": 2}})
    assert (read.rank, read.targets, read.rank_pattern) == (4, ("q_proj",), {"k": 2})
    for wrong in ({"rank": 0}, {"alpha": 0}, {"dropout": 1}):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(wrong)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_attaching_leaves_the_output_as_it_was_to_the_bit(name, dtype):
    model = qwen(dtype=dtype)
    before = logits(model)
    model = adapter(name).attach(model)
    assert torch.equal(logits(model), before)
    assert all(torch.count_nonzero(each) == 0 for each in delta(model))
    factors = [each for _, down, up in sides(model) for each in (*down.parameters(), *up.parameters(), *down.buffers())]
    assert {each.dtype for each in factors} == {torch.promote_types(dtype, torch.float32)}


@every
def test_the_output_is_kept_under_dropout_too(name):
    model = adapter(name, dropout=0.5).attach(qwen()).train()
    before = logits(qwen().train())
    assert torch.equal(logits(model), before)


@every
def test_what_is_learned_is_dropped_out_in_training_alone(name):
    model = moved(adapter(name, dropout=0.5).attach(qwen())).eval()
    apart = logits(model)
    model.train()
    assert not torch.allclose(logits(model), apart, atol=1e-4)
    without = moved(adapter(name).attach(qwen()))
    assert torch.equal(logits(without.train()), apart)


@every
def test_training_moves_the_factors_and_nothing_else(name):
    model = qwen()
    before = {key: each.clone() for key, each in model.state_dict().items()}
    output = logits(model)
    model = adapter(name).attach(model)
    buffers = {key: each.clone() for key, each in model.named_buffers()}
    assert all(".lora_" in key for key, each in model.named_parameters() if each.requires_grad)
    train(model)
    after = {key.replace(".base_layer", ""): each for key, each in model.get_base_model().state_dict().items()}
    assert all(torch.equal(after[key], each) for key, each in before.items())
    assert all(torch.equal(each, buffers[key]) for key, each in model.named_buffers())
    assert not torch.allclose(logits(model), output, atol=1e-4)


@every
def test_merged_is_unmerged_and_unmerging_restores(name):
    model = train(adapter(name).attach(qwen()))
    weights = {key: each.clone() for key, each in model.named_parameters() if "base_layer" in key}
    apart = logits(model)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), apart, rtol=1e-4, atol=1e-5)
    model.unmerge_adapter()
    for key, each in model.named_parameters():
        if key in weights:
            torch.testing.assert_close(each, weights[key], rtol=0, atol=1e-6)
    merged = model.merge_and_unload()
    assert not any("lora" in key for key, _ in merged.named_modules())
    torch.testing.assert_close(logits(merged), apart, rtol=1e-4, atol=1e-5)


@every
def test_merging_an_untrained_adapter_changes_no_bit(name):
    model = adapter(name).attach(qwen())
    merged = model.merge_and_unload()
    assert all(torch.equal(each, ours) for each, ours in zip(qwen().parameters(), merged.parameters(), strict=True))


def test_what_was_saved_comes_back_to_the_bit_in_another_process(base, tmp_path):
    for name in ADAPTERS:
        made = adapter(name, rslora=True, rank_pattern={"k_proj": 4}).attach(AutoModelForCausalLM.from_pretrained(base))
        made = train(made)
        made.save_pretrained(tmp_path / name)
        torch.save(logits(made), tmp_path / f"{name}.pt")
    done = run(f"""
import torch
from pathlib import Path
from peft import PeftModel
from pydantic import TypeAdapter, ValidationError
from transformers import AutoModelForCausalLM
import finetune.adapters.tuner
from tests.finetune.models import logits
for name in {ADAPTERS!r}:
    for low in (False, True):
        model = AutoModelForCausalLM.from_pretrained({str(base)!r})
        model = PeftModel.from_pretrained(model, Path({str(tmp_path)!r}) / name, low_cpu_mem_usage=low)
        assert torch.equal(logits(model), torch.load(Path({str(tmp_path)!r}) / (name + ".pt"))), (name, low)
        assert not any(each.requires_grad for each in model.parameters())
print("all")
""")
    assert done.stdout == "all\n", done.stderr


@every
@pytest.mark.parametrize("low", [False, True])
def test_loading_onto_a_bfloat16_base_rounds_nothing(name, low, tmp_path):
    model = train(adapter(name).attach(qwen(dtype=torch.bfloat16)))
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(qwen(dtype=torch.bfloat16), tmp_path, low_cpu_mem_usage=low, is_trainable=True)
    assert torch.equal(logits(again), logits(model))
    for (_, down, up), (_, other_down, other_up) in zip(sides(again), sides(model), strict=True):
        for ours, theirs in ((down, other_down), (up, other_up)):
            assert all(torch.equal(each, theirs.state_dict()[key]) for key, each in ours.state_dict().items())
    train(again, steps=1)


@every
def test_a_start_depends_on_the_seed_and_not_on_the_global_generator(name):
    def factors(seed: int, chance: int) -> list[torch.Tensor]:
        model = qwen()
        torch.manual_seed(chance)
        before = torch.get_rng_state()
        made = list(adapter(name, seed=seed).attach(model).state_dict().values())
        assert torch.equal(torch.get_rng_state(), before)
        return made

    first = factors(0, 1)
    assert all(map(torch.equal, first, factors(0, 2)))
    assert all(map(torch.equal, first, factors(1, 1))) == (name in ("nlora", "inttune"))


@every
def test_ranks_alphas_and_rank_stabilised_scaling_are_pefts(name):
    patterns = {"rank_pattern": {"k_proj": 4, "layers.0.mlp.up_proj": 2}, "alpha_pattern": {"v_proj": 32}}
    model = adapter(name, alpha=16, rslora=True, **patterns).attach(qwen())
    for key, layer in model.named_modules():
        if hasattr(layer, "lora_A"):
            rank = 4 if key.endswith("k_proj") else 2 if key.endswith("layers.0.mlp.up_proj") else 8
            assert layer.lora_A["default"].factor.shape[0] == layer.lora_B["default"].factor.shape[1] == rank
            assert layer.scaling["default"] == (32 if key.endswith("v_proj") else 16) / rank**0.5


@every
def test_twice_the_alpha_is_twice_the_difference(name):
    model = train(adapter(name, alpha=8).attach(qwen()))
    once = delta(model)
    for layer, _, _ in sides(model):
        layer.set_scale("default", 2)
    assert all(torch.equal(two, 2 * one) for one, two in zip(once, delta(model), strict=True))
    doubled = train(adapter(name, alpha=16).attach(qwen()), steps=0)
    assert {layer.scaling["default"] for layer, _, _ in sides(doubled)} == {2.0}


@every
def test_two_adapters_live_together(name, tmp_path):
    alone = train(adapter(name).attach(qwen()))
    alone.save_pretrained(tmp_path)
    other = "slora" if name != "slora" else "nlora"
    second = logits(train(adapter(other, seed=5).attach(qwen(), "other")))
    model = train(adapter(other, seed=5).attach(qwen(), "other"))
    model.load_adapter(tmp_path, "mine")
    assert torch.equal(logits(model), second)
    model.set_adapter("mine")
    assert torch.equal(logits(model), logits(alone))
    both = logits(model, adapter_names=["mine", "other", "__base__"])
    for row, whole in enumerate((logits(alone), second, logits(qwen()))):
        torch.testing.assert_close(both[row], whole[row], rtol=1e-4, atol=1e-5)
    assert torch.equal(Original(model).run(lambda: logits(model)), logits(qwen()))
    adapter(name).attach(model, "third")
    assert torch.equal(logits(model), logits(alone))
    model.delete_adapter("mine")
    model.set_adapter("other")
    assert torch.equal(logits(model), second)


@every
def test_switching_adapters_leaves_frozen_factors_frozen(name):
    model = adapter(name).attach(qwen())
    wanted = {key for key, each in model.named_parameters() if each.requires_grad}
    with model.disable_adapter():
        pass
    model.set_adapter("default")
    assert {key for key, each in model.named_parameters() if each.requires_grad} == wanted


@every
def test_checkpointed_gradients_are_the_same(name):
    found = []
    for checkpointed in (False, True):
        model = adapter(name).attach(qwen()).train()
        if checkpointed:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model(IDS, labels=IDS).loss.backward()
        found.append([each.grad for each in model.parameters() if each.requires_grad])
    assert all(map(torch.equal, *found))


@every
def test_weights_stored_transposed_are_read_the_right_way(name, tmp_path):
    before = logits(gpt2())
    model = adapter(name).attach(gpt2())
    assert torch.equal(logits(model), before)
    apart = logits(train(model))
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(gpt2(), tmp_path)), apart)
    torch.testing.assert_close(logits(model.merge_and_unload()), apart, rtol=1e-4, atol=1e-5)


@every
def test_a_trainer_resumes_to_the_bit(name, tmp_path):
    rows = [{"input_ids": row, "labels": row} for row in IDS.repeat(4, 1)]

    def trainer(steps: int, folder: str) -> Trainer:
        args = TrainingArguments(
            tmp_path / folder,
            max_steps=steps,
            save_steps=2,
            per_device_train_batch_size=3,
            learning_rate=1e-2,
            lr_scheduler_type="constant",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        return Trainer(adapter(name).attach(qwen()), args, train_dataset=rows)

    whole = trainer(4, "whole")
    whole.train()
    trainer(2, "parts").train()
    resumed = trainer(4, "parts")
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 4
    assert torch.equal(logits(resumed.model.eval()), logits(whole.model.eval()))


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@every
def test_a_four_bit_base_is_adapted_as_it_is(name, base, tmp_path):
    quantised = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)

    def load() -> torch.nn.Module:
        model = AutoModelForCausalLM.from_pretrained(base, quantization_config=quantised, device_map="cpu")
        for module in model.modules():  # a CPU with AVX512-BF16 packs weights anew, rounded, and not of any width
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        return model

    model = load()
    before = logits(model)
    codes = {key: each.clone() for key, each in model.named_parameters() if each.dtype == torch.uint8}
    assert codes
    model = adapter(name).attach(model)
    assert torch.equal(logits(model), before)
    apart = logits(train(model))
    assert not torch.allclose(apart, before, atol=1e-4)
    assert torch.equal(Original(model).run(lambda: logits(model)), before)
    after = dict(model.get_base_model().named_parameters())
    for key, each in codes.items():
        stem, _, last = key.rpartition(".")
        assert torch.equal(after.get(f"{stem}.base_layer.{last}", after.get(key)), each)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(load(), tmp_path)), apart)
