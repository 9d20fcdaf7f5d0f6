"""LoRA-MGPO: a step up the momentum before the gradient is taken (arXiv 2502.14538 v2, EMNLP 2025 Findings).

    ε_t = ρ · m_{t−1} / ‖m_{t−1}‖ / ḡ_{t−1}        ḡ_t = β ḡ_{t−1} + (1 − β) ‖∇_t‖

over θ, the adapter's own factors, with m the optimizer's first moment and ḡ a mean of the gradient's norm. The gradient
at θ + ε is applied to θ. Sharpness-aware training for the price of plain: the direction is there already, so there is
one forward and one backward pass. Weights come back as copies, not by subtraction, so that nothing drifts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augment.errors import FinetuneError, RecipeError
from finetune.perturbations.norms import adapter_parameters

MOMENTS = ("exp_avg", "momentum_buffer")
"""What optimizers call their first moment: Adam's kin, and SGD with momentum."""


@dataclass(frozen=True)
class Mgpo:
    """A step of length ρ/ḡ along the optimizer's momentum while the gradient is taken (LoRA-MGPO).

    `rho` .01 and `beta` .8 (with AdamW's β1 .8) are the paper's for generation; for classification it has .05 and
    .9. ‖ε‖ = ρ/ḡ has no bound as gradients vanish, so it is held to `largest`, a limit of ours.

    Raises:
        RecipeError: a value makes no sense.
    """

    rho: float = 0.01
    beta: float = 0.8
    largest: float = 1.0
    name: ClassVar[str] = "mgpo"

    def __post_init__(self) -> None:
        if self.rho < 0 or self.largest < 0:
            raise RecipeError(f"rho is {self.rho} and largest {self.largest}; give 0 or more")
        if not 0 <= self.beta < 1:
            raise RecipeError(f"beta is {self.beta}; give a number from 0 up to but not including 1")

    def attach(self, model: nn.Module) -> AttachedMgpo:
        """As `Perturbation.attach`."""
        return AttachedMgpo(self, model)


class AttachedMgpo:
    """MGPO on one model; see `Attached`. `mean_norm` is ḡ, NaN before the first step."""

    def __init__(self, settings: Mgpo, model: nn.Module) -> None:
        self._settings = settings
        self._parameters = adapter_parameters(model)
        self.mean_norm = torch.tensor(math.nan)
        self._norm: Tensor | None = None

    @contextmanager
    def micro_batch(self, optimizer: torch.optim.Optimizer | None = None) -> Iterator[None]:
        """As `Attached.micro_batch`. The gradient's norm is taken at the end, before any clipping.

        Raises:
            FinetuneError: there is no optimizer, or after a step it has no first moment.
        """
        step = self._step_along(optimizer)
        kept = [each.detach().clone() for each in self._parameters] if step is not None else None
        try:
            if step is not None:
                for parameter, by in zip(self._parameters, step, strict=True):
                    parameter.data.add_(by.to(parameter.dtype))
            yield
        finally:
            if kept is not None:
                for parameter, was in zip(self._parameters, kept, strict=True):
                    parameter.data.copy_(was)
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        self._norm = _norm(gradients) if gradients else None

    def before_step(self) -> None:
        """Move ḡ by the norm of the accumulated gradient; one that is not finite is passed over."""
        if self._norm is None:
            return
        mean, beta = self.mean_norm.to(self._norm.device), self._settings.beta
        moved = torch.where(mean.isnan(), self._norm, beta * mean + (1 - beta) * self._norm)
        self.mean_norm = torch.where(self._norm.isfinite(), moved, mean)
        self._norm = None

    def state_dict(self) -> dict[str, Any]:
        return {"mean_norm": self.mean_norm.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean_norm, self._norm = state["mean_norm"].clone(), None

    def detach(self) -> None:
        """Nothing is left on the model between micro-batches."""

    def _step_along(self, optimizer: torch.optim.Optimizer | None) -> list[Tensor] | None:
        """ε, a tensor a parameter; None where there is no momentum yet, or ρ = 0."""
        settings = self._settings
        if optimizer is None:
            raise FinetuneError("mgpo follows the optimizer's first moment; give micro_batch the optimizer")
        if not settings.rho or not settings.largest:
            return None
        moments = [_moment(optimizer.state.get(each, {})) for each in self._parameters]
        found = [each for each in moments if each is not None]
        if not found:
            if self.mean_norm.isfinite():
                raise FinetuneError("mgpo found no first moment in the optimizer; use AdamW, or SGD with momentum")
            return None
        length = (settings.rho / self.mean_norm.to(found[0].device)).clamp(max=settings.largest)
        scale = (length / _norm(found)).nan_to_num(0.0, 0.0, 0.0)  # no ḡ yet, or a moment of 0
        return [
            torch.zeros_like(parameter) if moment is None else moment * scale
            for parameter, moment in zip(self._parameters, moments, strict=True)
        ]


def _moment(state: dict[str, Any]) -> Tensor | None:
    found = next((state[name] for name in MOMENTS if state.get(name) is not None), None)
    return found if isinstance(found, Tensor) else None


def _norm(tensors: list[Tensor]) -> Tensor:
    """The length of all of them as one vector, fp32."""
    wide = [torch.promote_types(each.dtype, torch.float32) for each in tensors]
    lengths = [torch.linalg.vector_norm(each, dtype=dtype).float() for each, dtype in zip(tensors, wide, strict=True)]
    whole: Tensor = torch.stack(lengths).norm()
    return whole
