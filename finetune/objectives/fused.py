"""Token losses from hidden states, a few tokens at a time: logits exist for one chunk, never for the batch.

The gradient with respect to the hidden states is taken while a chunk's logits are there, in closed form and
in place, so each chunk's logits are made once and nothing of vocabulary width is kept for the backward pass.
With z the student's logits, p = softmax(z), q and p_T the student's and the teacher's softmax at temperature T:

    ∂CE/∂z = p − onehot      ∂(T²·KL)/∂z = T (q − p_T)      ∂(−H)/∂z = p (log p + H)

the last over the top-K logits only, where K is given. Buffers are allocated once a call and written in
place: at V = 152k a fresh 40 MB tensor costs three times its arithmetic in page faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from augment.errors import RecipeError
from finetune.objectives.diversity import largest
from finetune.objectives.outputs import Head, working_dtype

MIB = 2**20


@dataclass(frozen=True)
class TokenWeights:
    """What each token's terms count in the loss: weights already divided by the number of tokens.

    `temperature` belongs to the divergence; `top` to the negative entropy (None is the whole vocabulary).
    A term whose weight is None is not computed; one of weight 0 is computed for the log.
    """

    ce: Tensor | float
    divergence: Tensor | float | None = None
    negative_entropy: Tensor | float | None = None
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
    chunk_mib: int = 24,
) -> TokenTerms:
    """The weighted sum over M tokens of cross-entropy, divergence from the teacher and negative entropy.

    Args:
        rows: the student's hidden states (M, d), and `teacher` the original model's, under the same head.
        targets: (M,) token ids.
        chunk_mib: the size of one buffer of (chunk, V); there are three to five.

    Raises:
        RecipeError: the head is being trained; its gradient needs the logits form.
    """
    if head.weight.requires_grad or (head.bias is not None and head.bias.requires_grad):
        raise RecipeError("the fused loss needs a frozen lm_head; freeze it or train from logits")
    if teacher is None and weights.divergence is not None:
        raise RecipeError("the consistency term needs the teacher's hidden states")
    loss, ce, divergence, entropy = _TokenTerms.apply(rows, head, targets, weights, teacher, chunk_mib)
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
        loss = kernel.ce.sum() * weights.ce
        if weights.divergence is not None:
            loss = loss + kernel.divergence.sum() * weights.divergence
        if weights.negative_entropy is not None:
            loss = loss + kernel.entropy.sum() * weights.negative_entropy
        ctx.mark_non_differentiable(kernel.ce, kernel.divergence, kernel.entropy)
        return loss, kernel.ce, kernel.divergence, kernel.entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        return (gradient * outer.to(gradient.dtype), None, None, None, None, None)


class _Kernel:
    """One call's buffers and results; `run` does one chunk of tokens."""

    def __init__(self, rows: Tensor, head: Head, weights: TokenWeights, chunk_mib: int) -> None:
        self.head, self.weights, self.total = head, weights, len(rows)
        dtype = working_dtype(rows)
        width = len(head.weight)
        self.size = max(1, min(self.total, chunk_mib * MIB // (width * dtype.itemsize)))
        makes = 2 + (3 if weights.divergence is not None else 0)
        self.buffers = [rows.new_empty((self.size, width), dtype=dtype) for _ in range(makes)]
        self.ce, self.divergence, self.entropy = rows.new_zeros((3, self.total), dtype=dtype).unbind()

    def parts(self) -> Iterator[slice]:
        for start in range(0, self.total, self.size):
            yield slice(start, min(start + self.size, self.total))

    def run(self, part: slice, rows: Tensor, targets: Tensor, teacher: Tensor | None, gradient: Tensor | None) -> None:
        weights, wanted = self.weights, targets[part].unsqueeze(1)
        z, slope, *others = (buffer[: part.stop - part.start] for buffer in self.buffers)
        self._logits(rows[part], z)
        top = self._top_entropy(part, z) if weights.negative_entropy is not None and weights.top else None
        log_p = torch.log_softmax(z, -1, out=slope)
        self.ce[part] = -log_p.gather(1, wanted).squeeze(1)
        if weights.divergence is not None and teacher is not None:
            q, log_p_t, p_t = others
            self._divergence(part, log_p, z, q, teacher[part], log_p_t, p_t)
        whole = weights.negative_entropy is not None and weights.top is None
        if whole:
            p = torch.exp(log_p, out=z)
            self.entropy[part] = torch.linalg.vecdot(p, log_p)
        if gradient is None:
            return
        pull = _pull(weights.negative_entropy)
        if whole and pull is not None:
            z.mul_(log_p.sub(self.entropy[part].unsqueeze(1))).mul_(pull)
        slope.exp_().mul_(weights.ce)
        if whole and pull is not None:
            slope.add_(z)
        hold = _pull(weights.divergence)
        if hold is not None:
            slope.add_(others[0].sub_(others[2]).mul_(weights.temperature * hold))
        slope.scatter_add_(1, wanted, -torch.ones_like(wanted, dtype=slope.dtype) * weights.ce)
        if top is not None and pull is not None:
            slope.scatter_add_(1, top[1], top[0] * pull)
        weight = self.head.weight
        gradient[part] = (slope.to(weight.dtype) @ weight).to(gradient.dtype)

    def _logits(self, states: Tensor, out: Tensor) -> None:
        weight, bias = self.head.weight, self.head.bias
        states = states.to(weight.dtype)
        if weight.dtype != out.dtype:
            out.copy_(functional.linear(states, weight, bias))
            return
        torch.mm(states, weight.T, out=out)
        if bias is not None:
            out.add_(bias)

    def _top_entropy(self, part: slice, z: Tensor) -> tuple[Tensor, Tensor]:
        """Notes −H over the top logits; its gradient at those places, and the places."""
        values, places = largest(z, self.weights.top or 1)
        log_p = values.log_softmax(-1)
        p = log_p.exp()
        entropy = (p * log_p).sum(-1)
        self.entropy[part] = entropy
        return p * (log_p - entropy.unsqueeze(1)), places

    def _divergence(
        self, part: slice, log_p: Tensor, log_q: Tensor, q: Tensor, teacher: Tensor, log_p_t: Tensor, p_t: Tensor
    ) -> None:
        """Notes T²·KL; leaves softmax at T of the student in `q` and of the teacher in `p_t`. `log_q` is scratch.

        The student's log-softmax at T comes from the one at 1: log q = log p / T − log Σ exp(log p / T).
        """
        temperature = self.weights.temperature
        torch.div(log_p, temperature, out=log_q)
        log_q.sub_(log_q.amax(-1, keepdim=True))
        norm = torch.exp(log_q, out=q).sum(-1, keepdim=True)
        q.div_(norm)
        log_q.sub_(norm.log())
        self._logits(teacher, p_t)
        torch.log_softmax(p_t.div_(temperature), -1, out=log_p_t)
        torch.exp(log_p_t, out=p_t)
        log_p_t.sub_(log_q).mul_(p_t)
        self.divergence[part] = log_p_t.sum(-1) * temperature**2


def _pull(weight: Tensor | float | None) -> Tensor | float | None:
    """The weight if its term pulls at all: a plain 0 must leave the gradient bit for bit alone."""
    return weight if isinstance(weight, Tensor) or weight else None
