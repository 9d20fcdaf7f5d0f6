"""Arithmetic in words, as small as GSM8K would be for a model of a million parameters, and that model, pretrained.

Pretraining sees sums, comparisons, counting and sentences, as text and as one-step questions; fine-tuning is another
task, word problems of two steps, one of them a subtraction, which pretraining never writes as such:

    user: Tom has 34 pears . Ann gives Tom 12 . Tom loses 5 . How many pears has Tom ?
    assistant: 34 + 12 = 46 . 46 - 5 = 41 .

Words are tokens and digits are single. Everything derives from seeds.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from augment.records import fingerprint
from finetune.chat import CHATML

NAMES = ("Tom", "Ann", "Max", "Eva", "Sam", "Lea", "Ben", "Mia")
THINGS = ("apples", "pears", "books", "coins", "cards", "shells", "stamps", "eggs")
COLOURS = ("red", "green", "blue", "brown")
WORDS = (
    *("user", "assistant", "What", "is", "Which", "more", "less", "than", "or", "after", "before", "comes", "The"),
    *("are", "has", "gives", "loses", "finds", "How", "many", "they", "have", "So", "fewer", "count", "up", "down"),
    *("in", "all", "and"),
)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
MARKS = ("+", "-", "=", ".", "?", ":")
END, START, STOP, UNKNOWN = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|unknown|>"
TOP = 50
"""Numbers that are added are below; so sums have two digits."""
HELD = 10
"""One pair of numbers in so many is kept out of the pretraining, to judge it with."""


@dataclass(frozen=True)
class Size:
    """The model and its pretraining: `steps` of `rows` × `tokens`."""

    hidden: int = 128
    inner: int = 256
    layers: int = 3
    steps: int = 2000
    rows: int = 32
    tokens: int = 64
    rate: float = 3e-3


def tokenizer() -> PreTrainedTokenizerFast:
    """Words, single digits and marks; other words are spelled. Blanks and line ends only divide."""
    spelled = (*LETTERS, *(f"##{letter}" for letter in LETTERS))
    known = (END, START, STOP, UNKNOWN, *"0123456789", *MARKS, *WORDS, *NAMES, *THINGS, *COLOURS, *spelled)
    whole = Tokenizer(models.WordPiece({word: place for place, word in enumerate(known)}, unk_token=UNKNOWN))
    whole.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d|[A-Za-z]+|[^\w\s]"), "removed", invert=True)
    made = PreTrainedTokenizerFast(
        tokenizer_object=whole, eos_token=STOP, pad_token=END, additional_special_tokens=[START]
    )
    made.chat_template = CHATML
    return made


def chat(question: str, answer: str) -> str:
    """As the chat template writes it."""
    return f"{START}user\n{question}{STOP}\n{START}assistant\n{answer}{STOP}\n"


def kept_out(a: int, b: int) -> bool:
    """Whether pretraining never adds or compares these two, in either order."""
    return int(fingerprint("held out", *sorted((a, b)))[:8], 16) % HELD == 0


def _pair(draw: random.Random, held: bool) -> tuple[int, int]:
    while True:
        a, b = draw.randrange(TOP), draw.randrange(TOP)
        if a != b and kept_out(a, b) == held:
            return a, b


def questions(draw: random.Random, held: bool = False) -> tuple[str, str]:
    """A one-step question of the pretraining, and its answer."""
    a, b = _pair(draw, held)
    kind = draw.randrange(4)
    if kind == 0:
        return f"Which is more {a} or {b} ?", f"{max(a, b)} ."
    if kind == 1:
        return f"Which is less {a} or {b} ?", f"{min(a, b)} ."
    (one, other), thing = draw.sample(NAMES, 2), draw.choice(THINGS)
    asked = f"{one} has {a} {thing} . {other} has {b} {thing} . How many {thing} have they ?"
    return (f"What is {a} + {b} ?" if kind == 2 else asked), f"{a} + {b} = {a + b} . So {a + b} ."


def _text(draw: random.Random) -> str:
    a, b = _pair(draw, False)
    (one, other), thing = draw.sample(NAMES, 2), draw.choice(THINGS)
    kind = draw.randrange(10)
    if kind < 4:
        return f"{a} + {b} = {a + b} ."
    if kind == 4:
        start, way = draw.randrange(8, 2 * TOP - 8), draw.choice((1, -1))
        return f"count {'up' if way > 0 else 'down'} : " + " ".join(str(start + way * i) for i in range(7)) + " ."
    if kind == 5:
        return f"{a} is {'more' if a > b else 'less'} than {b} ."
    if kind == 6:
        return f"{one} finds {thing} . The {thing} are {COLOURS[THINGS.index(thing) % len(COLOURS)]} ."
    if kind == 7:
        many = draw.randrange(1, 10)
        return f"{one} has {a + many} {thing} . {one} loses {many} {thing} . {one} has fewer {thing} ."
    if kind == 8:
        return f"{one} has {a} {thing} . {other} gives {one} {b} {thing} . {one} has {a} + {b} = {a + b} {thing} ."
    return f"{a} comes before {a + 1} . {a} comes after {a - 1} ." if a else f"{a} comes before {a + 1} ."


def corpus(seed: int) -> Iterator[str]:
    """The pretraining's texts, without end: one in three is a question."""
    draw = random.Random(seed)
    while True:
        yield chat(*questions(draw)) if draw.randrange(3) == 0 else _text(draw) + END


def problems(count: int, seed: int) -> list[dict[str, str]]:
    """Different word problems of two steps, as rows to fine-tune on; their three numbers are never the same twice."""
    draw = random.Random(seed)
    seen: set[tuple[int, int, int]] = set()
    found: list[dict[str, str]] = []
    while len(found) < count:
        a, b, c = draw.randrange(10, TOP), draw.randrange(2, TOP), draw.randrange(2, 6)
        (one, other), thing = draw.sample(NAMES, 2), draw.choice(THINGS)
        if (a, b, c) in seen:
            continue
        seen.add((a, b, c))
        told, whose = (
            (f"{other} gives {one} {b} . {one} loses {c} .", one),
            (f"{one} loses {c} . {other} gives {one} {b} .", one),
            (f"{other} has {c} fewer and finds {b} .", other),
        )[kind := draw.randrange(3)]
        middle = a - c if kind else a + b
        first, second = (f"- {c}", f"+ {b}") if kind else (f"+ {b}", f"- {c}")
        answer = f"{a} {first} = {middle} . {middle} {second} = {a + b - c} ."
        asked = f"{one} has {a} {thing} . {told} How many {thing} has {whose} ?"
        found.append({"question": asked, "answer": answer})
    return found


def judged(model: Any, words: PreTrainedTokenizerFast, rows: list[tuple[str, str]]) -> tuple[float, float]:
    """Cross-entropy of the answers' tokens, and the share of answers that the model says to the last token.

    An answer that is the most likely token at every place, given its own beginning, is what greedy decoding says.
    """
    device = next(model.parameters()).device
    loss, right, count = 0.0, 0, 0
    for start in range(0, len(rows), 64):
        some = rows[start : start + 64]
        asked = [words(chat(question, "").rpartition(STOP)[0])["input_ids"] for question, _ in some]
        whole = [words(chat(question, answer).rstrip())["input_ids"] for question, answer in some]
        longest = max(len(each) for each in whole)
        ids = torch.tensor([each + [words.pad_token_id] * (longest - len(each)) for each in whole], device=device)
        place = torch.arange(longest, device=device)
        learned = torch.stack([(place >= len(a)) & (place < len(w)) for a, w in zip(asked, whole, strict=True)])[:, 1:]
        with torch.inference_mode():
            logits: Tensor = model(input_ids=ids).logits[:, :-1].float()
        targets = ids[:, 1:]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        loss += float(losses[learned].sum())
        count += int(learned.sum())
        right += int(((logits.argmax(-1) == targets) | ~learned).all(1).sum())
    return loss / count, right / len(rows)


def held_out(count: int = 400) -> list[tuple[str, str]]:
    """One-step questions over numbers that pretraining never put together."""
    draw = random.Random(1)
    return [questions(draw, held=True) for _ in range(count)]


def pretrain(folder: Path, size: Size, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The base in `folder`, trained now unless it is there; what is known of it."""
    known = folder / "pretraining.json"
    if known.is_file():
        found: dict[str, Any] = json.loads(known.read_text("utf-8"))
        return found
    torch.manual_seed(0)
    words, began = tokenizer(), time.monotonic()
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=size.hidden // 4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=size.rate, betas=(0.9, 0.98), weight_decay=0.01)
    turn = torch.optim.lr_scheduler.OneCycleLR(optimizer, size.rate, total_steps=size.steps, pct_start=0.1)
    texts, losses = corpus(0), []
    for step in range(size.steps):
        ids = torch.tensor([_row(texts, words, size.tokens) for _ in range(size.rows)])
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        turn.step()
        losses.append(loss.item())
        if step % 100 == 99:
            tell(f"pretraining: step {step + 1} of {size.steps}, loss {losses[-1]:.3f}")
    model.eval().save_pretrained(folder)
    words.save_pretrained(folder)
    loss, accuracy = judged(model, words, held_out())
    parameters = sum(each.numel() for each in model.parameters())
    found = {**asdict(size), "parameters": parameters, "vocabulary": len(words), "losses": losses}
    found |= {"loss": loss, "accuracy": accuracy, "seconds": time.monotonic() - began}
    known.write_text(json.dumps(found), "utf-8")
    return found


def _row(texts: Iterator[str], words: PreTrainedTokenizerFast, length: int) -> list[int]:
    """Texts one behind the other; the last one is cut."""
    ids: list[int] = []
    while len(ids) < length:
        ids += words(next(texts))["input_ids"]
    return ids[:length]
