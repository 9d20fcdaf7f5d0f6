"""The perturbations: train at a point beside the weights, for flatter minima. One file each, one line in `TABLE`.

Nothing here imports torch until a perturbation is loaded.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from augment.registry import Table

if TYPE_CHECKING:
    import torch

TABLE = Table(
    "perturbation",
    {
        "ggpo": "finetune.perturbations.ggpo:Ggpo",
        "mgpo": "finetune.perturbations.mgpo:Mgpo",
    },
)


class Attached(Protocol):
    """A perturbation at work on one model.

    It fits `transformers.Trainer` in a few lines, whatever the adapter and the objective, and with gradient
    accumulation: `training_step` runs a forward and a backward pass, and a callback's `on_pre_optimizer_step`
    comes once an optimizer step::

        def training_step(self, *args, **kwargs):
            with self.perturbation.micro_batch(self.optimizer):
                return super().training_step(*args, **kwargs)

        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            self.perturbation.before_step()
    """

    def micro_batch(self, optimizer: torch.optim.Optimizer | None = None) -> AbstractContextManager[None]:
        """Around the one forward and backward pass of a micro-batch: perturbed inside, bit for bit as before after it.

        Raises:
            FinetuneError: the perturbation needs something of the optimizer that it has not.
        """
        ...

    def before_step(self) -> None:
        """After the last micro-batch of an optimizer step, with its gradients still there."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Numbers and tensors from which `load_state_dict` goes on exactly."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            FinetuneError: it is the state of other layers.
        """
        ...

    def detach(self) -> None:
        """Leave the model as it was before."""
        ...


class Perturbation(Protocol):
    """A frozen dataclass whose fields are its paper's hyper-parameters."""

    name: ClassVar[str]

    def attach(self, model: torch.nn.Module) -> Attached:
        """Begin to perturb a PEFT model's adapter; nothing happens outside `Attached.micro_batch`.

        Raises:
            FinetuneError: the model has no LoRA-like adapter.
        """
        ...
