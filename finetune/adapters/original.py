"""The model as it was before its adapters: a frozen teacher at no cost."""

from __future__ import annotations

from types import TracebackType

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from torch import nn

from augment.errors import FinetuneError


class original:  # noqa: N801 - used as `with original(model):`
    """Within, `model` is the pretrained one, bit for bit; afterwards its adapters are as before.

    Since no adapter of ours touches a base weight, that is all of the teacher that BA-LoRA needs: no second model and
    no frozen copy of (A0, B0). PEFT's `disable_adapter()` does the same, and sets `requires_grad` on every factor
    on the way out; this sets one flag a layer. Keep the object where a step needs it again: the layers are looked up
    once. Gradients and dropout are the caller's business.

    Raises:
        FinetuneError: on entry, when adapters are merged into the weights.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = [
            each for each in model.modules() if isinstance(each, (BaseTunerLayer, AuxiliaryTrainingWrapper))
        ]
        self._before: list[list[bool]] = []

    def __enter__(self) -> None:
        if any(getattr(each, "merged_adapters", None) for each in self._layers):
            raise FinetuneError("the adapter is merged into the weights; call model.unmerge_adapter() first")
        self._before.append([each._disable_adapters for each in self._layers])
        for each in self._layers:
            each._disable_adapters = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for each, before in zip(self._layers, self._before.pop(), strict=True):
            each._disable_adapters = before
