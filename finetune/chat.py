"""Conversations to tokens with the model's own chat template; only what the assistant says is learned.

A conversation is rendered once as text and cut where each answer begins and ends, and the pieces are tokenised
one by one: so the prompt has the very tokens that it will have when the model is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import TemplateError

from augment.errors import FinetuneError
from finetune.rows import Item

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHATML = """{% for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
PLAIN = """{{ bos_token if bos_token else '' }}{% for message in messages %}{% if message['role'] == 'assistant' %}\
{{ 'Assistant: ' + message['content'] + eos_token + '\n' }}{% else %}\
{{ message['role'] | capitalize + ': ' + message['content'] + '\n' }}\
{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"""
_CHUNK = 1000


@dataclass(frozen=True)
class Example:
    """One row as tokens. ids: (T,) int32; learned: (T,) bool, or the number of its class."""

    ids: np.ndarray[Any, np.dtype[np.int32]]
    learned: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    label: int | None = None


def give_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Set a chat template where the tokenizer has none; what to tell the user about it.

    ChatML where its marks are tokens of the model already, else plain text that ends on the end-of-text token.

    Raises:
        FinetuneError: there is no end-of-text token either, so an answer could not end.
    """
    if tokenizer.chat_template:
        return None
    known = tokenizer.get_vocab()
    if "<|im_start|>" in known and "<|im_end|>" in known:
        tokenizer.chat_template, name = CHATML, "ChatML (<|im_start|>role … <|im_end|>)"
    elif tokenizer.eos_token is None:
        raise FinetuneError("the tokenizer has neither a chat template nor an eos_token; set one of them in its folder")
    else:
        tokenizer.chat_template, name = PLAIN, "plain (User: … Assistant: …)"
    return f"the base has no chat template; using {name}, saved with the adapter"


def tokenise_chats(
    items: Sequence[Item], tokenizer: PreTrainedTokenizerBase, length: int
) -> tuple[list[Example | None], Counter[str]]:
    """Each conversation as an example, None where it cannot be one, and the reasons counted.

    Raises:
        FinetuneError: the chat template refuses every conversation.
    """
    found: list[Example | None] = []
    lost: Counter[str] = Counter()
    fault = ""
    for start in range(0, len(items), _CHUNK):
        pieces: list[list[tuple[str, bool]] | None] = []
        for item in items[start : start + _CHUNK]:
            try:
                pieces.append(_pieces(item.turns, tokenizer))
            except (TemplateError, ValueError) as error:
                fault = str(error).partition("\n")[0]
                pieces.append(None)
        texts = [text for each in pieces for text, _ in each or ()]
        encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else ())
        for item, each in zip(items[start : start + _CHUNK], pieces, strict=True):
            example = _example(item, each, encoded, tokenizer.eos_token_id) if each is not None else None
            if example is None:
                lost["refused by the chat template"] += 1
            elif len(example.ids) > length:
                lost[f"over {length:,} tokens"] += 1
                example = None
            found.append(example)
    if lost["refused by the chat template"] == len(items):
        raise FinetuneError(f"the chat template of the base refuses every conversation ({fault}); give it another one")
    return found, +lost


def tokenise_texts(
    items: Sequence[Item], tokenizer: PreTrainedTokenizerBase, length: int, labels: Sequence[str]
) -> tuple[list[Example | None], Counter[str]]:
    """Each text as an example with the place of its label in `labels`."""
    found: list[Example | None] = []
    lost: Counter[str] = Counter()
    place = {label: number for number, label in enumerate(labels)}
    for start in range(0, len(items), _CHUNK):
        chunk = items[start : start + _CHUNK]
        encoded = tokenizer([item.turns[0][1] for item in chunk])["input_ids"]
        for item, ids in zip(chunk, encoded, strict=True):
            if len(ids) > length:
                lost[f"over {length:,} tokens"] += 1
                found.append(None)
            else:
                found.append(Example(np.array(ids, dtype=np.int32), label=place[item.label or ""]))
    return found, lost


def _pieces(turns: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, bool]]:
    """The rendered conversation in pieces, each with whether it is learned.

    All answers are learned where the template shows earlier ones as it will have shown them; one that hides parts of
    them (a reasoning model's thoughts) leaves only the last to be learned.

    Raises:
        ValueError: not even the last answer follows its prompt.
    """
    messages = [{"role": role, "content": content} for role, content in turns]

    def rendered(count: int, ask: bool) -> str:
        text = tokenizer.apply_chat_template(messages[:count], tokenize=False, add_generation_prompt=ask)
        assert isinstance(text, str)
        return text

    answers = [number for number, (role, _) in enumerate(turns) if role == "assistant"]
    for chosen in (answers, answers[-1:]):
        pieces: list[tuple[str, bool]] = []
        done = ""
        for number in chosen:
            asked, told = rendered(number, True), rendered(number + 1, False)
            if not (asked.startswith(done) and told.startswith(asked)):
                break
            pieces += [(asked[len(done) :], False), (told[len(asked) :], True)]
            done = told
        else:
            return [piece for piece in pieces if piece[0]]
    raise ValueError("it does not put the answer behind the prompt")


def _example(item: Item, pieces: Sequence[tuple[str, bool]], encoded: Iterator[list[int]], eos: int | None) -> Example:
    ids: list[int] = []
    learned: list[bool] = []
    for _, answer in pieces:
        piece = next(encoded)
        ids += piece
        learned += [answer] * len(piece)
    closing = pieces[-1][0].rpartition(item.turns[-1][1].strip())[2]
    if eos is not None and not closing.strip():  # the template does not end the turn: the model has to learn to
        ids.append(eos)
        learned.append(True)
    return Example(np.array(ids, dtype=np.int32), np.array(learned, dtype=np.bool_))
