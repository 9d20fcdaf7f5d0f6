"""Runs an adapted model as the pretrained one it was made from: BA-LoRA's teacher, with no second model.

Usually that is the model with its adapters off. Not under stock PiSSA and its kin, which move a part of the
weights into the adapter: there the base without the adapter is the residual, and the pretrained model is the
residual with the adapter *as it was at the start*. So the first factors are kept, and put in for the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from augment.errors import FinetuneError

T = TypeVar("T")
RESIDUAL = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Values of `init_lora_weights`, or their beginnings, under which PEFT takes the first product out of the base."""


class Original:
    """The pretrained model inside an adapted one.

    Make it right after the adapter is attached and before a step is taken or a checkpoint loaded: with a residual
    initialisation the factors of that moment are copied (for LLaMA-2-7B at rank 128, 0.64 GB in bf16).

    Raises:
        FinetuneError: the model has no adapter.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._first: list[tuple[nn.Parameter, Tensor]] = []
        self._off: list[BaseTunerLayer | AuxiliaryTrainingWrapper] = []
        found = False
        residual = _residual_adapters(model)
        for module in model.modules():
            if isinstance(module, BaseTunerLayer):
                found = True
                factors = _factors(module, residual)
                self._first += [(each, each.detach().clone()) for each in factors]
                if not factors:
                    self._off.append(module)
            elif isinstance(module, AuxiliaryTrainingWrapper):
                self._off.append(module)
        if not found:
            raise FinetuneError("the model has no adapter, so there is no original inside it; attach one first")
        self._modules = list(model.modules())

    def run(self, forward: Callable[[], T]) -> T:
        """What `forward`, which calls the model, gives when the model is the original: in eval mode, no graph kept."""
        with torch.no_grad(), self._restored():
            return forward()

    @contextmanager
    def _restored(self) -> Iterator[None]:
        training = [module for module in self._modules if module.training]
        disabled = [(layer, layer._disable_adapters) for layer in self._off]
        current = [(parameter, parameter.data) for parameter, _ in self._first]
        self._first = [(parameter, first.to(parameter.device)) for parameter, first in self._first]
        try:
            for module in training:
                module.training = False
            for layer, _ in disabled:
                layer._disable_adapters = True
            for parameter, first in self._first:
                parameter.data = first
            yield
        finally:
            for parameter, data in current:
                parameter.data = data
            for layer, was in disabled:
                layer._disable_adapters = was
            for module in training:
                module.training = True


def _factors(layer: Any, residual: set[str]) -> list[nn.Parameter]:
    """The parameters of the layer's active adapters that hold a part of the pretrained weight."""
    kept = [name for name in layer.active_adapters if name in residual and name in layer.lora_A]
    return [each for name in kept for part in (layer.lora_A, layer.lora_B) for each in part[name].parameters()]


def _residual_adapters(model: nn.Module) -> set[str]:
    configs = getattr(model, "peft_config", {})
    return {
        name for name, config in configs.items() if str(getattr(config, "init_lora_weights", "")).startswith(RESIDUAL)
    }
