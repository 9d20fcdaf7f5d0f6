"""Runs an adapted model as the pretrained one it was made from: BA-LoRA's teacher, with no second model.

No adapter of ours touches a base weight, so that the model with its adapters off is the pretrained one, bit for bit.
PEFT's `disable_adapter()` does the same, and sets `requires_grad` on every factor on the way out, where here one flag a
layer is set. Under stock PiSSA and its kin, which take a part out of the base, the model without its adapter is the
residual: those are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from augment.errors import FinetuneError

T = TypeVar("T")
RESIDUAL = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Values of `init_lora_weights`, or their beginnings, under which stock PEFT changes the base weights."""


class Original:
    """The pretrained model inside an adapted one; heads trained beside the adapters are the pretrained ones too.

    Keep it where every step needs it: the layers are looked up once, so make it when all adapters are attached.

    Raises:
        FinetuneError: the model has no adapter, or one for which the base weights were changed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = list(model.modules())
        self._layers = [each for each in self._modules if isinstance(each, (BaseTunerLayer, AuxiliaryTrainingWrapper))]
        if not any(isinstance(each, BaseTunerLayer) for each in self._layers):
            raise FinetuneError("the model has no adapter, so there is no original inside it; attach one first")
        for config in getattr(model, "peft_config", {}).values():
            start = getattr(config, "init_lora_weights", None)
            if isinstance(start, str) and start.startswith(RESIDUAL):
                raise FinetuneError(
                    f"PEFT's init_lora_weights='{start}' changes the base weights, so there is no original inside the "
                    "model; use an adapter of finetune.adapters"
                )

    def run(self, forward: Callable[[], T]) -> T:
        """What `forward`, which calls the model, gives when the model is the original: in eval mode, no graph kept.

        Raises:
            FinetuneError: the adapter is merged into the weights.
        """
        with torch.no_grad(), self._restored():
            return forward()

    @contextmanager
    def _restored(self) -> Iterator[None]:
        if any(getattr(each, "merged_adapters", None) for each in self._layers):
            raise FinetuneError("the adapter is merged into the weights; call model.unmerge_adapter() first")
        training = [module for module in self._modules if module.training]
        before = [each._disable_adapters for each in self._layers]
        try:
            for module in training:
                module.training = False
            for each in self._layers:
                each._disable_adapters = True
            yield
        finally:
            for each, was in zip(self._layers, before, strict=True):
                each._disable_adapters = was
            for module in training:
                module.training = True
