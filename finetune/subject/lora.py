"""DreamBooth (Ruiz et al. 2023) by LoRA: low-rank changes of the network's attention, as diffusers loads them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Generator, Tensor

from augment.errors import FinetuneError
from augment.images.subjects import WEIGHTS
from finetune.subject.families import Family
from finetune.subject.loop import turns
from finetune.subject.recipe import DREAMBOOTH

ATTENTION = re.compile(r"(^|\.)(attn\d*|attention)\.")
"""Where the linear layers lie that change, in every family: to_q, to_k, to_v, to_out and what a family has besides."""


class DreamBooth:
    """A subject's latents beside those of its class, each with its words: (pictures, …) and the words of one prompt."""

    def __init__(
        self,
        family: Family,
        parameters: list[torch.nn.Parameter],
        subject: tuple[Tensor, Any],
        prior: tuple[Tensor, Any] | None,
        batch: int,
        weight: float,
        chance: Generator,
    ) -> None:
        self.parameters, self.count = parameters, len(subject[0])
        self.weights = {"subject": 1.0} | ({"prior": weight} if prior else {})
        self._family, self._batch = family, batch
        self._sets = {"subject": subject} | ({"prior": prior} if prior else {})
        self._turns = {name: turns(len(latents), chance) for name, (latents, _) in self._sets.items()}

    def losses(self, chance: Generator) -> dict[str, Tensor]:
        """The subject's and its class's (Ruiz et al. 2023, eq. 2)."""
        found = {}
        for name in self._sets:
            chosen = [next(self._turns[name]) for _ in range(self._batch)]
            found[name] = self._wrong(name, chosen, chance).mean()
        return found

    def wrong(self, chosen: Sequence[int], chance: Generator) -> Tensor:
        """How wrong it is about the subject's pictures of these numbers."""
        return self._wrong("subject", chosen, chance)

    def _wrong(self, name: str, chosen: Sequence[int], chance: Generator) -> Tensor:
        latents, words = self._sets[name]
        return self._family.loss(latents[list(chosen)], self._family.repeated(words, len(chosen)), chance)

    def saved(self, pipe: Any) -> bytes:
        """The LoRA as `load_lora_weights` reads it."""
        from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers

        layers = get_peft_model_state_dict(self._family.network)
        if self._family.part == "unet":  # by the names that programs other than diffusers know
            layers = convert_state_dict_to_diffusers(layers)  # type: ignore[no-untyped-call]
        layers = {name: value.contiguous().cpu() for name, value in layers.items()}
        with tempfile.TemporaryDirectory() as folder:
            pipe.save_lora_weights(folder, **{f"{self._family.part}_lora_layers": layers})
            return (Path(folder) / WEIGHTS[DREAMBOOTH]).read_bytes()


def attach(network: Any, rank: int, seed: int) -> list[torch.nn.Parameter]:
    """Put a LoRA (alpha = rank) on every linear layer of the network's attentions; its weights, in float32.

    Raises:
        FinetuneError: there is no such layer.
    """
    targets = [name for name in _linear(network) if ATTENTION.search(name)]
    if not targets:
        raise FinetuneError(f"{type(network).__name__} has no attention to put a LoRA on; give --engine another model")
    network.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=targets))
    learned = [each for each in network.parameters() if each.requires_grad]
    for each in learned:
        each.data = each.data.float()  # in bfloat16 the steps would be rounded away
    return learned


def _linear(network: Any) -> Iterator[str]:
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and not isinstance(module, LoraLayer):
            yield name
