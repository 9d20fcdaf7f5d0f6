"""How surprised an adapter is by the exam's own answers: cross-entropy a token, row by row, without generating."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch.nn import functional
from transformers import AutoTokenizer

from finetune.batches import Padded
from finetune.chat import tokenise_chats
from finetune.forecast import precision_of
from finetune.model import load, open_base
from finetune.objectives import IGNORED
from finetune.recipe import FinetuneRecipe
from finetune.rows import Item
from finetune.train import PLAIN

BATCH = 4
"""Rows at a time: at a vocabulary of 152k, 500 tokens of each are 1.2 GB of logits."""


class AnswerLoss:
    """Mean cross-entropy, in nats a token, of each row's answer given its question; NaN for a row over the length."""

    metric = "loss"
    higher_is_better = False

    def __init__(self, recipe: FinetuneRecipe) -> None:
        self._recipe = recipe
        self._base = open_base(recipe.base, recipe.revision, recipe.trust_remote_code)

    def settings(self) -> dict[str, Any]:
        """What decides the scores, for the record."""
        return {"name": "cross-entropy a token of the row's own answer"}

    def __call__(self, adapter: Path, rows: pl.DataFrame) -> NDArray[np.float64]:
        """The loss of each of `rows` (id, prompt, response) under the adapter that was trained in `adapter`."""
        tokenizer = AutoTokenizer.from_pretrained(str(adapter))
        told = rows.select("id", "prompt", "response").iter_rows()
        items = [Item(key, key, (("user", prompt), ("assistant", response))) for key, prompt, response in told]
        length = min(self._recipe.length, self._base.context or self._recipe.length)
        examples = dict(enumerate(tokenise_chats(items, tokenizer, length)[0]))
        known = {number: example for number, example in examples.items() if example is not None}
        order = sorted(known, key=lambda number: len(known[number].ids))
        model = self._loaded(adapter)
        collate = Padded(int(tokenizer.pad_token_id))
        found = np.full(len(rows), np.nan)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            found[chosen] = _losses(model, collate([[known[number]] for number in chosen]))
        return found

    def _loaded(self, adapter: Path) -> PeftModel:
        """The base with the adapter as plain LoRA, after what the training held is given back."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        four_bit = self._recipe.quantize == "4bit"
        base = load(self._base, dtype=precision_of(self._recipe.precision), four_bit=four_bit)
        model = PeftModel.from_pretrained(base, str(adapter / PLAIN)).eval()
        return model.cuda() if torch.cuda.is_available() and not four_bit else model


@torch.inference_mode()
def _losses(model: PeftModel, batch: dict[str, torch.Tensor]) -> NDArray[np.float64]:
    batch = {name: each.to(model.device) for name, each in batch.items()}
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    labels = batch["labels"][:, 1:]
    losses = [
        functional.cross_entropy(each[:-1].float(), wanted, ignore_index=IGNORED)
        for each, wanted in zip(logits, labels, strict=True)
    ]
    return torch.stack(losses).double().cpu().numpy()
