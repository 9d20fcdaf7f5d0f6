"""Real tiny models, built from configurations, and what the tests do to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from peft import PeftModel
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

ROOT = Path(__file__).parent.parent.parent
IDS = torch.randint(0, 128, (3, 9), generator=torch.Generator().manual_seed(7))
RANK = 8
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "vocab_size": 128}


def qwen(seed: int = 0, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Two layers; k and v are 32 × 64, every other linear larger."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16)).to(dtype).eval()


def gpt2() -> PreTrainedModel:
    """Its linear layers are Conv1D, which store their weights transposed."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=128)).eval()


def classifier() -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForSequenceClassification(LlamaConfig(**SIZES, num_labels=3, pad_token_id=0)).eval()


@torch.no_grad()
def logits(model: torch.nn.Module, **more: object) -> Tensor:
    return model(IDS, **more).logits


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


def sides(model: PeftModel, name: str = "default") -> list[tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]]:
    """Each adapted layer with its two sides."""
    return [(each, each.lora_A[name], each.lora_B[name]) for each in model.modules() if hasattr(each, "lora_A")]


def delta(model: PeftModel, name: str = "default") -> list[Tensor]:
    return [layer.get_delta_weight(name).detach() for layer, _, _ in sides(model, name)]


def run(code: str, stock: bool = False) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own; `stock`: where none of our packages can be imported."""
    block = "import sys\nsys.modules.update({'finetune': None, 'augment': None})\n" if stock else ""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", block + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
