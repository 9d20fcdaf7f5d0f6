"""Tiny bases in folders, as users have them: a model, a tokenizer trained on the sample, a chat template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from finetune.chat import CHATML

ROOT = Path(__file__).parents[2]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def sample_texts() -> Iterator[str]:
    """The questions and answers of the bundled sample."""
    for file in sorted((ROOT / "data/sample").glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            yield from (value for value in json.loads(line).values() if isinstance(value, str))


def tokenizer(vocabulary: int = 2000, template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Byte-level BPE; it ends texts on <|endoftext|>, and turns on <|im_end|> with `template`."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL if template else SPECIAL[:1]),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator(sample_texts(), trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token=SPECIAL[0], pad_token=SPECIAL[0])
    made.chat_template = template
    return made


def save_base(folder: Path, *, template: str | None = CHATML, **changes: object) -> Path:
    """A two-layer Qwen3 with random weights and its tokenizer."""
    words = tokenizer(template=template)
    torch.manual_seed(0)
    shape = {
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
    }
    Qwen3ForCausalLM(Qwen3Config(**{**shape, **changes})).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
