"""The objectives: what a training step minimises. One file an idea, one line in `TABLE`.

Nothing here imports torch until an objective is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

from augment.registry import Table

if TYPE_CHECKING:
    import torch

    from finetune.objectives.outputs import Hidden, Logits

TABLE = Table(
    "objective",
    {
        "ba_lora": "finetune.objectives.ba_lora:BaLora",
        "ce": "finetune.objectives.ce:Ce",
    },
)

IGNORED = -100
"""The label of a position that is not to be learned."""


class Objective(Protocol):
    """A frozen dataclass whose fields are its paper's hyper-parameters, with the published defaults.

    It fits `transformers.Trainer` in a few lines; the subclass sets `loss_is_scaled_for_ga = True`, since the
    loss is already divided by the items of the whole accumulated batch::

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels = inputs.pop("labels")
            loss, terms = self.objective(
                self.readout(model, inputs),
                labels,
                teacher=lambda: self.original.run(lambda: self.readout(model, inputs)),
                attention_mask=inputs.get("attention_mask"),
                position_ids=inputs.get("position_ids"),
                step=self.state.global_step,
                steps=self.state.max_steps,
                items=num_items_in_batch,
            )
            ...

    As with any loss divided by a count over all processes, several processes multiply it by their number.
    """

    name: ClassVar[str]

    def __call__(
        self,
        student: Logits | Hidden,
        labels: torch.Tensor,
        *,
        teacher: Callable[[], Logits | Hidden] | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        step: int = 0,
        steps: int = 1,
        items: torch.Tensor | int | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of one (micro-)batch, and its terms, detached, for the log.

        Args:
            student: what the fine-tuned model says. `Logits` (B, T, V) or `Hidden` states (B, T, d) of a language
                model; `Logits` (N, D) of a classification or regression head.
            labels: (B, T) token ids, -100 where nothing is learned, not shifted; or (N,) classes or values.
            teacher: runs the frozen original model on the same inputs and returns the same kind as `student`.
                Called under `no_grad`, at most once, and only by an objective that needs it.
            attention_mask: (B, T), 0 at padding; a packed row may number its documents.
            position_ids: (B, T) or (1, T); where they stop rising, another document begins.
            step: optimizer steps taken so far, of `steps` in all; schedules follow it.
            items: predicted tokens (or rows) in all micro-batches of this optimizer step. Terms that are means over
                tokens or rows then add up to those of the one big batch; None means this batch is all there is.

        Raises:
            FinetuneError: the outputs do not fit the objective, or a teacher is missing.
        """
        ...
