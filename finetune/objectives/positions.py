"""Which label each position predicts, and which positions predict none.

Logits at position t predict the token at t + 1, so a mask over labels has to be moved one to the left:
regularising with the unmoved mask touches the position after the response and misses the one before it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from finetune.objectives import IGNORED


def predicted(labels: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None) -> Tensor:
    """The label that each position predicts, (B, T); -100 where there is none.

    No position predicts padding, predicts from padding, or predicts the first token of another document.

    Args:
        labels: (B, T), not shifted.
        attention_mask: (B, T), 0 at padding; packed documents may have numbers of their own. Other shapes are ignored.
        position_ids: (B, T) or (1, T); a document begins where they do not rise. Other shapes are ignored.
    """
    targets = functional.pad(labels, (0, 1), value=IGNORED)[..., 1:]
    if attention_mask is not None and attention_mask.ndim == 2:
        here, after = attention_mask[:, :-1], attention_mask[:, 1:]
        targets = _keep(targets, (here == after) & (after != 0))
    if position_ids is not None and position_ids.ndim == 2:
        targets = _keep(targets, position_ids[:, 1:] > position_ids[:, :-1])
    return targets


def _keep(targets: Tensor, follows: Tensor) -> Tensor:
    return targets.masked_fill(~functional.pad(follows, (0, 1), value=False), IGNORED)


def item_count(targets: Tensor, items: Tensor | int | None) -> Tensor:
    """What means are divided by: `items`, else the targets that are not -100, at least 1."""
    count = torch.as_tensor(items, device=targets.device) if items is not None else (targets != IGNORED).sum()
    return count.clamp(min=1)
