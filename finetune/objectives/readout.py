"""Reads a language model's hidden states, or its logits, out of one forward pass.

The body's output is taken by a hook while the model runs as always, head included but on one position only
(`logits_to_keep=1`). That one position tells whether the head is the plain linear map that the fused loss takes it
for: soft-capped, scaled or trained heads are refused, not approximated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from augment.errors import FinetuneError
from finetune.objectives.outputs import Head, Hidden, Logits

UNREAD = ("labels", "num_items_in_batch")
TF32 = 2**-11
"""How far two fp32 products may differ on a GPU that multiplies in TF32."""


class Readout:
    """Runs a model on a batch and says `Hidden` (by default) or `Logits`.

    Args:
        model: a causal language model, or a PEFT model around one; also any model with `logits`, if not `hidden`.
        hidden: whether to read hidden states.

    Raises:
        FinetuneError: hidden states are asked for and the model's head is missing, trained or adapted.
    """

    def __init__(self, model: nn.Module, *, hidden: bool = True) -> None:
        self._head: Head | None = _frozen_head(model) if hidden else None
        self._body = _plain(model).base_model if hidden else None
        self._checked = False

    def __call__(self, model: nn.Module, inputs: Mapping[str, Any]) -> Hidden | Logits:
        """What `model` says to `inputs`; labels among them are not read.

        Raises:
            FinetuneError: the logits are not the head's linear map of the hidden states.
        """
        given = {name: value for name, value in inputs.items() if name not in UNREAD}
        if self._head is None or self._body is None:
            return Logits(model(**given).logits)
        caught: list[Tensor] = []
        handle = self._body.register_forward_hook(lambda _module, _inputs, output: caught.append(output[0]))
        try:
            logits = model(**given, use_cache=False, logits_to_keep=1).logits
        finally:
            handle.remove()
        self._check(caught[-1], logits)
        return Hidden(caught[-1], self._head)

    @torch.no_grad()
    def _check(self, states: Tensor, logits: Tensor) -> None:
        if self._checked or self._head is None:
            return
        weight, bias = self._head.weight, self._head.bias
        made = nn.functional.linear(states[:, -1].to(weight.dtype), weight, bias).float()
        kept = logits[:, -1].float()
        if not kept.isfinite().all():  # the loss will say so
            return
        rounding = 2 * max(torch.finfo(logits.dtype).eps, TF32) * float(kept.abs().max())
        if not torch.allclose(made, kept, rtol=0, atol=rounding):
            raise FinetuneError("the model's logits are no linear map of its hidden states; use logits (hidden=False)")
        self._checked = True


def _plain(model: nn.Module) -> Any:
    whole: Any = model
    return whole.get_base_model() if hasattr(whole, "get_base_model") else whole


def _frozen_head(model: nn.Module) -> Head:
    head = _plain(model).get_output_embeddings()
    if getattr(_plain(model).config.get_text_config(), "final_logit_softcapping", None) is not None:
        raise FinetuneError("this model caps its logits, which no linear head does; use logits (hidden=False)")
    if type(head) is not nn.Linear:
        kind = type(head).__name__
        raise FinetuneError(
            f"the lm_head is a {kind}, no plain linear layer; leave it out of the adapter or use logits"
        )
    if any(each.requires_grad for each in head.parameters()):
        raise FinetuneError("the lm_head is being trained; freeze it, or use logits (hidden=False)")
    return Head(head.weight, head.bias)
