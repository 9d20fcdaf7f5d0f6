"""Tiny real models that read texts, taught a rule in seconds: a language model, a classifier, an NLI model, a reward."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3ForCausalLM,
)

from tests.finetune.bases import sample_texts, save_base, tokenizer

Pair = tuple[str, str | None]


def save_language_model(folder: Path, texts: Sequence[str], steps: int = 60, **changes: object) -> Path:
    """A two-layer Qwen3 that has read some texts."""
    save_base(folder, **changes)
    words = PreTrainedTokenizerFast.from_pretrained(folder)
    model = Qwen3ForCausalLM.from_pretrained(folder).train()
    ids = [torch.tensor(words(f"<|endoftext|>{text}")["input_ids"][:64]) for text in texts]
    inputs = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    labels = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(steps):
        rows = torch.arange(step * 16, step * 16 + 16) % len(ids)
        model(inputs[rows], labels=labels[rows]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


def save_speaker(folder: Path, said: str, steps: int = 40, **changes: object) -> Path:
    """A tiny Qwen3 that was taught to say one thing, whatever it is asked in its chat template."""
    save_base(folder, **changes)
    words = PreTrainedTokenizerFast.from_pretrained(folder)
    model = Qwen3ForCausalLM.from_pretrained(folder).train()
    answer = words(f"{said}<|im_end|>")["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    texts = list(sample_texts())
    for step in range(steps):
        rows = range(step * 8, step * 8 + 8)
        asked = [
            words.apply_chat_template(
                [{"role": "user", "content": (texts[row % len(texts)] * 20)[: 20 + row * 37 % 380]}],
                add_generation_prompt=True,
                return_dict=False,
            )
            for row in rows
        ]
        ids = [torch.tensor(each + answer) for each in asked]
        labels = [torch.tensor([-100] * len(each) + answer) for each in asked]
        pad = torch.nn.utils.rnn.pad_sequence
        model(pad(ids, batch_first=True), labels=pad(labels, batch_first=True, padding_value=-100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.model.norm.weight.data *= 4  # as sure of it as at a quarter of the temperature
    model.eval().save_pretrained(folder)
    return folder


def save_text_classifier(
    folder: Path, taught: Sequence[tuple[Pair, float]], labels: Sequence[str], steps: int = 60, length: int = 64
) -> Path:
    """A ModernBERT of one layer, which reads all tokens alike, that was taught what is said of each text or pair: a class, or with one label a score."""
    words = tokenizer(template=None)
    words.model_max_length = length
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(words),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        classifier_pooling="mean",
        max_position_embeddings=length,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: at for at, label in enumerate(labels)},
        problem_type="regression" if len(labels) == 1 else "single_label_classification",
    )
    model = ModernBertForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    read = [torch.tensor(words(*text, truncation=True, max_length=length)["input_ids"]) for text, _ in taught]
    ids = torch.nn.utils.rnn.pad_sequence(read, batch_first=True, padding_value=words.pad_token_id)
    mask = torch.arange(ids.shape[1]) < torch.tensor([[len(each)] for each in read])
    wanted = torch.tensor([value for _, value in taught], dtype=torch.float if len(labels) == 1 else torch.long)
    for _ in range(steps):
        rows = torch.randperm(len(read))[:16]
        model(ids[rows], attention_mask=mask[rows].long(), labels=wanted[rows]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
