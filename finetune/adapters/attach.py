"""Puts one of our adapters on a model, by PEFT's own doors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Protocol

from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto

from finetune.adapters.factors import Factors, Site
from finetune.adapters.targets import check_names
from finetune.adapters.tuner import AnchoredConfig

_TASKS = {
    "CAUSAL_LM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "SEQ_CLS": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "TOKEN_CLS": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
}


class Starts(Protocol):
    """What `attach` needs of an adapter besides the fields of `Placement`."""

    name: ClassVar[str]

    @property
    def has_core(self) -> bool:
        """Whether there is a core N between B and A."""
        ...

    @property
    def keeps_start(self) -> bool:
        """Whether a frozen copy of the start is kept and subtracted."""
        ...

    @property
    def core_only(self) -> bool:
        """Whether B and A are frozen and the core alone trains."""
        ...

    def start(self, site: Site) -> Factors:
        """The first factors of one layer; new tensors, in the site's dtype, on its device."""
        ...


def attach(model: PreTrainedModel | PeftModel, adapter: Starts, name: str = "default") -> PeftModel:
    """The model with `adapter` on it under `name`; another one of ours may be on it already."""
    config = config_of(adapter)
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    if isinstance(config.target_modules, set):
        check_names(tuple(sorted(config.target_modules)), inner)
    config.task_type = next((task for task, known in _TASKS.items() if type(inner).__name__ in known.values()), None)
    if isinstance(model, PeftModel):
        model.add_adapter(name, config)
        return model
    made = get_peft_model(model, config, adapter_name=name)
    assert isinstance(made, PeftModel)
    return made


def config_of(adapter: Starts) -> AnchoredConfig:
    """PEFT's configuration of `adapter`."""
    options = asdict(adapter)  # type: ignore[call-overload]
    rank, alpha, targets = (options.pop(key) for key in ("rank", "alpha", "targets"))
    placed: dict[str, Any] = {
        "r": rank,
        "lora_alpha": rank if alpha is None else alpha,
        "target_modules": targets if isinstance(targets, str) else list(targets),
        "lora_dropout": options.pop("dropout"),
        "use_rslora": options.pop("rslora"),
        "rank_pattern": dict(options.pop("rank_pattern")),
        "alpha_pattern": dict(options.pop("alpha_pattern")),
    }
    config = AnchoredConfig(
        has_core=adapter.has_core,
        anchored=adapter.keeps_start,
        core_only=adapter.core_only,
        method=adapter.name,
        options=options,
        **placed,
    )
    config.start_with = adapter.start
    return config
