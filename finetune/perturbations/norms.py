"""Row norms of an adapted layer's effective weight and of its gradient, and the parameters that make them.

All by products of thin factors; after `base_row_squares`, no matrix of the layer's own size is made. `lora_A` and
`lora_B` are our `Down` and `Up`, or stock LoRA's two linear maps.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from augment.errors import FinetuneError
from finetune.adapters.factors import Down, Up


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
    """‖W'_i‖² of W' = W + Δ, (out,) fp32, from `base` = ‖W_i‖²: ‖W_i‖² + 2 Δ_i·W_i + ‖Δ_i‖².

    Δ = s·(B N A − B0 N0 A0) is the product of the sides' `weight`s, which is why their difference does not cancel.
    """
    down = torch.cat([_weight(layer.lora_A[name]) for name in _active(layer)])
    up = torch.cat([layer.scaling[name] * _weight(layer.lora_B[name]) for name in _active(layer)], dim=1)
    linear = layer.get_base_layer()
    made = linear(down.to(_compute_dtype(linear)))
    if getattr(linear, "bias", None) is not None:
        made = made - linear.bias
    squares: Tensor = base + 2 * (up * made.float().T).sum(1) + _product_row_squares(up, down)
    return squares.clamp(min=0)


@torch.no_grad()
def gradient_row_squares(layer: LoraLayer) -> Tensor | None:
    """‖G̃_i‖² of G̃ = s(∇B·N A + B·∇N·A + B N·∇A), (out,) fp32: how the weight moves along the adapter's own gradients.

    None where no factor has a gradient. A start that is subtracted is constant and has no part in it.
    """
    left, right, any_gradient = [], [], False
    for name in _active(layer):
        up, down = layer.lora_B[name], layer.lora_A[name]
        (b, db), (a, da) = (_with_gradient(_factor(each)) for each in (up, down))
        core = getattr(up, "core", None)
        any_gradient |= any(each.grad is not None for each in (*up.parameters(), *down.parameters()))
        if core is not None:
            n, dn = _with_gradient(core)
            b, db = b @ n, db @ n + b @ dn
        left += [layer.scaling[name] * db, layer.scaling[name] * b]
        right += [a, da]
    return _product_row_squares(torch.cat(left, dim=1), torch.cat(right)) if any_gradient else None


def _product_row_squares(left: Tensor, right: Tensor) -> Tensor:
    """The squared length of each row of left (m, k) @ right (k, n), by a k × k matrix."""
    squares: Tensor = ((left @ (right @ right.T)) * left).sum(1)
    return squares.clamp(min=0)


def _weight(side: Any) -> Tensor:
    weight: Tensor = side.weight
    return weight.float()


def _factor(side: Any) -> Tensor:
    """A or B itself: of an anchored side, `weight` is a stack of differences."""
    factor: Tensor = side.factor if isinstance(side, (Down, Up)) else side.weight
    return factor


def _with_gradient(factor: Tensor) -> tuple[Tensor, Tensor]:
    """The factor and its gradient, 0 for a frozen one, fp32."""
    value = factor.detach().float()
    return value, torch.zeros_like(value) if factor.grad is None else factor.grad.float()


def _active(layer: LoraLayer) -> list[str]:
    return [name for name in layer.active_adapters if name in layer.lora_A]


def _row_axis(layer: LoraLayer) -> int:
    return 0 if getattr(layer, "fan_in_fan_out", False) else 1


def _compute_dtype(linear: nn.Module) -> torch.dtype:
    weight = linear.weight
    assert isinstance(weight, Tensor)
    return weight.dtype if weight.dtype.is_floating_point else torch.float32
