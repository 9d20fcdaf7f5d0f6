"""SLoRA: LoRA with a small square matrix between its two factors (arXiv 2502.14482, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.adapters.placement import Placement

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from finetune.adapters.factors import Factors, Site


@dataclass(frozen=True, kw_only=True)
class SLoRA(Placement):
    """y = W x + s·B N A x; A and N start Kaiming-uniform and B at zero, so at first only B receives a gradient."""

    name: ClassVar[str] = "slora"
    learning_rate: ClassVar[float] = 2e-4  # LoRA's, as tuned in tests/benchmarks/methods.py
    has_core: ClassVar[bool] = True
    keeps_start: ClassVar[bool] = False
    core_only: ClassVar[bool] = False

    def attach(self, model: PreTrainedModel | PeftModel, name: str = "default") -> PeftModel:
        from finetune.adapters.attach import attach

        return attach(model, self, name)

    def start(self, site: Site) -> Factors:
        from finetune.adapters.factors import Factors

        down = site.kaiming(site.rank, site.columns, self.seed, "down")
        core = site.kaiming(site.rank, site.rank, self.seed, "core")
        return Factors(site.zeros(site.rows, site.rank), down, core)
