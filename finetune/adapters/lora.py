"""Plain LoRA (arXiv 2106.09685), as the others' baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.adapters.placement import Placement

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from finetune.adapters.factors import Factors, Site


@dataclass(frozen=True, kw_only=True)
class LoRA(Placement):
    """y = W x + s·B A x; A starts Kaiming-uniform and B at zero, so the output is the model's at first."""

    name: ClassVar[str] = "lora"
    learning_rate: ClassVar[float] = 2e-4
    has_core: ClassVar[bool] = False
    keeps_start: ClassVar[bool] = False
    core_only: ClassVar[bool] = False

    def attach(self, model: PreTrainedModel | PeftModel, name: str = "default") -> PeftModel:
        from finetune.adapters.attach import attach

        return attach(model, self, name)

    def start(self, site: Site) -> Factors:
        from finetune.adapters.factors import Factors

        return Factors(site.zeros(site.rows, site.rank), site.kaiming(site.rank, site.columns, self.seed, "down"))
