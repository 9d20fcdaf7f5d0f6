"""NLoRA: SLoRA that starts at a Nyström approximation of the weight (arXiv 2502.14482, section 3).

The released code copies three blocks of W, inverts nothing and subtracts nothing, which perturbs the model at
step 0 by some 5 %. What is the default here keeps the output, and its core is the one that fits W best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from finetune.adapters.placement import Placement

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from finetune.adapters.factors import Factors, Site


@dataclass(frozen=True, kw_only=True)
class NLoRA(Placement):
    """y = W x + s·(B N A − B0 N0 A0) x, where s·B0 N0 A0 approximates W from its leading rows R and columns C.

    * `core="nystrom"`: C·C⁺WR⁺·R, never farther from W than 0 is, with the factors in balanced orthonormal bases.
    * `core="pinv"`: C·pinv(W[:r, :r])·R, exact on the first r rows and columns (with a small `rcond`) and far off
      elsewhere: on a weight without structure some 60 times its norm. Singular values below `rcond` times the
      largest are dropped.
    * `core="copy"`: A = W[:r, :], B = W[:, :r], N = W[:r, :r], as released. `core="copy", anchored=False` is the
      released code's whole behaviour, perturbation included.
    """

    core: Literal["nystrom", "pinv", "copy"] = "nystrom"
    anchored: bool = True
    rcond: Annotated[float, Field(ge=0, lt=1)] = 0.1
    name: ClassVar[str] = "nlora"
    learning_rate: ClassVar[float] = 1e-4  # half of LoRA's, as tuned in tests/benchmarks/methods.py
    has_core: ClassVar[bool] = True
    core_only: ClassVar[bool] = False

    @property
    def keeps_start(self) -> bool:
        return self.anchored

    def attach(self, model: PreTrainedModel | PeftModel, name: str = "default") -> PeftModel:
        from finetune.adapters.attach import attach

        return attach(model, self, name)

    def start(self, site: Site) -> Factors:
        from finetune.adapters import nystrom

        weight = site.read()
        if self.core == "copy":
            return nystrom.blocks(weight, site.rank)
        if self.core == "pinv":
            return nystrom.inverted(weight, site.rank, self.rcond, site.scaling)
        return nystrom.fitted(weight, site.rank, site.scaling)
