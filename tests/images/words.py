"""Tokenizers built in code: every byte is known, and a few words are one token, so that prompts are short."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

START, END = "<|startoftext|>", "<|endoftext|>"
TURN, DONE = "<|im_start|>", "<|im_end|>"
SAID = (
    "a an the of in on at with and by photo picture drawing painting close up dog cat bird fish car boat house tree "
    "red green blue black white circle square triangle star street beach forest snow table night day light"
)
WORDS = tuple(SAID.split())
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes, in a fixed order."""
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def clip_tokenizer() -> CLIPTokenizer:
    """As CLIP's: lower case, 77 tokens, `</w>` at a word's end. "dog" is one token, "sks" is three."""
    merges, vocabulary = _merges(WORDS, "</w>")
    known = [*alphabet(), *(f"{each}</w>" for each in alphabet()), *vocabulary, START, END]
    return CLIPTokenizer({each: i for i, each in enumerate(known)}, merges, model_max_length=77)


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """As Qwen's: bytes, turns between <|im_start|> and <|im_end|>, a chat template."""
    merges, vocabulary = _merges([f"Ġ{each}" for each in WORDS], "")
    known = [*alphabet(), *vocabulary]
    bare = Tokenizer(models.BPE({each: i for i, each in enumerate(known)}, merges))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.add_special_tokens([END, TURN, DONE])
    made = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token=DONE, pad_token=END, model_max_length=4096)
    made.chat_template = TEMPLATE
    return made


def _merges(words: Sequence[str], end: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs that lead letter by letter to each word, and what they make."""
    merges: dict[tuple[str, str], str] = {}
    for word in sorted(words, key=len):
        letters = [*word[:-1], word[-1] + end]
        made = letters[0]
        for letter in letters[1:]:
            merges.setdefault((made, letter), made + letter)
            made += letter
    return list(merges), list(dict.fromkeys(merges.values()))
