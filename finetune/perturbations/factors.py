"""An adapted layer as numbers: its factors A and B, their gradients, and row norms of what they make.

All by r × r products; no matrix of the layer's own size is ever made. A factor need not be a plain weight: any module
with a `weight` computed from its parameters will do, as where a core N stands between A and B.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from augment.errors import FinetuneError


def adapted_layers(model: nn.Module) -> dict[str, LoraLayer]:
    """The model's LoRA layers over linear maps, by name.

    Raises:
        FinetuneError: there is none.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and any(each in module.lora_A for each in module.active_adapters)
    }
    if not found:
        raise FinetuneError("the model has no LoRA-like adapter to perturb; attach one first")
    return found


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """θ: every trainable parameter of the adapter's factors; not a head trained beside it, nor a bias of the base.

    Raises:
        FinetuneError: there is none.
    """
    found: dict[int, nn.Parameter] = {}
    for layer in adapted_layers(model).values():
        assert isinstance(layer, nn.Module)
        base = {id(each) for each in layer.get_base_layer().parameters()}
        found |= {id(each): each for each in layer.parameters() if each.requires_grad and id(each) not in base}
    if not found:
        raise FinetuneError("no parameter of the adapter is trainable, so there is nothing to perturb")
    return list(found.values())


@torch.no_grad()
def base_row_squares(layer: LoraLayer) -> Tensor:
    """‖W_i‖² of each row of the frozen weight, (out,) fp32; 4-bit and 8-bit weights are dequantised once."""
    weight = dequantize_module_weight(layer.get_base_layer()).detach()
    dtype = torch.promote_types(weight.dtype, torch.float32)
    squares: Tensor = torch.linalg.vector_norm(weight, dim=_row_axis(layer), dtype=dtype).square()
    return squares.float()


@torch.no_grad()
def weight_row_squares(layer: LoraLayer, base: Tensor) -> Tensor:
    """‖W'_i‖² of W' = W + s·B·A, (out,) fp32, from `base` = ‖W_i‖²: ‖W_i‖² + 2 s B_i·(W_i Aᵀ) + s² B_i A Aᵀ B_iᵀ."""
    a, b = _joined(layer)
    linear = layer.get_base_layer()
    made = linear(a.to(_compute_dtype(linear)))
    if getattr(linear, "bias", None) is not None:
        made = made - linear.bias
    squares: Tensor = base + 2 * (b * made.float().T).sum(1) + ((b @ (a @ a.T)) * b).sum(1)
    return squares.clamp(min=0)


@torch.no_grad()
def gradient_row_squares(layer: LoraLayer) -> Tensor | None:
    """‖G̃_i‖² of G̃ = s(∇B·A + B·∇A), (out,) fp32: the weight's gradient as the adapter's own gradients show it.

    None where no factor has a gradient.
    """
    slopes = {name: (_slope(layer.lora_A[name]), _slope(layer.lora_B[name])) for name in _active(layer)}
    if all(each is None for pair in slopes.values() for each in pair):
        return None
    a, b = _joined(layer)
    da = torch.cat([_or_zero(slope, layer.lora_A[name]) for name, (slope, _) in slopes.items()])
    scaled = [layer.scaling[name] * _or_zero(slope, layer.lora_B[name]) for name, (_, slope) in slopes.items()]
    db = torch.cat(scaled, dim=1)
    cross = 2 * ((db @ (a @ da.T)) * b).sum(1)
    return (((db @ (a @ a.T)) * db).sum(1) + cross + ((b @ (da @ da.T)) * b).sum(1)).clamp(min=0)


def _active(layer: LoraLayer) -> Iterator[str]:
    return (name for name in layer.active_adapters if name in layer.lora_A)


def _joined(layer: LoraLayer) -> tuple[Tensor, Tensor]:
    """A (r, in) and s·B (out, r) of the active adapters, stacked along the rank, fp32."""
    a = torch.cat([_weight(layer.lora_A[name]) for name in _active(layer)])
    b = torch.cat([layer.scaling[name] * _weight(layer.lora_B[name]) for name in _active(layer)], dim=1)
    return a, b


def _weight(factor: Any) -> Tensor:
    weight: Tensor = factor.weight
    return weight.detach().float()


class _Weight(nn.Module):
    def __init__(self, factor: nn.Module) -> None:
        super().__init__()
        self.factor = factor

    def forward(self) -> Tensor:
        weight = self.factor.weight
        assert isinstance(weight, Tensor)
        return weight


def _slope(factor: nn.Module) -> Tensor | None:
    """How the factor's weight moves when its parameters move along their gradients, fp32; None without gradients."""
    if isinstance(factor.weight, nn.Parameter):
        return None if factor.weight.grad is None else factor.weight.grad.float()
    wrapped = _Weight(factor)
    parts = {name: each for name, each in wrapped.named_parameters() if each.grad is not None}
    if not parts:
        return None

    def weight(values: dict[str, Tensor]) -> Tensor:
        made: Tensor = torch.func.functional_call(wrapped, values, ())
        return made

    points = {name: each.detach() for name, each in parts.items()}
    slopes = {name: each.grad.to(each.dtype) for name, each in parts.items() if each.grad is not None}
    moved: Tensor = torch.func.jvp(weight, (points,), (slopes,))[1]
    return moved.float()


def _or_zero(slope: Tensor | None, factor: nn.Module) -> Tensor:
    return torch.zeros_like(_weight(factor)) if slope is None else slope


def _row_axis(layer: LoraLayer) -> int:
    return 0 if getattr(layer, "fan_in_fan_out", False) else 1


def _compute_dtype(linear: nn.Module) -> torch.dtype:
    weight = linear.weight
    assert isinstance(weight, Tensor)
    return weight.dtype if weight.dtype.is_floating_point else torch.float32
