"""PiSSA: LoRA that starts at the principal singular vectors of the weight (arXiv 2404.02948)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from finetune.adapters.placement import Placement

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from finetune.adapters.factors import Factors, Site


@dataclass(frozen=True, kw_only=True)
class PiSSA(Placement):
    """y = W x + s·(B A − B0 A0) x, where s·B0 A0 is the best rank-r approximation of W, its scale split evenly.

    Gradients and outputs are those of PEFT's form, which puts W − s·B0 A0 in the place of W. `niter` rounds of
    subspace iteration find the vectors; None takes the full SVD, twenty times slower.
    """

    niter: Annotated[int, Field(ge=0)] | None = 16
    name: ClassVar[str] = "pissa"
    learning_rate: ClassVar[float] = 1e-4  # half of LoRA's, as tuned in tests/benchmarks/methods.py
    has_core: ClassVar[bool] = False
    keeps_start: ClassVar[bool] = True
    core_only: ClassVar[bool] = False

    def attach(self, model: PreTrainedModel | PeftModel, name: str = "default") -> PeftModel:
        from finetune.adapters.attach import attach

        return attach(model, self, name)

    def start(self, site: Site) -> Factors:
        from finetune.adapters.factors import Factors
        from finetune.adapters.svd import principal

        left, values, right = principal(site.read(), site.rank, self.niter, site.random(self.seed, "svd"))
        root = (values / site.scaling).sqrt()
        return Factors(left * root, root[:, None] * right)
