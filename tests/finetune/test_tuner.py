"""The contract with PEFT: what of it we rely on, and what we refuse."""

from __future__ import annotations

import inspect

import peft
import pytest
import torch
from peft import PeftConfig, PeftType, get_peft_model
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.lora import LoraModel
from peft.tuners.lora.layer import Linear

from augment.errors import FinetuneError
from finetune.adapters.inttune import IntTune
from finetune.adapters.lora import LoRA
from finetune.adapters.nlora import NLoRA
from finetune.adapters.slora import SLoRA
from finetune.adapters.tuner import TYPE, AnchoredConfig, AnchoredModel
from tests.finetune.models import IDS, logits, qwen, run


def test_the_type_is_a_full_member_of_pefts_enum():
    member = PeftType(TYPE)
    assert member is getattr(PeftType, TYPE) is PeftType[TYPE]
    assert member in list(PeftType) and member == TYPE and isinstance(member, str)
    assert PEFT_TYPE_TO_TUNER_MAPPING[TYPE] is AnchoredModel
    assert AnchoredConfig().peft_type is member


def test_peft_is_the_version_this_was_written_against():
    assert peft.__version__.startswith("0.21.")
    assert list(inspect.signature(LoraModel._create_and_replace).parameters)[1:7] == [
        *("lora_config", "adapter_name", "target", "target_name", "parent", "current_key")
    ]
    forward = inspect.getsource(Linear.forward)
    assert "lora_B(lora_A(dropout(x))) * scaling" in forward
    assert "weight_B @ weight_A" in inspect.getsource(Linear.get_delta_weight)


def test_the_saved_configuration_says_what_made_it(tmp_path):
    NLoRA(rank=8, core="pinv", rcond=0.2).attach(qwen()).save_pretrained(tmp_path)
    config = PeftConfig.from_pretrained(tmp_path)
    assert isinstance(config, AnchoredConfig)
    assert (config.method, config.has_core, config.anchored, config.core_only) == ("nlora", True, True, False)
    assert config.options == {"core": "pinv", "rcond": 0.2, "anchored": True, "seed": 0}
    assert config.task_type == "CAUSAL_LM"


@pytest.mark.parametrize("kind", [LoRA, SLoRA, NLoRA, IntTune])
def test_a_configuration_read_from_a_file_starts_a_fresh_adapter_at_nothing_that_can_learn(kind, tmp_path):
    kind(rank=8).attach(qwen()).save_pretrained(tmp_path)
    config = PeftConfig.from_pretrained(tmp_path)
    config.inference_mode = False
    model = get_peft_model(qwen(), config)
    before = logits(qwen())
    assert torch.equal(logits(model), before)
    model(IDS, labels=IDS).loss.backward()
    assert any(torch.count_nonzero(each.grad) for each in model.parameters() if each.requires_grad)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_dora", True),
        ("lora_bias", True),
        ("bias", "all"),
        ("init_lora_weights", "pissa"),
        ("target_parameters", ["x"]),
    ],
)
def test_what_would_be_ignored_is_refused(field, value):
    with pytest.raises(FinetuneError, match=f"does not combine with PEFT's {field}="):
        AnchoredConfig(**{field: value})


def test_weighted_sums_are_refused_rather_than_wrong():
    model = NLoRA(rank=8).attach(qwen())
    with pytest.raises(FinetuneError, match="export"):
        model.add_weighted_adapter(["default"], [0.5], "half")


def test_stock_peft_refuses_a_native_folder_aloud(base, tmp_path):
    NLoRA(rank=8).attach(qwen()).save_pretrained(tmp_path)
    done = run(
        "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n"
        f"PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({str(base)!r}), {str(tmp_path)!r})",
        stock=True,
    )
    assert done.returncode == 1
    assert f"KeyError: '{TYPE}'" in done.stderr


def test_names_of_adapters_cost_no_torch():
    done = run(
        "import finetune, finetune.adapters, finetune.export, finetune.saved\n"
        "kinds = [finetune.adapters.TABLE.load(name) for name in finetune.adapters.TABLE.targets()]\n"
        "print(len(list(finetune.adapters.TABLE.summaries())), len(kinds), 'torch' in sys.modules)".replace(
            "import finetune,", "import sys, finetune,"
        )
    )
    assert done.stdout == "5 5 False\n", done.stderr
