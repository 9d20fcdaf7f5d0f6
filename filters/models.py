"""Models that read texts, named by the user: a causal language model, or a classifier of texts and pairs of them.

By a folder or `owner/name` of the hub; safetensors only, no code of theirs is run. What is said of a text does not
depend on those beside it. On a CPU each is read alone, at its own length: bit for bit the same with one thread and
with two, and faster than padded batches (96 M parameters, 16 questions: 3.3 s against 8.0). On a GPU batches are
always full and their width is a multiple of `STEP`, padded on the right and masked.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.errors import RecipeError, needs

ROWS, STEP = 16, 64
"""Texts read at once on a GPU, and what their width in tokens is a multiple of."""
LOGITS = 1 << 29
"""Numbers that a language model's answer to one batch may hold: a gigabyte in bfloat16."""
WINDOW = 1024
"""Tokens that a language model reads at once; of longer texts each window's second half is counted."""
Vectors = NDArray[np.float64]


@dataclass(eq=False)
class LanguageModel:
    """A causal language model. `width`: tokens that it reads at once; `rows`: windows."""

    model: Any
    tokenizer: Any
    device: str
    width: int
    rows: int

    @classmethod
    def load(cls, name: str, setting: str) -> LanguageModel:
        """The model called `name`; `setting` is where the user wrote it ("perplexity.model").

        Raises:
            RecipeError: torch is not installed, or there is no such model.
        """
        tokenizer, model, device = _loaded(name, setting, "a causal language model", "AutoModelForCausalLM")
        width = min(_context(model, tokenizer), WINDOW)
        rows = (
            1 if device == "cpu" else max(1, min(ROWS, LOGITS // (width * model.config.get_text_config().vocab_size)))
        )
        return cls(model, tokenizer, device, width, rows)

    def losses(self, texts: Sequence[tuple[str | None, str]]) -> list[tuple[float, int]]:
        """Of each (prompt, text) the negative log-likelihood of the text's tokens in all, in nats, and their number.

        A text with a prompt follows it as an answer, by the model's chat template where it has one; one without stands
        at the beginning. A tokenizer without a token to begin with leaves its first token out.
        """
        found = [(0.0, 0)] * len(texts)
        windows = []
        for at, (prompt, text) in enumerate(texts):
            ids, first = self._tokens(prompt, text)
            for begin, end, counted in windows_of(len(ids), first, self.width):
                windows.append((at, ids[begin:end], counted - begin))
        read = [ids for _, ids, _ in windows]
        said: list[float] = _batched(read, lambda some: self._losses(some, windows), self.rows)
        for (at, ids, counted), loss in zip(windows, said, strict=True):
            found[at] = (found[at][0] + loss, found[at][1] + len(ids) - counted)
        return found

    def _tokens(self, prompt: str | None, text: str) -> tuple[list[int], int]:
        """A text behind its prompt, and where the first token is that counts."""
        before = "" if prompt is None else f"{prompt}\n"
        if prompt is not None and self.tokenizer.chat_template:
            asked = [{"role": "user", "content": prompt}]
            before = self.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        prefix, told = (self.tokenizer(each, add_special_tokens=False)["input_ids"] for each in (before, text))
        begin = self.tokenizer.bos_token_id
        begin = self.tokenizer.eos_token_id if begin is None else begin
        if begin is not None and prefix[:1] != [begin]:
            prefix = [begin, *prefix]
        return [*prefix, *told], max(len(prefix), 1)

    def _losses(self, places: list[int], windows: Sequence[tuple[int, list[int], int]]) -> list[float]:
        import torch

        ids, mask = _padded([windows[at][1] for at in places], 0, self.rows, self.device)
        logits = self.model(input_ids=ids, attention_mask=mask).logits
        losses = []
        for row, at in enumerate(places):  # row by row: in single precision all at once would be large
            _, told, counted = windows[at]
            shares = torch.log_softmax(logits[row, counted - 1 : len(told) - 1].float(), dim=-1)
            own = shares.gather(1, ids[row, counted : len(told), None])
            losses.append(-float(own.double().sum()))
        return losses


@dataclass(eq=False)
class Classifier:
    """A classifier of texts. `labels` are its classes, in its order; one alone is a score (a reward)."""

    labels: tuple[str, ...]
    model: Any
    tokenizer: Any
    device: str
    width: int
    rows: int

    @classmethod
    def load(cls, name: str, setting: str) -> Classifier:
        """The classifier called `name`; `setting` is where the user wrote it.

        Raises:
            RecipeError: torch is not installed, or there is no such classifier.
        """
        what = "a classifier of texts"
        tokenizer, model, device = _loaded(name, setting, what, "AutoModelForSequenceClassification")
        if tokenizer.pad_token_id is not None and model.config.get_text_config().pad_token_id is None:
            model.config.get_text_config().pad_token_id = tokenizer.pad_token_id  # a head reads the last that is none
        rows = ROWS if device != "cpu" and tokenizer.pad_token_id is not None else 1
        return cls(labels_of(model.config), model, tokenizer, device, _context(model, tokenizer), rows)

    def logits(self, texts: Sequence[tuple[str, str | None]]) -> Vectors:
        """For each text, or pair of texts, its logits: (texts, labels). What is too long is cut off at its end."""
        told = [self._tokens(*each) for each in texts]
        pad = self.tokenizer.pad_token_id or 0

        def read(places: list[int]) -> list[list[float]]:
            ids, mask = _padded([told[at]["input_ids"] for at in places], pad, self.rows, self.device)
            given = {"input_ids": ids, "attention_mask": mask}
            if "token_type_ids" in told[places[0]]:
                kinds = [told[at]["token_type_ids"] for at in places]
                given["token_type_ids"], _ = _padded(kinds, 0, self.rows, self.device)
            found: list[list[float]] = self.model(**given).logits[: len(places)].double().cpu().tolist()
            return found

        said = _batched([each["input_ids"] for each in told], read, self.rows)
        return np.array(said, dtype=np.float64).reshape(-1, len(self.labels))

    def probabilities(self, texts: Sequence[tuple[str, str | None]]) -> Vectors:
        """For each text, or pair, the probability of each label: (texts, labels). One label alone: by the sigmoid."""
        logits = self.logits(texts)
        if len(self.labels) == 1:
            return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True)) if len(logits) else logits
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def conversation(self, prompt: str, answer: str) -> tuple[str, str | None]:
        """A question and its answer as the model reads them: by its chat template, else as a pair."""
        if not self.tokenizer.chat_template:
            return prompt, answer
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False)), None

    def _tokens(self, text: str, other: str | None) -> Any:
        special = other is not None or not self._begins_itself(text)
        return self.tokenizer(text, other, truncation=True, max_length=self.width, add_special_tokens=special)

    def _begins_itself(self, text: str) -> bool:
        """Whether a text has the token that texts begin with already, as one from a chat template may."""
        return bool(self.tokenizer.bos_token) and text.startswith(self.tokenizer.bos_token)


@dataclass(frozen=True)
class Losses:
    """A work: batches of (prompt or None, text) to `LanguageModel.losses`."""

    model: str
    setting: str

    def open(self) -> Callable[[list[tuple[str | None, str]]], list[tuple[float, int]]]:
        return LanguageModel.load(self.model, self.setting).losses


@dataclass(frozen=True)
class Shares:
    """A work: batches of (text, its pair or None) to the probability of each label."""

    model: str
    setting: str

    def open(self) -> Callable[[list[tuple[str, str | None]]], list[list[float]]]:
        classifier = Classifier.load(self.model, self.setting)
        return lambda batch: classifier.probabilities(batch).tolist()


@dataclass(frozen=True)
class Rewards:
    """A work: batches of (prompt, answer) to the one number that a reward model says of each."""

    model: str
    setting: str

    def open(self) -> Callable[[list[tuple[str, str]]], list[float]]:
        reward = Classifier.load(self.model, self.setting)
        if len(reward.labels) != 1:
            raise RecipeError(
                f"{self.setting}: {self.model} has {len(reward.labels)} classes, a reward model has one; "
                f"say which class counts with label: {', '.join(reward.labels[:5])}"
            )
        return lambda batch: [float(each) for each in reward.logits([reward.conversation(*one) for one in batch])[:, 0]]


def labels_in(name: str, setting: str) -> tuple[str, ...]:
    """The classes of the classifier called `name`, by its configuration alone.

    Raises:
        RecipeError: as `Classifier.load`.
    """
    with needs("torch", "finetune"):
        import torch  # noqa: F401
    with one_line(name, setting, "a classifier of texts"):
        from transformers import AutoConfig

        return labels_of(AutoConfig.from_pretrained(place(name)))


def labels_of(config: Any) -> tuple[str, ...]:
    """A classifier's classes, in its order."""
    return tuple(str(config.id2label[at]) for at in range(config.num_labels))


def windows_of(length: int, first: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Windows over `length` tokens as (begin, end, counted): tokens counted to end are told by those from begin on.

    Each token from `first` (1 or more) on is counted once, those of a long text after half a window of others at least.
    """
    done = first
    while done < length:
        end = min(length, width if done < width else done + width // 2)
        yield max(0, end - width), end, done
        done = end


def place(name: str) -> str:
    """A folder as an absolute path; anything else as it is."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.is_dir() else name


@contextmanager
def one_line(name: str, setting: str, what: str) -> Iterator[None]:
    """Turns what goes wrong while a model is loaded into one line.

    Raises:
        RecipeError: always that.
    """
    from transformers.utils import logging as transformers_logging

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # our one line says what its retries would
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    path = Path(name).expanduser()
    if not path.is_dir() and (path.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise RecipeError(
            f"{setting}: no model folder {name}; give a folder with a config.json, or owner/name of the hub"
        )
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RecipeError(f"{setting}: {name} is not {what} that can be loaded: {why}") from None


def _loaded(name: str, setting: str, what: str, kind: str) -> tuple[Any, Any, str]:
    """Tokenizer, model and device; in bfloat16 on a GPU, else in single precision."""
    with needs("torch", "finetune"):
        import torch
    with one_line(name, setting, what):
        import transformers

        device = "cuda" if torch.cuda.is_available() else "cpu"
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(place(name))
        if len(tokenizer) - len(tokenizer.all_special_ids) < 2:  # made up from the configuration alone
            raise ValueError("its tokenizer knows no words")
        model, told = getattr(transformers, kind).from_pretrained(
            place(name),
            use_safetensors=True,
            dtype=torch.float32 if device == "cpu" else torch.bfloat16,
            output_loading_info=True,
        )
        if told["missing_keys"]:  # transformers would give it a random head
            raise ValueError(f"it has no {sorted(told['missing_keys'])[0]}")
    return tokenizer, model.eval().to(device), device


def _context(model: Any, tokenizer: Any) -> int:
    """How many tokens a model sees at most."""
    known = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    told = [each for each in (known, tokenizer.model_max_length) if each and each < 1 << 24]
    return min(told) if told else WINDOW


def _batched(ids: Sequence[Sequence[int]], read: Callable[[list[int]], list[Any]], rows: int) -> list[Any]:
    """What `read` says of each text, given their places in batches of about one length, in the texts' order."""
    import torch

    found: list[Any] = [None] * len(ids)
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    widths: dict[int, list[int]] = {}
    for at in order:
        widths.setdefault(math.ceil(len(ids[at]) / STEP) if rows > 1 else 0, []).append(at)
    with torch.inference_mode():
        for same in widths.values():
            for first in range(0, len(same), rows):
                some = same[first : first + rows]
                for at, each in zip(some, read(some), strict=True):
                    found[at] = each
    return found


def _padded(texts: Sequence[Sequence[int]], pad: int, rows: int, device: str) -> tuple[Any, Any]:
    """Tokens and mask; a batch of several is filled up with its last text, and padded to a multiple of `STEP`."""
    import torch

    width = max(len(each) for each in texts)
    full = list(texts)
    if rows > 1:
        width = math.ceil(width / STEP) * STEP
        full += full[-1:] * (rows - len(full))
    ids = torch.tensor([[*each, *[pad] * (width - len(each))] for each in full], device=device)
    mask = torch.tensor([[1] * len(each) + [0] * (width - len(each)) for each in full], device=device)
    return ids, mask
