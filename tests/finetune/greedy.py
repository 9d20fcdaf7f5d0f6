"""A causal model's greedy answer with its probabilities. Imports none of our packages: stock PEFT is asked with it too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM

TOKENS = 24


class Said(NamedTuple):
    """Token ids, their log probabilities, and how far each one's logit was above the second best."""

    tokens: list[int]
    logprobs: list[float]
    margins: list[float]


def load(folder: Path | str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def answer(model: torch.nn.Module, prompt: Sequence[int]) -> Said:
    ids = torch.tensor([prompt])
    shape = {"do_sample": False, "max_new_tokens": TOKENS, "output_logits": True, "return_dict_in_generate": True}
    found = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **shape)
    tokens = found.sequences[0, len(prompt) :]
    logits = torch.cat(found.logits).double()
    best = logits.topk(2).values
    logprobs = logits.log_softmax(-1)[range(len(tokens)), tokens]
    return Said(tokens.tolist(), logprobs.tolist(), (best[:, 0] - best[:, 1]).tolist())
