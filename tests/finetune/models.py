"""Real tiny models, built from configurations, the adapters on them, and what the tests do to both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from finetune import adapters

ROOT = Path(__file__).parent.parent.parent
VOCABULARY = 128
IDS = torch.randint(0, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(7))
RANK = 8
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "vocab_size": VOCABULARY}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ADAPTERS = sorted(adapters.TABLE.targets())


def qwen(seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> PreTrainedModel:
    """Two layers; k and v are 32 × 64, every other linear larger."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(Qwen3Config(**{**SIZES, "head_dim": 16, **changes})).to(dtype).eval()


def peaked(dtype: torch.dtype = torch.float32, **changes: Any) -> PreTrainedModel:
    """Large weights make its softmax peaked, so that the terms of an objective differ from those of a flat one."""
    return qwen(dtype=dtype, initializer_range=0.15, **changes)


def gpt2() -> PreTrainedModel:
    """Its linear layers are Conv1D, which store their weights transposed; they have biases."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=VOCABULARY))
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.bias.normal_()
    return model.eval()


def classifier(classes: int = 3, **changes: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForSequenceClassification(LlamaConfig(**SIZES, num_labels=classes, pad_token_id=0, **changes)).eval()


def adapter(name: str, **options: Any) -> adapters.Adapter:
    """One of the table, with s = 2, so that a scale that is left out shows."""
    return adapters.TABLE.load(name)(**{"rank": RANK, "alpha": 2 * RANK, **options})


def adapted(model: PreTrainedModel, name: str = "lora", **options: Any) -> PeftModel:
    return adapter(name, **options).attach(model)


def stock(model: PreTrainedModel, init: bool | str = True, **options: Any) -> PeftModel:
    """PEFT's own LoRA."""
    torch.manual_seed(1)
    targets = {"target_modules": list(LINEAR), "task_type": "CAUSAL_LM", **options}
    return get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, init_lora_weights=init, **targets))


def batch(rows: int = 2, length: int = 12, prompt: int = 4, seed: int = 3) -> dict[str, Tensor]:
    """Inputs with completion-only labels; the last row is shorter, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCABULARY, (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    if rows > 1:
        mask[-1, -3:] = 0
        ids[-1, -3:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :prompt] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@torch.no_grad()
def logits(model: torch.nn.Module, inputs: Mapping[str, Tensor] | None = None, **more: object) -> Tensor:
    """What the model says to `inputs`, labels aside, else to `IDS`."""
    given = {"input_ids": IDS} if inputs is None else {key: each for key, each in inputs.items() if key != "labels"}
    return model(**given, **more).logits


def train(model: PeftModel, steps: int = 3, lr: float = 1e-2) -> PeftModel:
    """A few steps of AdamW on the model's own loss; the model is left in evaluation mode."""
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr)
    labels = IDS[:, 0] % 3 if model.active_peft_config.task_type == "SEQ_CLS" else IDS
    model.train()
    for _ in range(steps):
        model(IDS, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def moved(model: PeftModel, by: float = 0.05, seed: int = 2) -> PeftModel:
    """The model as after some training, in no time: every trainable parameter off its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=by)
    return model


def sides(model: PeftModel, name: str = "default") -> list[tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]]:
    """Each adapted layer with its two sides."""
    return [(each, each.lora_A[name], each.lora_B[name]) for each in model.modules() if hasattr(each, "lora_A")]


def delta(model: PeftModel, name: str = "default") -> list[Tensor]:
    return [layer.get_delta_weight(name).detach() for layer, _, _ in sides(model, name)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def run(code: str, stock: bool = False) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own; `stock`: where none of our packages can be imported."""
    block = "import sys\nsys.modules.update({'finetune': None, 'augment': None})\n" if stock else ""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", block + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
