"""What was learnt, as a number: the loss on texts that were never trained on, beside that of counting tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from finetune.pretrain.course import Batch, Ids, documents
from finetune.pretrain.learner import CONTEXT, Learner
from finetune.pretrain.lessons import Lesson


@dataclass(frozen=True)
class Measure:
    """The texts that were held back, and those trained on, each as its tokens and an end."""

    lessons: Sequence[Lesson]
    held: Sequence[Lesson]
    tokenizer: PreTrainedTokenizerBase

    @cached_property
    def _documents(self) -> list[Ids]:
        """Of the texts held back, the first 2048 tokens each."""
        return [each[:CONTEXT] for each in documents([each.text(0) for each in self.held], self.tokenizer)]

    @torch.no_grad()
    def loss(self, learner: Learner) -> float:
        """Nats per token of the held texts, each by itself behind an end."""
        total = 0.0
        for each in self._documents:
            ids = np.concatenate([[self.tokenizer.eos_token_id], each[:-1]])
            total += learner.loss(Batch(ids[None], each[None]), "sum").item()
        return total / sum(map(len, self._documents))

    @property
    def unigram(self) -> float:
        """Nats per token of the held texts by how often each token is in those trained on, with one more of each."""
        train = np.concatenate(documents([each.text(0) for each in self.lessons], self.tokenizer))
        counts = 1 + np.bincount(train, minlength=len(self.tokenizer))
        return float(-np.log(counts / counts.sum())[np.concatenate(self._documents)].mean())

    def told(self, before: float, after: float) -> dict[str, Any]:
        """The record: nats per token before, after and of counting, and bits per byte, alike for all tokenizers."""
        tokens = sum(map(len, self._documents))
        size = sum(len(str(self.tokenizer.decode(each[:-1])).encode()) for each in self._documents)
        bits = tokens / size / float(np.log(2))
        losses = {"before": before, "after": after, "unigram": self.unigram}
        return {
            "rows": len(self.held),
            "tokens": tokens,
            "nats_per_token": {name: round(value, 4) for name, value in losses.items()},
            "bits_per_byte": {name: round(value * bits, 4) for name, value in losses.items()},
        }
