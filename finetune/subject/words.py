"""A subject's token in a model's vocabulary: whether it is free, and whether it means something already."""

from __future__ import annotations

from typing import Any

RARE = 0.9
"""Vocabularies of merged pairs are in order of frequency: what is in their last tenth is rare ("sks" in CLIP's)."""


def in_use(token: str, tokenizer: Any) -> bool:
    """Whether the vocabulary has a token that is written so, which can then not be added."""
    return token in tokenizer.get_vocab()


def ordinary(word: str, tokenizer: Any) -> bool:
    """Whether the model knows the word as one of its common tokens, so that it means something already."""
    forms = [tokenizer.tokenize(each) for each in (word, f" {word}")]
    ids = [tokenizer.convert_tokens_to_ids(each[0]) for each in forms if len(each) == 1]
    return any(each < RARE * tokenizer.vocab_size for each in ids)
