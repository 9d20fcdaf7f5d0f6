"""Real tiny models built from configs: a Qwen3 language model and a classifier, with stock PEFT adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification

VOCABULARY = 320
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def config(**changes: Any) -> Qwen3Config:
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "initializer_range": 0.15,  # peaked enough that the terms differ from those of a flat softmax
    }
    return Qwen3Config(**{**shape, **changes})


def language_model(dtype: torch.dtype = torch.float32, **changes: Any) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(config(**changes)).to(dtype)


def classifier(classes: int = 3, **changes: Any) -> Qwen3ForSequenceClassification:
    torch.manual_seed(0)
    return Qwen3ForSequenceClassification(config(num_labels=classes, **changes))


def adapted(model: Any, init: Any = True, *, r: int = 4, modules: Sequence[str] = LINEAR, **changes: Any) -> Any:
    """The model with stock LoRA (`init` True) or PiSSA ("pissa")."""
    torch.manual_seed(1)
    task = TaskType.CAUSAL_LM if isinstance(model, Qwen3ForCausalLM) else TaskType.SEQ_CLS
    settings = LoraConfig(
        task_type=task, r=r, lora_alpha=2 * r, target_modules=list(modules), init_lora_weights=init, **changes
    )
    return get_peft_model(model, settings)


def moved(model: Any, by: float = 0.05, seed: int = 2) -> Any:
    """The model as after some training: every trainable parameter off its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=by)
    return model


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
