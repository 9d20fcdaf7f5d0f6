"""The model that is made, with the optimizer's memory: one step, and all of it as one file to go on from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from augment.errors import FinetuneError
from augment.manifest import settle
from finetune.pretrain.course import IGNORED, Batch
from finetune.pretrain.recipe import PretrainRecipe
from finetune.pretrain.words import TURN_END

CONTEXT = 2048
WARM, CLIP, DECAY = 0.05, 1.0, 0.01
REST = 0.2
"""The learning rate of AdamW beside that of Muon."""
WEIGHT = "weight"
"""What a checkpoint calls a parameter itself, beside what is remembered of it."""


class Learner:
    """A Qwen3 in fp32 whose matrices learn by Muon (Jordan et al., 2024) and the rest, embeddings too, by AdamW.

    On the sample's requests 200 steps of both led to a loss of 3.9, of AdamW alone (at 0.004, untuned) to 5.0. The
    learning rate rises over the first steps and falls to 0 on a cosine.
    """

    def __init__(self, recipe: PretrainRecipe, tokenizer: PreTrainedTokenizerBase) -> None:
        self._recipe = recipe
        self.model = made(recipe, tokenizer)
        self.step = 0
        embedding = self.model.get_input_embeddings().weight
        matrices = [each for each in self.model.parameters() if each.ndim == 2 and each is not embedding]
        rest = [each for each in self.model.parameters() if each.ndim != 2 or each is embedding]
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(matrices, weight_decay=DECAY),
            torch.optim.AdamW(rest, betas=(0.9, 0.95), weight_decay=0.0),
        )

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        return sum(each.numel() for each in self.model.parameters())

    def learn(self, batches: Sequence[Batch]) -> float:
        """One step on a batch of each task, all tasks alike in weight; the mean loss in nats per token.

        Raises:
            FinetuneError: the loss is not finite.
        """
        total = 0.0
        for batch in batches:
            loss = self.loss(batch) / len(batches)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        if not math.isfinite(total):
            rate = self._recipe.learning_rate
            raise FinetuneError(f"the loss is {total} at step {self.step}; use a lower learning_rate than {rate:g}")
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for optimizer, part in zip(self._optimizers, (1.0, REST), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = self._recipe.learning_rate * part * self._share()
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return total

    def loss(self, batch: Batch, reduction: str = "mean") -> Tensor:
        """Cross-entropy in nats over the places that have a target; only their logits are made."""
        targets = torch.from_numpy(batch.targets)
        seen = {} if batch.branch is None else _seen(torch.from_numpy(batch.branch))
        states = self.model.model(input_ids=torch.from_numpy(batch.ids), use_cache=False, **seen).last_hidden_state
        learned = targets != IGNORED
        return nn.functional.cross_entropy(self.model.lm_head(states[learned]), targets[learned], reduction=reduction)

    def _share(self) -> float:
        steps = self._recipe.steps
        warm = max(1, round(WARM * steps))
        if self.step < warm:
            return (self.step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (self.step - warm) / max(1, steps - warm)))

    def save(self, file: Path, identity: str) -> None:
        """Write all of it, beside its place first, so that the file is whole or not there."""
        tensors: dict[str, Tensor] = {}
        for name, parameter, memory in self._parts():
            tensors[f"{WEIGHT}.{name}"] = parameter.detach()
            tensors |= {f"{kind}.{name}": value for kind, value in memory.items()}
        beside = file.with_name(f".{file.name}.part")
        safetensors.torch.save_file(tensors, beside, metadata={"identity": identity, "step": str(self.step)})
        settle(beside, file)

    @torch.no_grad()
    def restore(self, file: Path) -> None:
        """Go on from what `save` wrote."""
        with safe_open(file, framework="pt") as saved:
            self.step = int(saved.metadata()["step"])
            kept: dict[str, dict[str, Tensor]] = {}
            for key in saved.keys():  # noqa: SIM118
                kind, _, name = key.partition(".")
                kept.setdefault(name, {})[kind] = saved.get_tensor(key)
        for name, parameter, memory in self._parts():
            parameter.copy_(kept[name].pop(WEIGHT))
            memory.update(kept[name])

    def _parts(self) -> Iterator[tuple[str, nn.Parameter, dict[str, Tensor]]]:
        """Each parameter with its name and what its optimizer remembers of it."""
        for name, parameter in self.model.named_parameters():
            learns = next(each for each in self._optimizers if _has(each, parameter))
            yield name, parameter, learns.state[parameter]


def _has(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> bool:
    return any(parameter is each for group in optimizer.param_groups for each in group["params"])


def _seen(branch: Tensor) -> dict[str, Tensor]:
    """What each place sees of those before it, (rows, 1, T, T), and where it stands, (rows, T)."""
    width = branch.shape[1]
    same = (branch[:, :, None] == branch[:, None, :]) | (branch[:, None, :] == 0)
    seen = same & torch.ones(width, width, dtype=torch.bool).tril()
    return {"attention_mask": seen[:, None], "position_ids": seen.sum(-1) - 1}


def identity_in(file: Path) -> str | None:
    """Whose checkpoint a file is; None where there is none that can be read."""
    try:
        with safe_open(file, framework="pt") as saved:
            found: dict[str, Any] = saved.metadata() or {}
            return found.get("identity")
    except (OSError, SafetensorError):
        return None


def made(recipe: PretrainRecipe, tokenizer: PreTrainedTokenizerBase) -> Qwen3ForCausalLM:
    """The model with the random weights of the recipe's seed."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=3 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        head_dim=recipe.hidden // recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(recipe.seed)
        model: Qwen3ForCausalLM = Qwen3ForCausalLM(config).to(torch.float32)  # type: ignore[arg-type]
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(TURN_END)]
    pad = tokenizer.pad_token_id
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=pad)  # type: ignore[no-untyped-call]
    model.train()
    return model
