"""Which layers an adapter goes on, found and judged before any of them is touched."""

from __future__ import annotations

from collections.abc import Iterator

from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer, _maybe_include_all_linear_layers, check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import nn
from transformers.pytorch_utils import Conv1D

from augment.errors import FinetuneError
from augment.registry import closest


def check_targets(config: LoraConfig, model: nn.Module) -> None:
    """Refuse what cannot work while the model is still whole. "all-linear" becomes the names it stands for.

    Raises:
        FinetuneError: nothing matches, a layer that is not linear, or a rank over a layer's smaller side.
    """
    _maybe_include_all_linear_layers(config, model)
    found = [(key, module) for key, module in _layers(model) if check_target_module_exists(config, key)]
    if not found:
        names = ", ".join(linear_names(model)) or "none"
        shown = _shown(config.target_modules)
        raise FinetuneError(f"no module of {type(model).__name__} matches {shown}; its linear modules: {names}")
    excess = None
    for key, module in found:
        rows, columns = _size(key, module)
        patterns = config.rank_pattern or {}
        rank, side = patterns.get(get_pattern_key(list(patterns), key), config.r), min(rows, columns)
        if rank > side and (excess is None or side < excess[2]):
            excess = (key, rank, side, rows, columns)
    if excess:
        key, rank, side, rows, columns = excess
        raise FinetuneError(
            f"rank {rank} is over the size of {key} ({rows} × {columns}); "
            f"use a rank of at most {side}, or give that layer its own in rank_pattern"
        )


def check_names(targets: tuple[str, ...], model: nn.Module) -> None:
    """Refuse a list of targets of which one names nothing: half an adapter is worse than none."""
    keys = [key for key, _ in _layers(model)]
    for target in targets:
        if not any(key == target or key.endswith(f".{target}") for key in keys):
            hint = closest(target, linear_names(model))
            raise FinetuneError(f"no module of {type(model).__name__} is called '{target}'; {hint}")


def linear_names(model: nn.Module) -> list[str]:
    """The last part of the names of all linear layers, each once, in alphabetical order."""
    return sorted({key.rpartition(".")[2] for key, module in _layers(model) if _is_linear(module)})


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module under its own name; an adapted layer counts as its base, and what is inside it not at all."""
    inside: tuple[str, ...] = ()
    for key, module in model.named_modules():
        if not key or key.startswith(inside):
            continue
        if isinstance(module, BaseTunerLayer):
            inside = (*inside, f"{key}.")
            module = module.get_base_layer()
        yield key, module


def _is_linear(module: nn.Module) -> bool:
    """Quantised linear layers are told by their two sizes; embeddings, convolutions and expert stacks have others."""
    sized = hasattr(module, "in_features") and hasattr(module, "out_features")
    return sized or isinstance(module, Conv1D)


def _size(key: str, module: nn.Module) -> tuple[int, int]:
    if not _is_linear(module):
        raise FinetuneError(
            f"{key} is a {type(module).__name__}, and only linear layers take these adapters; leave it out"
        )
    if getattr(module, "_hf_tp_plan", None) is not None:
        raise FinetuneError(f"{key} is split over devices by tensor parallelism; load the model without a tp_plan")
    if isinstance(module, Conv1D):
        columns, rows = module.weight.shape
        return int(rows), int(columns)
    return int(module.out_features), int(module.in_features)  # type: ignore[arg-type]


def _shown(targets: set[str] | list[str] | str | None) -> str:
    return f"'{targets}'" if isinstance(targets, str) else ", ".join(f"'{each}'" for each in sorted(targets or ()))
