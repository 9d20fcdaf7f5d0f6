"""What a fine-tuning will cost, told before it starts: parameters, tokens, steps, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from finetune.chat import Example
from finetune.perturbations.norms import adapted_layers

ADAM = 4 + 4 + 8
"""Bytes a trained fp32 parameter takes: itself, its gradient, two moments."""
NF4 = 0.5 + 4.5 / 64
"""Bytes a weight takes in 4 bits: half a byte, and its share of a block's scale."""
CHUNK = 4 * 48 * 2**20
"""Buffers of the fused loss."""


@dataclass(frozen=True)
class Size:
    """A model with an adapter, counted. `adapted` are weights of adapted layers, `kept` frozen factors."""

    parameters: int
    trainable: int
    adapted: int
    kept: int
    layers: int


@dataclass(frozen=True)
class Forecast:
    """`tokens` are those of one epoch, `learned` of them count in the loss; `memory` in bytes, by what holds it."""

    size: Size
    examples: int
    validation: int
    tokens: int
    learned: int
    steps: int
    batch: int
    micro_batch: int
    memory: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes of memory in all, on each device."""
        return sum(self.memory.values())

    def lines(self) -> list[str]:
        """For people."""
        size = self.size
        share = size.trainable / size.parameters
        memory = ", ".join(f"{name} {_gib(value)}" for name, value in self.memory.items())
        return [
            f"{size.trainable:,} trainable parameters in {size.layers} layers, {share:.3%} of the model's "
            f"{size.parameters:,}",
            f"{self.examples:,} rows to train on and {self.validation:,} to validate with: "
            f"{self.tokens:,} tokens an epoch, {self.learned:,} of them learned",
            f"{self.steps:,} steps of {self.batch:,} rows, {self.micro_batch:,} at a time",
            f"memory: about {_gib(self.total)} ({memory})",
        ]


def size_of(model: nn.Module) -> Size:
    """Counts an adapted model; it may be on the meta device."""
    layers = adapted_layers(model)
    sides: list[nn.Module] = [
        each for layer in layers.values() for part in (layer.lora_A, layer.lora_B) for each in part.values()
    ]
    ours = {id(each) for side in sides for each in side.parameters()}
    trainable = sum(each.numel() for each in model.parameters() if each.requires_grad)
    kept = sum(each.numel() for side in sides for each in side.buffers())
    bases: list[Any] = [each.get_base_layer() for each in layers.values()]
    adapted = sum(int(each.weight.numel()) for each in bases)
    whole = sum(each.numel() for each in model.parameters() if id(each) not in ours)
    return Size(whole, trainable, adapted, kept, len(layers))


def steps_of(packs: int, batch: int, epochs: float, most: int | None) -> int:
    """Optimizer steps of a training: `batch` rows (or packs) each, the last of an epoch with what is left."""
    whole = math.ceil(math.ceil(packs / batch) * epochs)
    return min(whole, most) if most else whole


def memory_of(
    size: Size,
    config: PreTrainedConfig,
    *,
    itemsize: int,
    four_bit: bool,
    checkpointing: bool,
    fused: bool,
    tokens: int,
) -> dict[str, int]:
    """Bytes on one device for a micro-batch of `tokens` tokens, padding included, by what holds them.

    Weights and optimizer are counted; activations are an estimate: what a decoder layer keeps for its backward pass is
    some 20 values of the hidden and 6 of the intermediate size a token, as measured on a Qwen3 with LoRA in fp32.
    """
    text = config.get_text_config()
    hidden = int(getattr(text, "hidden_size", 0) or 0)
    inner = int(getattr(text, "intermediate_size", 0) or 4 * hidden)
    depth = int(getattr(text, "num_hidden_layers", 0) or 0)
    layer = (20 * hidden + 6 * inner) * itemsize
    kept = depth * hidden * itemsize + layer if checkpointing else depth * layer
    logits = 4 * 4 * tokens * int(getattr(text, "vocab_size", 0) or 0)  # in fp32: themselves, two softmaxes, a gradient
    logits = min(logits, CHUNK) if fused else logits
    weights = size.parameters * itemsize
    if four_bit:
        weights -= round(size.adapted * (itemsize - NF4))
    return {
        "weights": weights,
        "adapter and optimizer": size.trainable * ADAM + size.kept * 4,
        "activations": tokens * kept,
        "loss": logits,
    }


def widest(groups: Sequence[Sequence[Example]], micro_batch: int) -> int:
    """Tokens of the largest micro-batch that can come up, padding included."""
    lengths = sorted((sum(len(each.ids) for each in group) for group in groups), reverse=True)
    packed = any(len(group) > 1 for group in groups)
    return sum(lengths[:micro_batch]) if packed else lengths[0] * min(micro_batch, len(lengths))


def precision_of(wanted: str) -> torch.dtype:
    """The dtype of the base's weights and of computing: bf16 where the GPU has it, unless told otherwise."""
    if wanted == "auto":
        gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if gpu else torch.float32
    return torch.bfloat16 if wanted == "bf16" else torch.float32


def _gib(value: int) -> str:
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"
