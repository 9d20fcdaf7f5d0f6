"""The task loss alone: cross-entropy of the labels, or what a classification or regression head is trained by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from augment.errors import FinetuneError
from finetune.objectives import IGNORED
from finetune.objectives.fused import TokenWeights, token_terms
from finetune.objectives.outputs import Hidden, Logits, working_dtype
from finetune.objectives.positions import item_count, predicted


@dataclass(frozen=True)
class Ce:
    """Plain fine-tuning: the mean cross-entropy of the labels, or a head's own loss.

    On logits it is bit for bit the loss of transformers' own models; on hidden states it is computed a few
    tokens at a time. `chunk_mib` bounds one buffer of that.
    """

    chunk_mib: int = 48
    name: ClassVar[str] = "ce"

    def __call__(
        self,
        student: Logits | Hidden,
        labels: Tensor,
        *,
        teacher: Callable[[], Logits | Hidden] | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        step: int = 0,
        steps: int = 1,
        items: Tensor | int | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Objective.__call__`; the one term is `ce`."""
        if isinstance(student, Logits) and student.values.ndim == 2:
            loss = head_loss(student.values, labels, items)
        elif isinstance(student, Logits):
            targets = predicted(labels, attention_mask, position_ids)
            loss = token_loss(student.values, targets, items)
        else:
            targets = predicted(labels, attention_mask, position_ids)
            valid = targets != IGNORED
            count = item_count(targets, items)
            rows = student.states[valid]
            loss = token_terms(
                rows, student.head, targets[valid], TokenWeights(1 / count), chunk_mib=self.chunk_mib
            ).loss
        return loss, {"ce": loss.detach()}


def token_loss(logits: Tensor, targets: Tensor, items: Tensor | int | None = None) -> Tensor:
    """Cross-entropy of logits (B, T, V) summed over the targets (B, T) that are not -100, over their count."""
    width = logits.shape[-1]
    flat = logits.to(working_dtype(logits)).reshape(-1, width)
    summed = functional.cross_entropy(flat, targets.reshape(-1), ignore_index=IGNORED, reduction="sum")
    return summed / item_count(targets, items)


def head_loss(logits: Tensor, labels: Tensor, items: Tensor | int | None = None) -> Tensor:
    """What a head's logits (N, D) are trained by: squared error, cross-entropy, or a binary one a column.

    As transformers choose it: D = 1 is regression on (N,) values; whole-number labels (N,) are classes; other
    labels (N, D) are independent yes/no. The sum over rows is divided by `items`, else by the rows that count.

    Raises:
        FinetuneError: the labels' shape fits none of these.
    """
    logits = logits.to(working_dtype(logits))
    if logits.shape[1] == 1 and labels.numel() == len(logits):
        summed = functional.mse_loss(logits[:, 0], labels.reshape(-1).to(logits.dtype), reduction="sum")
    elif labels.ndim == 1 and not labels.is_floating_point():
        summed = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    elif labels.shape == logits.shape:
        wanted = labels.to(logits.dtype)
        summed = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / logits.shape[1]
    else:
        raise FinetuneError(f"labels {tuple(labels.shape)} do not fit a head's logits {tuple(logits.shape)}")
    return summed / head_count(labels, items)


def head_count(labels: Tensor, items: Tensor | int | None) -> Tensor:
    """The rows that a head's mean is over: `items`, else those not labelled -100, at least 1."""
    if items is None and labels.is_floating_point():
        return torch.as_tensor(len(labels), device=labels.device).clamp(min=1)
    if items is None and labels.ndim == 2:
        return torch.as_tensor(len(labels), device=labels.device).clamp(min=1)
    return item_count(labels, items)
