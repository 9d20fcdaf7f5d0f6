"""Saved adapters: read at a glance, exported to plain LoRA, merged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from augment.errors import FinetuneError
from finetune.export import SERVED, export, info, merge
from finetune.saved import read
from tests.finetune.models import ADAPTERS, adapter, classifier, delta, gpt2, logits, qwen, run, sides, train


def trained(name: str, model: torch.nn.Module, folder: Path, **options: object) -> PeftModel:
    made = train(adapter(name, **{"rank": 6, "alpha": 9, **options}).attach(model))
    made.save_pretrained(folder)
    return made


def load(base: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(base)


def test_stock_peft_loads_every_export_and_gives_the_same_logits(base, tmp_path):
    for name in ADAPTERS:
        options = {"rslora": True, "rank_pattern": {"k_proj": 4}, "alpha_pattern": {"up_proj": 3}}
        model = trained(name, load(base), tmp_path / name, **options)
        torch.save(logits(model), tmp_path / f"{name}.pt")
        done = export(tmp_path / name, tmp_path / "plain" / name)
        assert (done.layers, done.servable, done.dtype) == (14, True, "float32")
        assert done.error < 1e-6
        assert done.rank == (16 if name in ("pissa", "nlora") else 8)
    done = run(
        f"""
import torch
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForCausalLM
root = Path({str(tmp_path)!r})
ids = torch.randint(0, 128, (3, 9), generator=torch.Generator().manual_seed(7))
for name in {ADAPTERS!r}:
    model = AutoModelForCausalLM.from_pretrained({str(base)!r})
    model = PeftModel.from_pretrained(model, root / "plain" / name).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, torch.load(root / (name + ".pt")), rtol=1e-4, atol=1e-5)
    assert type(model.base_model).__name__ == "LoraModel"
print("all")
""",
        stock=True,
    )
    assert done.stdout == "all\n", done.stderr


def test_the_export_is_pefts_own_layout_with_the_scaling_baked_in(base, tmp_path):
    trained("nlora", load(base), tmp_path / "a", rslora=True)
    export(tmp_path / "a", tmp_path / "b")
    config = json.loads((tmp_path / "b/adapter_config.json").read_text("utf-8"))
    assert (config["peft_type"], config["r"], config["lora_alpha"], config["use_rslora"]) == ("LORA", 16, 16, False)
    assert config["init_lora_weights"] is True and config["rank_pattern"] == config["alpha_pattern"] == {}
    assert config["base_model_name_or_path"] == str(base)
    assert not {"method", "options", "anchored", "has_core", "core_only"} & config.keys()
    stock = get_peft_model(qwen(), LoraConfig(r=16, target_modules=config["target_modules"]))
    stock.save_pretrained(tmp_path / "stock")
    theirs = load_file(tmp_path / "stock/adapter_model.safetensors")
    ours = load_file(tmp_path / "b/adapter_model.safetensors")
    assert {key: each.shape for key, each in ours.items()} == {key: each.shape for key, each in theirs.items()}


def test_a_smaller_rank_is_the_best_of_its_rank_and_says_what_it_lost(base, tmp_path):
    model = trained("nlora", load(base), tmp_path / "a")
    whole = delta(model)
    done = export(tmp_path / "a", tmp_path / "b", rank=3)
    near = delta(PeftModel.from_pretrained(load(base), tmp_path / "b"))
    lost = sum(float((one - other).square().sum()) for one, other in zip(whole, near, strict=True))
    best = sum(float(torch.linalg.svdvals(one)[3:].square().sum()) for one in whole)
    learned = sum(float(one.square().sum()) for one in whole)
    assert done.rank == 3
    assert lost == pytest.approx(best, rel=1e-3)
    assert done.error == pytest.approx((lost / learned) ** 0.5, rel=1e-3)


@pytest.mark.parametrize(("dtype", "least", "most"), [("bfloat16", 1e-3, 5e-3), ("float16", 1e-4, 1e-3)])
def test_rounding_costs_what_it_says(dtype, least, most, base, tmp_path):
    model = trained("nlora", load(base), tmp_path / "a")
    done = export(tmp_path / "a", tmp_path / "b", dtype=dtype)
    tensors = load_file(tmp_path / "b/adapter_model.safetensors")
    assert {str(each.dtype) for each in tensors.values()} == {f"torch.{dtype}"}
    near = delta(PeftModel.from_pretrained(load(base), tmp_path / "b"))
    lost = sum(float((one - other).square().sum()) for one, other in zip(delta(model), near, strict=True))
    learned = sum(float(one.square().sum()) for one in delta(model))
    assert least < done.error < most
    assert done.error == pytest.approx((lost / learned) ** 0.5, rel=0.1)


def test_an_untrained_adapter_exports_to_nothing(base, tmp_path):
    adapter("nlora").attach(load(base)).save_pretrained(tmp_path / "a")
    done = export(tmp_path / "a", tmp_path / "b")
    assert (done.rank, done.error) == (1, 0)
    assert torch.equal(logits(PeftModel.from_pretrained(load(base), tmp_path / "b")), logits(load(base)))


def test_every_rank_that_is_kept_whole_is_one_that_is_served():
    assert list(SERVED) == sorted(SERVED)


def test_transposed_weights_and_trained_heads_survive_the_export(tmp_path):
    for make in (gpt2, classifier):
        model = trained("nlora", make(), tmp_path / make.__name__)
        export(tmp_path / make.__name__, tmp_path / f"{make.__name__}-plain")
        plain = PeftModel.from_pretrained(make(), tmp_path / f"{make.__name__}-plain")
        torch.testing.assert_close(logits(plain), logits(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ADAPTERS)
def test_info_tells_a_folder_from_its_files_alone(name, base, tmp_path):
    alphas = {"up_proj": 3, "oj": 5, "self_attn": 7}  # a part of a name, or of a path, is no name
    model = trained(name, load(base), tmp_path, rank_pattern={"k_proj": 4}, alpha_pattern=alphas, rslora=True)
    found = info(tmp_path)
    assert (found.method, found.native, found.base, found.task) == (name, True, str(base), "CAUSAL_LM")
    assert (found.ranks, found.alpha, found.rslora, found.layers) == ((4, 6), 9, True, 14)
    assert found.trained == model.get_nb_trainable_parameters()[0]
    assert found.stored == sum(each.numel() for each in load_file(tmp_path / "adapter_model.safetensors").values())
    assert found.bytes > 4 * found.stored
    assert found.options.get("seed") == 0
    scalings = {layer.module: layer.scaling for layer in read(tmp_path).layers}
    named = {key.removeprefix("base_model.model."): each for key, each in model.named_modules()}
    assert {key: named[key].scaling["default"] for key in scalings} == scalings
    assert set(scalings.values()) == {9 / 4**0.5, 9 / 6**0.5, 3 / 6**0.5}


def test_info_reads_plain_lora_too_which_needs_no_export(base, tmp_path):
    model = get_peft_model(load(base), LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    model.save_pretrained(tmp_path)
    found = info(tmp_path)
    assert (found.method, found.native, found.ranks, found.layers) == ("lora", False, (4,), 2)
    assert found.trained == model.get_nb_trainable_parameters()[0]
    with pytest.raises(FinetuneError, match="plain LoRA already"):
        export(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_merge_is_the_adapted_model_without_peft(name, base, tmp_path):
    model = trained(name, load(base), tmp_path / "a")
    done = merge(tmp_path / "a", tmp_path / "b")
    assert (done.base, done.layers, done.dtype) == (str(base), 14, "float32")
    merged = load(tmp_path / "b")
    assert done.parameters == merged.num_parameters()
    torch.testing.assert_close(logits(merged), logits(model), rtol=1e-4, atol=1e-5)


def test_a_merge_of_a_bfloat16_base_is_made_in_fp32(tmp_path):
    qwen(dtype=torch.bfloat16).save_pretrained(tmp_path / "base")
    model = trained("slora", AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype="auto"), tmp_path / "a")
    merge(tmp_path / "a", tmp_path / "b")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "b", dtype="auto")
    assert whole.dtype == torch.float32
    for layer, _, _ in sides(model):
        assert layer.base_layer.weight.dtype == torch.bfloat16
    apart = [
        layer.base_layer.weight.float() + each for (layer, _, _), each in zip(sides(model), delta(model), strict=True)
    ]
    own = {key: each for key, each in whole.named_parameters() if key.endswith("_proj.weight")}
    assert all(
        any(torch.allclose(each, one, atol=1e-7) for each in own.values() if each.shape == one.shape) for one in apart
    )
    merge(tmp_path / "a", tmp_path / "c", dtype="bfloat16")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "c", dtype="auto").dtype == torch.bfloat16


def refused(action: object, *args: object, **options: object) -> str:
    with pytest.raises(FinetuneError) as caught:
        action(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_adapter_is_said_in_one_line(base, tmp_path):
    assert "no adapter_config.json" in refused(info, tmp_path)
    good = tmp_path / "good"
    trained("nlora", load(base), good)

    def spoilt(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in good.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    folder = spoilt("broken json")
    (folder / "adapter_config.json").write_text("{", "utf-8")
    assert "cannot be read" in refused(info, folder)
    folder = spoilt("other kind")
    (folder / "adapter_config.json").write_text('{"peft_type": "IA3"}', "utf-8")
    assert "is a IA3 adapter" in refused(info, folder)
    folder = spoilt("no alpha")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', "utf-8")
    assert "no lora_alpha" in refused(info, folder)
    folder = spoilt("no weights")
    (folder / "adapter_model.safetensors").unlink()
    assert "pickled" in refused(info, folder)
    folder = spoilt("cut short")
    (folder / "adapter_model.safetensors").write_bytes((good / "adapter_model.safetensors").read_bytes()[:500])
    assert "cannot be read" in refused(info, folder)
    folder = spoilt("half")
    tensors = load_file(good / "adapter_model.safetensors")
    save_file({key: each for key, each in tensors.items() if "lora_A" in key}, folder / "adapter_model.safetensors")
    assert "half" in refused(info, folder)
    folder = spoilt("empty")
    save_file({}, folder / "adapter_model.safetensors")
    assert "no adapted layer" in refused(info, folder)


def test_what_cannot_be_exported_or_merged_is_said_in_one_line_and_leaves_nothing(base, tmp_path):
    good, out = tmp_path / "good", tmp_path / "out"
    trained("nlora", load(base), good)
    assert "known: float32" in refused(export, good, out, dtype="int4")
    assert "known: float32" in refused(merge, good, out, dtype="int4")
    assert "at least 1" in refused(export, good, out, rank=0)
    assert "choose another --out" in refused(export, good, good)
    assert "choose another --out" in refused(merge, good, good)
    assert "give --base a folder" in refused(merge, good, out, base=str(tmp_path / "nowhere"))
    wider = qwen()
    wider.config.intermediate_size = 112
    type(wider)(wider.config).save_pretrained(tmp_path / "wider")
    assert "does not fit" in refused(merge, good, out, base=str(tmp_path / "wider"))
    wider.config.intermediate_size, wider.config.num_hidden_layers = 96, 1
    wider.config.layer_types = wider.config.layer_types[:1]
    type(wider)(wider.config).save_pretrained(tmp_path / "shorter")
    assert "other layers" in refused(merge, good, out, base=str(tmp_path / "shorter"))
    tensors = load_file(good / "adapter_model.safetensors")
    key = next(key for key in tensors if key.endswith("lora_B.factor"))
    tensors[key][0, 0] = float("nan")
    save_file(tensors, good / "adapter_model.safetensors", metadata={"format": "pt"})
    assert "cannot be merged" in refused(merge, good, out)
    assert "not finite" in refused(export, good, out)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["good", "shorter", "wider"]
