"""IntTune: only the r × r core trains, between two frozen factors (arXiv 2502.14482, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from augment.errors import FinetuneError
from finetune.adapters.placement import Placement

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from finetune.adapters.factors import Factors, Site


@dataclass(frozen=True, kw_only=True)
class IntTune(Placement):
    """y = W x + s·B D A x with B and A frozen; D = N − N0 starts at zero, r² trainable numbers a layer.

    `bases` are the leading columns and rows of W ("slices", the paper's) or its principal singular vectors with
    B = U S and A = Vᵀ ("svd", LoRA-XS, arXiv 2405.17604), found by `niter` rounds of subspace iteration (None: the
    full SVD). With "slices", `anchored=False` trains N from W[:r, :r] as the released code does, which perturbs the
    output at step 0. So few parameters want a learning rate above LoRA's: in tests/benchmarks/methods.py
    five times that with "slices", and twice with "svd".
    """

    bases: Literal["slices", "svd"] = "slices"
    anchored: bool = True
    niter: Annotated[int, Field(ge=0)] | None = 16
    name: ClassVar[str] = "inttune"
    learning_rate: ClassVar[float] = 1e-3  # five times LoRA's, as tuned in tests/benchmarks/methods.py
    has_core: ClassVar[bool] = True
    keeps_start: ClassVar[bool] = False
    core_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.bases == "svd" and not self.anchored:
            raise FinetuneError("inttune with bases=svd has no released core to start from; leave anchored=True")

    def attach(self, model: PreTrainedModel | PeftModel, name: str = "default") -> PeftModel:
        from finetune.adapters.attach import attach

        return attach(model, self, name)

    def start(self, site: Site) -> Factors:
        from finetune.adapters.factors import Factors
        from finetune.adapters.nystrom import blocks
        from finetune.adapters.svd import principal

        weight = site.read()
        zero = site.zeros(site.rank, site.rank)
        if self.bases == "svd":
            left, values, right = principal(weight, site.rank, self.niter, site.random(self.seed, "svd"))
            return Factors(left * values, right, zero)
        found = blocks(weight, site.rank)
        return Factors(found.up, found.down, zero) if self.anchored else found
