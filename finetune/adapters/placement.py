"""Where an adapter goes and how large it is: the hyper-parameters that all of ours share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Rank, scaling and targets, under PEFT's meanings.

    * `rank`, `alpha`: the adapter's output is multiplied by s = alpha / rank, with `rslora` by alpha / √rank
      (arXiv 2312.03732). No `alpha` means alpha = rank, as in the recipes of PiSSA, BA-LoRA and NLoRA.
    * `targets`: "all-linear" is every linear layer except the output head, which for LLaMA, Mistral and Qwen are
      the papers' q, k, v, o, gate, up and down; or names of modules; or a regular expression over full names.
    * `rank_pattern`, `alpha_pattern`: another rank or alpha for the modules whose name ends on the key.
    * `seed`: all randomness of the start derives from it and the module's name, whatever the order or device.
    """

    rank: Annotated[int, Field(ge=1)] = 128
    alpha: Annotated[float, Field(gt=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] | str = "all-linear"
    rslora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
