"""The PEFT tuner of our adapters: LoRA whose two factors per layer are ours. Importing this registers it.

PEFT injects its own layers as for LoRA, for every kind of base layer it knows; then only `lora_A[name]` and
`lora_B[name]` are exchanged for `Down` and `Up`. Stock PEFT refuses such a directory with a KeyError that names
the type, instead of loading half of it; `finetune.export` makes plain LoRA of it. Written against private hooks of
PEFT 0.21, which is why the version is pinned; `tests/finetune/test_tuner.py` says what is relied upon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import torch
from accelerate import init_empty_weights
from peft import LoraConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.lora import LoraLayer, LoraModel
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from augment.errors import FinetuneError
from finetune.adapters.factors import RESERVED, Down, Factors, Site, Up
from finetune.adapters.targets import check_targets

TYPE = "ANCHORED_LORA"
_OURS = {
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "exclude_modules"),
    *("fan_in_fan_out", "modules_to_save", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"),
    "runtime_config",
}


def _register() -> None:
    """Add our member to PEFT's closed enum of types, and its three tables' entries."""
    member = str.__new__(PeftType, TYPE)
    member._name_, member._value_ = TYPE, TYPE
    type.__setattr__(PeftType, TYPE, member)
    PeftType._member_names_.append(TYPE)
    PeftType._member_map_[TYPE] = PeftType._value2member_map_[TYPE] = member
    PEFT_TYPE_TO_CONFIG_MAPPING[member] = AnchoredConfig
    PEFT_TYPE_TO_TUNER_MAPPING[member] = AnchoredModel
    PEFT_TYPE_TO_PREFIX_MAPPING[member] = AnchoredModel.prefix


@dataclass
class AnchoredConfig(LoraConfig):
    """LoRA's configuration, and which tensors a layer has: `has_core` (N), `anchored` (starts), `core_only` (N alone
    trains). `method` and `options` say which of our adapters made it, for people to read; `labels`
    are the classes of a trained head, in order.

    How factors start is not part of it: `attach` sets `start_with`, which is never saved. A configuration that was
    read from a file gives factors that do nothing, but can learn, until the checkpoint fills them.
    """

    has_core: bool = False
    anchored: bool = False
    core_only: bool = False
    method: str = "lora"
    options: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(TYPE)
        self.start_with: Callable[[Site], Factors] = partial(_neutral, self)
        plain = LoraConfig()
        for each in fields(LoraConfig):
            given = getattr(self, each.name)
            if each.name not in _OURS and given != getattr(plain, each.name):
                raise FinetuneError(f"{self.method} does not combine with PEFT's {each.name}={given!r}; leave it out")


def _neutral(config: AnchoredConfig, site: Site) -> Factors:
    """Random factors whose product is 0 because of one that trains: B, or N where it alone does."""
    down = site.kaiming(site.rank, site.columns, 0, "down")
    if config.core_only:
        return Factors(site.kaiming(site.rows, site.rank, 0, "up"), down, site.zeros(site.rank, site.rank))
    core = site.kaiming(site.rank, site.rank, 0, "core") if config.has_core else None
    return Factors(site.zeros(site.rows, site.rank), down, core)


class AnchoredModel(LoraModel):
    """PEFT's LoRA model with our factors in it."""

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        super()._prepare_model(peft_config, model)
        check_targets(peft_config, model)

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if adapter_name in RESERVED or "." in adapter_name:
            raise FinetuneError(f"no adapter can be called '{adapter_name}'; names of its tensors are {RESERVED}")
        with init_empty_weights(include_buffers=False):  # PEFT's own factors are thrown away: spend nothing on them
            super()._create_and_replace(peft_config, adapter_name, target, target_name, parent, current_key)
        layer = getattr(parent, target_name)
        site = site_of(layer, adapter_name, current_key)
        with torch.no_grad():
            factors = _empty(peft_config, site) if site.device.type == "meta" else peft_config.start_with(site)
        shape = {"frozen": peft_config.core_only, "anchored": peft_config.anchored}
        layer.lora_A[adapter_name] = Down(factors, **shape)  # PEFT sets requires_grad when all are in
        layer.lora_B[adapter_name] = Up(factors, **shape)

    def add_weighted_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Refused: PEFT would write into tensors that are products of ours."""
        raise FinetuneError("weighted sums are for plain LoRA; export the adapters first and combine the exports")


def site_of(layer: LoraLayer, adapter: str, key: str) -> Site:
    """What the start of `layer`'s factors may know."""
    base = layer.get_base_layer()
    weight = getattr(base, "weight", None)
    if weight is None:
        weight = next(base.parameters(), next(base.buffers(), torch.empty(0)))
    dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
    rows, columns = layer.out_features, layer.in_features
    assert rows and columns  # `check_targets` lets only linear layers through

    if weight.device.type == "meta" and hasattr(base, "_hf_hook"):
        raise FinetuneError(f"{key} is offloaded, and its factors would be too; load the model without offloading")

    def read() -> Tensor:
        if not hasattr(base, "weight"):
            raise FinetuneError(
                f"{key} is a {type(base).__name__}, whose weight cannot be read; use lora or slora on it"
            )
        whole = dequantize_module_weight(base).detach().to(dtype)
        whole = whole.T if getattr(layer, "fan_in_fan_out", False) else whole
        if whole.shape != (rows, columns):
            raise FinetuneError(
                f"{key} holds a weight of {tuple(whole.shape)}, not {rows} × {columns}; gather it first"
            )
        return whole

    return Site(key, rows, columns, layer.r[adapter], layer.scaling[adapter], weight.device, dtype, read)


def _empty(config: AnchoredConfig, site: Site) -> Factors:
    core = site.zeros(site.rank, site.rank) if config.has_core else None
    return Factors(site.zeros(site.rows, site.rank), site.zeros(site.rank, site.columns), core)


_register()
