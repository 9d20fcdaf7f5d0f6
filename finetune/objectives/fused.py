"""Token losses from hidden states, a few tokens at a time: logits exist for one chunk, never for the batch.

The gradient with respect to the hidden states is taken while a chunk's logits are there, in closed form and
in place, so each chunk's logits are made once and nothing of vocabulary width is kept for the backward pass.
With z the student's logits, p = softmax(z), q and p_T the student's and the teacher's softmax at temperature T:

    ∂CE/∂z = p − onehot      ∂(T²·KL)/∂z = T (q − p_T)      ∂(−H)/∂z = p (log p + H)

the last over the top-K logits only, where K is given. Buffers are allocated once a call and written in
place: at V = 152k a fresh 40 MB tensor costs three times its arithmetic in page faults.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from augment.errors import FinetuneError
from finetune.objectives.diversity import largest
from finetune.objectives.outputs import Head, working_dtype

MIB = 2**20


@dataclass(frozen=True)
class TokenWeights:
    """How token terms make the loss: share · Σ_tokens (CE + divergence·T²KL + negative_entropy·(−H)).

    `share` is one over the number of tokens. `temperature` belongs to the divergence; `top` to the entropy (None
    is the whole vocabulary). A term whose weight is None is not computed; one of weight 0 is computed for the log.
    """

    share: Tensor | float
    divergence: float | None = None
    negative_entropy: float | None = None
    temperature: float = 1.0
    top: int | None = None


@dataclass(frozen=True)
class TokenTerms:
    """`loss` is the weighted sum; the terms (M,) are detached, one value a token, None where not computed."""

    loss: Tensor
    ce: Tensor
    divergence: Tensor | None
    negative_entropy: Tensor | None


def token_terms(
    rows: Tensor,
    head: Head,
    targets: Tensor,
    weights: TokenWeights,
    teacher: Tensor | None = None,
    *,
    chunk_mib: int = 48,
) -> TokenTerms:
    """The weighted sum over M tokens of cross-entropy, divergence from the teacher and negative entropy.

    Args:
        rows: the student's hidden states (M, d), and `teacher` the original model's, under the same head.
        targets: (M,) token ids.
        chunk_mib: the most that one buffer of (chunk, V) takes; there are two, or five with a teacher.

    Raises:
        FinetuneError: the head is being trained; its gradient needs the logits form.
    """
    if head.weight.requires_grad or (head.bias is not None and head.bias.requires_grad):
        raise FinetuneError("the fused loss needs a frozen lm_head; freeze it or train from logits")
    if teacher is None and weights.divergence is not None:
        raise FinetuneError("the consistency term needs the teacher's hidden states")
    loss, ce, divergence, entropy = _TokenTerms.apply(  # type: ignore[no-untyped-call]
        rows, head, targets, weights, teacher, chunk_mib
    )
    return TokenTerms(
        loss,
        ce,
        divergence if weights.divergence is not None else None,
        entropy if weights.negative_entropy is not None else None,
    )


class _TokenTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        head: Head,
        targets: Tensor,
        weights: TokenWeights,
        teacher: Tensor | None,
        chunk_mib: int,
    ) -> tuple[Tensor, ...]:
        with torch.autocast(rows.device.type, enabled=False):
            kernel = _Kernel(rows, head, weights, chunk_mib)
            gradient = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
            for part in kernel.parts():
                kernel.run(part, rows, targets, teacher, gradient)
        ctx.gradient = gradient
        loss = kernel.ce.sum()
        if weights.divergence:
            loss = loss + kernel.divergence.sum() * weights.divergence
        if weights.negative_entropy:
            loss = loss + kernel.entropy.sum() * weights.negative_entropy
        loss = loss * weights.share
        ctx.mark_non_differentiable(kernel.ce, kernel.divergence, kernel.entropy)
        return loss, kernel.ce, kernel.divergence, kernel.entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        return (gradient * outer.to(gradient.dtype), None, None, None, None, None)


class _Kernel:
    """One call's buffers and results; `run` does one chunk of tokens, student and teacher in one product."""

    def __init__(self, rows: Tensor, head: Head, weights: TokenWeights, chunk_mib: int) -> None:
        self.head, self.weights, self.total = head, weights, len(rows)
        dtype = working_dtype(rows)
        width = len(head.weight)
        most = max(1, chunk_mib * MIB // (width * dtype.itemsize))
        chunks = max(1, math.ceil(self.total / most))
        self.size = max(1, math.ceil(self.total / chunks))  # equal chunks, since a small last one is as slow
        both = 1 if weights.divergence is None else 2
        self.logits = rows.new_empty((both * self.size, width), dtype=dtype)
        self.scratch = [rows.new_empty((self.size, width), dtype=dtype) for _ in range(2 * both - 1)]
        self.ce, self.divergence, self.entropy = rows.new_zeros((3, self.total), dtype=dtype).unbind()

    def parts(self) -> Iterator[slice]:
        for start in range(0, self.total, self.size):
            yield slice(start, min(start + self.size, self.total))

    def run(self, part: slice, rows: Tensor, targets: Tensor, teacher: Tensor | None, gradient: Tensor | None) -> None:
        weights, wanted, count = self.weights, targets[part].unsqueeze(1), part.stop - part.start
        known = teacher[part] if teacher is not None and weights.divergence is not None else None
        logits = self._logits(rows[part] if known is None else torch.cat([rows[part], known.to(rows.dtype)]))
        slope, *scratch = (each[:count] for each in self.scratch)
        z = logits[:count]
        pull, hold = weights.negative_entropy, weights.divergence
        top = self._top_entropy(part, z) if pull is not None and weights.top is not None else None
        log_p = torch.log_softmax(z, -1, out=slope)
        self.ce[part] = -log_p.gather(1, wanted).squeeze(1)
        if known is not None:
            self._divergence(part, z, logits[count:], *scratch)
        whole = pull is not None and top is None
        if whole:
            p = torch.exp(log_p, out=z)
            self.entropy[part] = torch.linalg.vecdot(p, log_p)
            z.mul_(log_p.sub(self.entropy[part].unsqueeze(1)))
        if gradient is None:
            return
        slope.exp_()
        if known is not None and hold:
            slope.add_(scratch[0].sub_(logits[count:]), alpha=weights.temperature * hold)
        if whole and pull:
            slope.add_(z, alpha=pull)
        slope.scatter_add_(1, wanted, -torch.ones_like(wanted, dtype=slope.dtype))
        if top is not None and pull:
            slope.scatter_add_(1, top[1], top[0] * pull)
        weight = self.head.weight
        gradient[part] = ((slope.to(weight.dtype) @ weight).to(slope.dtype) * weights.share).to(gradient.dtype)

    def _logits(self, states: Tensor) -> Tensor:
        weight, bias, out = self.head.weight, self.head.bias, self.logits[: len(states)]
        states = states.to(weight.dtype)
        if weight.dtype != out.dtype:
            return out.copy_(functional.linear(states, weight, bias))
        torch.mm(states, weight.T, out=out)
        return out if bias is None else out.add_(bias)

    def _top_entropy(self, part: slice, z: Tensor) -> tuple[Tensor, Tensor]:
        """Notes −H over the top logits; its gradient at those places, and the places."""
        values, places = largest(z, self.weights.top or 1)
        log_p = values.log_softmax(-1)
        p = log_p.exp()
        entropy = (p * log_p).sum(-1)
        self.entropy[part] = entropy
        return p * (log_p - entropy.unsqueeze(1)), places

    def _divergence(self, part: slice, z: Tensor, z_t: Tensor, log_q: Tensor, log_p_t: Tensor) -> None:
        """Notes T²·KL; turns the teacher's logits `z_t` into its softmax at T and leaves the student's in `log_q`.

        Both go the same way to the last bit, so that equal states have neither divergence nor gradient.
        """
        temperature = self.weights.temperature
        torch.log_softmax(z.div_(temperature), -1, out=log_q)
        torch.log_softmax(z_t.div_(temperature), -1, out=log_p_t)
        torch.exp(log_p_t, out=z_t)
        self.divergence[part] = log_p_t.sub_(log_q).mul_(z_t).sum(-1) * temperature**2
        log_q.exp_()
