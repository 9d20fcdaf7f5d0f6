"""A folder that `save_pretrained` wrote for an adapter, read without torch: configuration, layers, shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from augment.errors import FinetuneError

WEIGHTS = "adapter_model.safetensors"
OURS = "ANCHORED_LORA"
_KEY = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])\.(?P<tensor>\w+)")


@dataclass(frozen=True)
class Layer:
    """One adapted layer: its name in the base model, its rank and s, and the file's key of each tensor.

    `tensors` is keyed by side and name: "A.factor", "B.core", …; `shapes` likewise.
    """

    module: str
    rank: int
    scaling: float
    tensors: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Saved:
    """An adapter's folder. `others` are the file's keys outside the adapted layers, such as a trained head."""

    path: Path
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    others: Mapping[str, tuple[int, ...]]

    @property
    def ours(self) -> bool:
        """Whether it is a native folder of ours; else it is of stock PEFT."""
        return self.config.get("peft_type") == OURS

    @property
    def stored(self) -> int:
        """How many numbers the file holds."""
        inside = sum(prod(shape) for layer in self.layers for shape in layer.shapes.values())
        return inside + sum(prod(shape) for shape in self.others.values())

    @property
    def trained(self) -> int:
        """How many of those were trained in the adapted layers; frozen factors and starts are not counted."""
        names = ("core",) if self.config.get("core_only") else ("factor", "core", "weight")
        return sum(
            prod(shape)
            for layer in self.layers
            for name, shape in layer.shapes.items()
            if name.partition(".")[2] in names
        )


def read(path: Path) -> Saved:
    """The adapter in the folder `path`.

    Raises:
        FinetuneError: it is not a finished adapter folder, or holds another kind of adapter or pickled weights.
    """
    file = path / "adapter_config.json"
    if not file.is_file():
        raise FinetuneError(f"{path} is not an adapter: no adapter_config.json; name the folder that was saved")
    try:
        config = json.loads(file.read_text("utf-8"))
        kind = config["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FinetuneError(f"{file} cannot be read ({error}); save the adapter again") from None
    if kind not in (OURS, "LORA"):
        raise FinetuneError(f"{path} is a {kind} adapter; known here: {OURS}, LORA")
    if "lora_alpha" not in config:
        raise FinetuneError(f"{file} has no lora_alpha; save the adapter again")
    if not (path / WEIGHTS).is_file():
        raise FinetuneError(f"{path} has no {WEIGHTS}; pickled weights are not read: save with safe_serialization")
    try:
        with safe_open(path / WEIGHTS, framework="numpy") as weights:
            shapes = {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FinetuneError(f"{path / WEIGHTS} cannot be read ({error}); copy or save it again") from None
    return _arranged(path, config, shapes)


def _arranged(path: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Saved:
    tensors: dict[str, dict[str, str]] = {}
    others = {}
    for key, shape in shapes.items():
        if found := _KEY.fullmatch(key):
            tensors.setdefault(found["module"], {})[f"{found['side']}.{found['tensor']}"] = key
        else:
            others[key] = shape
    layers = []
    for module, keys in sorted(tensors.items()):
        factor = "factor" if "A.factor" in keys else "weight"
        if not {f"A.{factor}", f"B.{factor}"} <= keys.keys():
            raise FinetuneError(f"{path / WEIGHTS} holds only half of {module}; save the adapter again")
        rank = shapes[keys[f"A.{factor}"]][0]
        alpha = _matching(config.get("alpha_pattern") or {}, module, config["lora_alpha"])
        scaling = alpha / (sqrt(rank) if config.get("use_rslora") else rank)
        layers.append(Layer(module, rank, scaling, keys, {name: shapes[key] for name, key in keys.items()}))
    if not layers:
        raise FinetuneError(f"{path / WEIGHTS} holds no adapted layer; save the adapter again")
    return Saved(path, config, tuple(layers), others)


def _matching(patterns: Mapping[str, float], module: str, default: float) -> float:
    """PEFT's rule: the first key that the whole name, or its end after a dot, matches."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)
