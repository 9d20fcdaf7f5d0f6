"""LoRA-GGPO: gradient-guided noise on the effective weights (arXiv 2502.14538 v1).

The loss is taken at W' + ε, W' = W + s·B·A, with ε_ij ~ N(0, ρ_i²), ρ_i² = (σ²/n)(‖W'_i‖² + β‖G̃_i‖²): rows that are
large or steep get more. Norms are those of the optimizer step before, so the first step is plain.

A matrix of noise for every layer nearly doubles a step. A token x sees it only as ε x ~ N(0, ρ²‖x‖²), so that is what
is drawn (local reparametrisation), for each token by itself: the same distribution for a token, less variance in the
gradient, but no correlation between tokens. The gradient goes through ‖x‖ too. Noise is drawn again in the backward
pass rather than kept, and depends on the seed and on counts alone, so gradient checkpointing sees the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from augment.errors import FinetuneError, RecipeError
from augment.records import seed_for
from finetune.perturbations.norms import (
    adapted_layers,
    base_row_squares,
    gradient_row_squares,
    weight_row_squares,
)


@dataclass(frozen=True)
class Ggpo:
    """Gaussian noise on each row, by the norms of its weights and gradients (LoRA-GGPO).

    `sigma` and `beta` are those of public tools; the paper's own could not be checked.

    Raises:
        RecipeError: a value makes no sense.
    """

    sigma: float = 0.03
    beta: float = 0.01
    seed: int = 0
    name: ClassVar[str] = "ggpo"

    def __post_init__(self) -> None:
        for each in ("sigma", "beta"):
            if getattr(self, each) < 0:
                raise RecipeError(f"{each} is {getattr(self, each)}; give 0 or more")

    def attach(self, model: nn.Module) -> AttachedGgpo:
        """As `Perturbation.attach`."""
        return AttachedGgpo(self, model)


class AttachedGgpo:
    """GGPO on one model; see `Attached`. `spread` holds ρ (out,) of each layer, empty before the first step."""

    def __init__(self, settings: Ggpo, model: nn.Module) -> None:
        self._settings = settings
        self._layers = adapted_layers(model)
        self._base = {name: base_row_squares(layer) for name, layer in self._layers.items()}
        self.spread: dict[str, Tensor] = {}
        self._step = self._micro_batch = 0
        self._active = False
        self._handles = [self._hook(place, name) for place, name in enumerate(self._layers)]

    @contextmanager
    def micro_batch(self, optimizer: torch.optim.Optimizer | None = None) -> Iterator[None]:
        """As `Attached.micro_batch`; nothing of the optimizer is used, and no weight is touched."""
        self._active = True
        try:
            yield
        finally:
            self._active = False
            self._micro_batch += 1

    def before_step(self) -> None:
        """Take the norms for the next step from the weights and the gradients of this one."""
        settings = self._settings
        for name, layer in self._layers.items():
            squares = weight_row_squares(layer, self._base[name].to(_device(layer)))
            slopes = gradient_row_squares(layer) if settings.beta else None
            if slopes is not None:
                squares = squares + settings.beta * slopes
            self.spread[name] = settings.sigma * (squares / _row_length(layer)).sqrt()
        self._step += 1
        self._micro_batch = 0

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._step, "spread": {name: each.clone() for name, each in self.spread.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises FinetuneError for the state of other layers."""
        if state["spread"] and state["spread"].keys() != self._layers.keys():
            raise FinetuneError(
                "the saved perturbation belongs to other layers; resume with the adapter it was saved with"
            )
        self._step, self._micro_batch = int(state["step"]), 0
        self.spread = {name: each.to(_device(self._layers[name])) for name, each in state["spread"].items()}

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, place: int, name: str) -> torch.utils.hooks.RemovableHandle:
        layer = self._layers[name]
        assert isinstance(layer, nn.Module)

        def perturb(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            spread = self.spread.get(name)
            plain = not (self._active and module.training and self._settings.sigma) or layer.disable_adapters
            if plain or spread is None:
                return output
            seed = seed_for("ggpo", f"{self._step}.{self._micro_batch}", place, self._settings.seed)
            noisy: Tensor = _TokenNoise.apply(inputs[0], output, spread, seed)  # type: ignore[no-untyped-call]
            return noisy

        return layer.register_forward_hook(perturb)


class _TokenNoise(torch.autograd.Function):
    """y + ‖x‖·ρ·ξ for inputs x (…, in) and outputs y (…, out), ξ standard normal from `seed`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, spread: Tensor, seed: int) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        ctx.save_for_backward(x, length, spread)
        ctx.seed = seed
        noise = _normal(y.shape, y.dtype, y.device, seed)
        return torch.addcmul(y, noise.mul_(spread.to(y.dtype)), length.to(y.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        x, length, spread = ctx.saved_tensors
        slope = None
        if ctx.needs_input_grad[0]:
            noise = _normal(outer.shape, outer.dtype, outer.device, ctx.seed).mul_(spread.to(outer.dtype))
            along = torch.linalg.vecdot(noise, outer).unsqueeze(-1)
            slope = x * (along / length.clamp(min=torch.finfo(length.dtype).tiny)).to(x.dtype)
        return slope, outer, None, None


def _normal(shape: torch.Size, dtype: torch.dtype, device: torch.device, seed: int) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype, device=device)


def _row_length(layer: Any) -> int:
    length: int = layer.in_features
    return length


def _device(layer: Any) -> torch.device:
    device: torch.device = next(layer.parameters()).device
    return device
