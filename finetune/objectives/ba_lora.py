"""BA-LoRA: the task loss and three regularisers against inherited bias (arXiv 2408.04556).

    L = L_task + λ1(t)·CR + λ2(t)·DR + λ3(t)·SVDR

Two forms were published, with other formulas and weights: version A (v1 and v2, 2024) and version B (v7, ICLR
2026). The paper starts from PiSSA; any adapter will do. Entropy and divergence pull against each other where
the pretrained model is confident, so all terms are returned for the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from augment.errors import FinetuneError, RecipeError
from finetune.objectives import IGNORED, ce, consistency, diversity, schedules, svdr
from finetune.objectives.fused import TokenWeights, token_terms
from finetune.objectives.outputs import Hidden, Logits, working_dtype
from finetune.objectives.positions import item_count, predicted


class Published(NamedTuple):
    """A version's hyper-parameters; `top` is None where the whole vocabulary counts."""

    lambda1: float
    lambda2: float
    lambda3: float
    k: int
    temperature: float
    top: int | None
    scheduled: bool


PUBLISHED = {
    ("A", "nlg"): Published(1e-4, 3e-4, 1e-4, 3, 1.0, None, False),
    ("A", "nlu"): Published(1e-4, 4e-4, 1e-4, 3, 1.0, None, False),
    ("B", "nlg"): Published(0.025, 0.005, 0.005, 10, 2.0, 20, True),
    ("B", "nlu"): Published(0.15, 0.03, 0.03, 5, 2.0, None, True),
}
"""By version and task. Version A's k is its released code's; version B states one T, taken for both tasks."""


class _Weights(NamedTuple):
    """The λ of one step; None where the term is switched off altogether."""

    cr: float | None
    dr: float | None
    svdr: float | None


@dataclass(frozen=True)
class BaLora:
    """The task loss with consistency, diversity and singular value regularisation (BA-LoRA).

    A hyper-parameter left None has the value published for `version` and `task` (`PUBLISHED`). `task` is "nlg"
    for language models and "nlu" for classification and regression heads. A λ of 0 switches its term off:
    nothing of it is computed, and with lambda1 = 0 the teacher is never called. The teacher is asked on every
    `every`-th step, where its term counts `every` times.

    The regularisers' means run over tokens (or rows) and add up over micro-batches, but a covariance and
    singular values are a micro-batch's own: those two are averaged over micro-batches by their size.

    Raises:
        RecipeError: a value makes no sense.
    """

    version: Literal["A", "B"] = "B"
    task: Literal["nlg", "nlu"] = "nlg"
    lambda1: float | None = None
    lambda2: float | None = None
    lambda3: float | None = None
    k: int | None = None
    temperature: float | None = None
    top: int | None = None
    scheduled: bool | None = None
    every: int = 1
    chunk_mib: int = 48
    name: ClassVar[str] = "ba_lora"

    def __post_init__(self) -> None:
        if (self.version, self.task) not in PUBLISHED:
            raise RecipeError(f"no BA-LoRA version '{self.version}' for '{self.task}'; known: A, B for nlg, nlu")
        for each in ("lambda1", "lambda2", "lambda3"):
            if (getattr(self, each) or 0) < 0:
                raise RecipeError(f"{each} is {getattr(self, each)}; a weight is 0 or more")
        for each, least in (("k", 1), ("top", 1), ("every", 1), ("chunk_mib", 1)):
            value = getattr(self, each)
            if value is not None and value < least:
                raise RecipeError(f"{each} is {value}; give {least} or more")
        if self.temperature is not None and self.temperature <= 0:
            raise RecipeError(f"temperature is {self.temperature}; give a positive one")

    @property
    def settings(self) -> Published:
        """Every hyper-parameter in force: this object's own, else the published one."""
        published = PUBLISHED[self.version, self.task]
        own = {each: getattr(self, each) for each in Published._fields}
        return published._replace(**{each: value for each, value in own.items() if value is not None})

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
        """As `Objective.__call__`; the terms are ce, cr, dr and svdr, and the weights lambda1 to lambda3.

        A term that is switched off, or not due on this step, is not among them.
        """
        weights = self._weights(step, steps)
        known = self._teacher(student, teacher) if weights.cr is not None else None
        values = student.values if isinstance(student, Logits) else student.states
        with torch.autocast(values.device.type, enabled=False):
            if self.task == "nlu":
                loss, terms = self._rows(student, labels, known, weights, items)
            else:
                targets = predicted(labels, attention_mask, position_ids)
                loss, terms = self._tokens(student, targets, known, weights, items)
        lambdas = zip(("lambda1", "lambda2", "lambda3"), weights, strict=True)
        terms |= {each: loss.new_tensor(weight) for each, weight in lambdas if weight is not None}
        return loss, {each: term.detach() for each, term in terms.items()}

    def _weights(self, step: int, steps: int) -> _Weights:
        chosen = self.settings
        decay = schedules.cosine_decay(step, steps) if chosen.scheduled else 1.0
        ramp = schedules.delayed_ramp(step, steps) if chosen.scheduled else 1.0
        due = chosen.lambda1 > 0 and step % self.every == 0
        return _Weights(
            chosen.lambda1 * decay * self.every if due else None,
            chosen.lambda2 * ramp if chosen.lambda2 > 0 else None,
            chosen.lambda3 * ramp if chosen.lambda3 > 0 else None,
        )

    def _teacher(self, student: Logits | Hidden, teacher: Callable[[], Logits | Hidden] | None) -> Tensor:
        if teacher is None:
            raise FinetuneError("ba_lora compares with the pretrained model: give a teacher, or lambda1 = 0")
        with torch.no_grad():
            said = teacher()
        if type(said) is not type(student):
            raise FinetuneError(f"the teacher gave {type(said).__name__}, the student {type(student).__name__}")
        return said.values if isinstance(said, Logits) else said.states

    def _tokens(
        self,
        student: Logits | Hidden,
        targets: Tensor,
        teacher: Tensor | None,
        weights: _Weights,
        items: Tensor | int | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The language model forms, over the positions that predict something."""
        chosen = self.settings
        valid = targets != IGNORED
        count = item_count(targets, items)
        terms: dict[str, Tensor] = {}
        if isinstance(student, Hidden):
            states = student.states[valid]
            found = token_terms(
                states,
                student.head,
                targets[valid],
                TokenWeights(1 / count, weights.cr, weights.dr, chosen.temperature, chosen.top),
                teacher[valid] if teacher is not None else None,
                chunk_mib=self.chunk_mib,
            )
            loss = found.loss
            each = {"ce": found.ce, "cr": found.divergence, "dr": found.negative_entropy}
            terms = {name: term.sum() / count for name, term in each.items() if term is not None}
        else:
            if student.values.ndim != 3:
                raise FinetuneError("these logits are a classification head's: set task = 'nlu'")
            states = student.values[valid].to(working_dtype(student.values))
            loss = terms["ce"] = ce.token_loss(student.values, targets, items)
            if teacher is not None:
                divergence = consistency.divergence(states, teacher[valid].to(states.dtype), chosen.temperature)
                terms["cr"] = divergence.sum() / count
                loss = _added(loss, weights.cr, terms["cr"])
            if weights.dr is not None:
                terms["dr"] = diversity.negative_entropy(states, chosen.top).sum() / count
                loss = _added(loss, weights.dr, terms["dr"])
        if weights.svdr is not None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and weights.svdr > 0):
                rows, metric = states, None
                if isinstance(student, Hidden):
                    rows, metric = student.head.extended(states), student.head.metric
                share = svdr.token_share(rows, metric, chosen.k, nuclear=self.version == "A")
            terms["svdr"] = share * (valid.sum() / count)
            loss = _added(loss, weights.svdr, terms["svdr"])
        return loss, terms

    def _rows(
        self,
        student: Logits | Hidden,
        labels: Tensor,
        teacher: Tensor | None,
        weights: _Weights,
        items: Tensor | int | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The classification and regression forms, over the rows that have a label."""
        if isinstance(student, Hidden) or student.values.ndim != 2:
            raise FinetuneError("task = 'nlu' takes a head's logits (N, D)")
        chosen = self.settings
        loss = ce.head_loss(student.values, labels, items)
        terms = {"ce": loss}
        whole = labels.ndim == 1 and not labels.is_floating_point()
        valid = labels != IGNORED if whole else torch.ones(len(labels), dtype=torch.bool, device=labels.device)
        count = ce.head_count(labels, items)
        rows = student.values[valid].to(working_dtype(student.values))
        if teacher is not None:
            known = teacher[valid].to(rows.dtype)
            if self.version == "A":
                errors = consistency.direction_error(rows, known)
            else:
                errors = consistency.divergence(rows, known, chosen.temperature)
            terms["cr"] = errors.sum() / count
            loss = _added(loss, weights.cr, terms["cr"])
        share = len(rows) / count
        if weights.dr is not None:
            terms["dr"] = diversity.off_diagonal(rows) * share
            loss = _added(loss, weights.dr, terms["dr"])
        if weights.svdr is not None:
            terms["svdr"] = svdr.matrix_share(rows, chosen.k) * share
            loss = _added(loss, weights.svdr, terms["svdr"])
        return loss, terms


def _added(loss: Tensor, weight: float | None, term: Tensor) -> Tensor:
    """The loss with a weighted term, untouched to the last bit where the weight is 0."""
    return loss + weight * term if weight else loss
