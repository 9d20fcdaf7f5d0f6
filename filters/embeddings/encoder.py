"""Vectors of a sentence encoder: any folder or `owner/name` that sentence-transformers can load, without that package.

transformers loads the encoder; what is done with its last states is read from the folder's `modules.json` (pooling,
linear layers, normalising), mean pooling where there is none. Weights are safetensors, no code of the model's is run.

A text sees full batches, padded to one of a few lengths by its own length alone, so that its vector does not depend on
the texts that come with it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from augment.errors import RecipeError, needs
from augment.records import fingerprint
from filters import Context
from filters.embeddings import Keep

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 16
HANDED = 256
"""Texts handed to a worker at a time, sorted by length: their batches are nearly full."""
SHORTEST = 16
"""Tokens that the shortest texts are padded to; longer ones to the next power of two."""
_SAMPLED = 1 << 20

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Encoder:
    """A sentence encoder by folder or `owner/name`; only its configuration is read until there is work."""

    work: Encoding

    @property
    def identity(self) -> tuple[str, ...]:
        """Kind and revision: a folder that is moved is the same model."""
        return ("encoder", self.work.revision)

    @classmethod
    def open(cls, name: str, setting: str) -> Encoder:
        """The encoder called `name`; `setting` is where the user wrote it ("cluster.embedder").

        Raises:
            RecipeError: torch is not installed, or there is no such model.
        """
        with needs("torch", "finetune"):
            import torch  # noqa: F401
        with needs("transformers", "finetune"):
            from transformers import AutoConfig
        path = Path(name).expanduser()
        if path.is_dir():
            if not (path / "modules.json").is_file() and not (path / "config.json").is_file():
                raise RecipeError(f"{setting}: {name} holds no model: no config.json; give the folder of a whole model")
            return cls(Encoding(str(path.resolve()), _identity(path), setting))
        if path.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise RecipeError(
                f"{setting}: no model folder {name}; give a folder with a config.json, owner/name of the hub, "
                'openai:MODEL, or "ngrams"'
            )
        with _one_line(name, setting):
            config = AutoConfig.from_pretrained(name)
        return cls(Encoding(name, f"{name}@{getattr(config, '_commit_hash', None) or 'main'}", setting))

    def embed(self, texts: Sequence[str], context: Context, keep: Keep) -> None:
        """Hands the vectors to `keep`, as many as a worker was given at a time.

        Raises:
            RecipeError: the weights or the tokenizer cannot be read.
        """
        ordered = sorted(texts, key=lambda text: (len(text), text))
        handed = [tuple(ordered[first : first + HANDED]) for first in range(0, len(ordered), HANDED)]
        for some, vectors in zip(handed, context.spread(self.work, handed), strict=True):
            keep(some, vectors)


@dataclass(frozen=True)
class Encoding:
    """The work of an encoder on a tuple of texts (see `filters.spread.Work`): their vectors, (texts, width)."""

    place: str
    revision: str
    setting: str

    def open(self) -> Callable[[Sequence[str]], Floats]:
        """Loads the tokenizer, the weights and what comes after them.

        Raises:
            RecipeError: one of them cannot be read.
        """
        import torch

        with _one_line(self.place, self.setting):
            return _loaded(self.place, "cuda" if torch.cuda.is_available() else "cpu")


def _loaded(place: str, device: str) -> Callable[[Sequence[str]], Floats]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    modules = [(each["type"].rpartition(".")[2], each["path"]) for each in _json(place, "modules.json", [])]
    folder = next((path for kind, path in modules if kind == "Transformer"), "")
    inside = {"subfolder": folder} if folder else {}
    tokenizer = AutoTokenizer.from_pretrained(place, **inside)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    model = AutoModel.from_pretrained(place, use_safetensors=True, dtype=torch.float32, **inside).eval().to(device)
    settings = _json(place, f"{folder}/sentence_bert_config.json".lstrip("/"), {})
    told = _json(place, "config_sentence_transformers.json", {})
    prefix = (told.get("prompts") or {}).get(told.get("default_prompt_name") or "", "")
    lower = bool(settings.get("do_lower_case", False))
    longest = _longest(settings.get("max_seq_length"), tokenizer, model.config)
    after = [_module(place, *each, device=device) for each in modules if each[0] not in ("Transformer", "Normalize")]
    if not any(kind == "Pooling" for kind, _ in modules):
        after.insert(0, _pooling({"pooling_mode_mean_tokens": True}))

    def batch(ids: list[list[int]], width: int) -> Tensor:
        full = ids + ids[-1:] * (BATCH - len(ids))
        read = tokenizer.pad({"input_ids": full}, padding="max_length", max_length=width, return_tensors="pt")
        mask = read["attention_mask"].to(device)
        states = model(input_ids=read["input_ids"].to(device), attention_mask=mask).last_hidden_state
        for each in after:
            states = each(states, mask)
        found: Tensor = states[: len(ids)]
        return found

    def encode(texts: Sequence[str]) -> Floats:
        words = [prefix + (text.lower() if lower else text) for text in texts]
        ids = tokenizer(words, truncation=True, max_length=longest)["input_ids"]
        widths = [min(longest, max(SHORTEST, 1 << (len(each) - 1).bit_length())) for each in ids]
        order = sorted(range(len(ids)), key=lambda row: widths[row])
        parts = []
        with torch.inference_mode():
            for width, rows in itertools.groupby(order, key=lambda row: widths[row]):
                same = [ids[row] for row in rows]
                parts += [batch(same[first : first + BATCH], width) for first in range(0, len(same), BATCH)]
        vectors = torch.cat(parts).float().cpu().numpy()
        found: Floats = np.empty_like(vectors)
        found[order] = vectors
        return found

    return encode


def _longest(told: int | None, tokenizer: Any, config: Any) -> int:
    """Tokens that the model reads: what the folder says, and never more than it has positions or its tokenizer gives.

    RoBERTa's positions begin after the padding token's, so that its tokenizer knows better than its configuration.
    """
    known = (told, tokenizer.model_max_length, getattr(config, "max_position_embeddings", None))
    return min(8192, *(int(each) for each in known if each))


def _module(place: str, kind: str, path: str, device: str) -> Callable[[Tensor, Tensor], Tensor]:
    """What a module of `modules.json` does.

    Raises:
        ValueError: it is of a kind that is not known here.
    """
    config = _json(place, f"{path}/config.json", {})
    if kind == "Pooling":
        return _pooling(config)
    if kind == "Dense":
        return _dense(place, path, config, device)
    raise ValueError(f"its modules.json asks for {kind}, which is not known here")


def _pooling(config: dict[str, Any]) -> Callable[[Tensor, Tensor], Tensor]:
    """From the states of all tokens (texts, tokens, width) to a vector a text, as sentence-transformers has it."""
    import torch

    modes = [key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on]
    if isinstance(told := config.get("pooling_mode"), str):
        modes = told.split("+")
    names = [re.sub("_?tokens?$", "", mode) for mode in modes] or ["mean"]
    unknown = set(names) - {"cls", "max", "mean", "mean_sqrt_len", "weightedmean", "last"}
    if unknown:
        raise ValueError(f"it pools by {', '.join(sorted(unknown))}, which is not known here")

    def pool(states: Tensor, mask: Tensor) -> Tensor:
        seen = mask[:, :, None].to(states.dtype)
        count = seen.sum(1).clamp(min=1e-9)
        place = torch.arange(1, states.shape[1] + 1, device=states.device, dtype=states.dtype)[None, :, None]
        last = mask.sum(1).sub(1).clamp(min=0)
        made = {
            "cls": lambda: states[:, 0],
            "max": lambda: states.masked_fill(seen == 0, -1e9).max(1).values,
            "mean": lambda: (states * seen).sum(1) / count,
            "mean_sqrt_len": lambda: (states * seen).sum(1) / count.sqrt(),
            "weightedmean": lambda: (states * seen * place).sum(1) / (seen * place).sum(1).clamp(min=1e-9),
            "last": lambda: states[torch.arange(len(states), device=states.device), last],
        }
        return torch.cat([made[name]() for name in made if name in names], dim=1)

    return pool


def _dense(place: str, path: str, config: dict[str, Any], device: str) -> Callable[[Tensor, Tensor], Tensor]:
    import torch
    from safetensors.torch import load_file
    from transformers.utils.hub import cached_file

    weights = load_file(str(cached_file(place, f"{path}/model.safetensors")), device=device)
    activation = str(config.get("activation_function", "torch.nn.modules.linear.Identity")).rpartition(".")[2]
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "Identity": lambda x: x,
        "Tanh": torch.tanh,
        "ReLU": torch.relu,
        "GELU": torch.nn.functional.gelu,
        "SiLU": torch.nn.functional.silu,
    }
    if activation not in functions:
        raise ValueError(f"its linear layer ends in {activation}, which is not known here")
    weight, bias = weights["linear.weight"].float(), weights.get("linear.bias")

    def dense(vectors: Tensor, mask: Tensor) -> Tensor:
        del mask
        return functions[activation](torch.nn.functional.linear(vectors, weight, bias))

    return dense


def _json(place: str, name: str, instead: Any) -> Any:
    """A JSON file of the folder or repository, or `instead` where it has none."""
    from transformers.utils.hub import cached_file

    found = cached_file(place, name, _raise_exceptions_for_missing_entries=False)
    return orjson.loads(Path(found).read_bytes()) if found else instead


def _identity(folder: Path) -> str:
    """A hash over a folder's configuration and weights, wherever it lies: of large files the size and both ends."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json", ".txt", ".model") and path.is_file():
            size = path.stat().st_size
            with path.open("rb") as file:
                digest = hashlib.blake2b(file.read(_SAMPLED))
                file.seek(max(size - _SAMPLED, 0))
                digest.update(file.read())
            parts.append((path.relative_to(folder).as_posix(), size, digest.hexdigest()))
    return fingerprint(parts)[:16]


@contextmanager
def _one_line(name: str, setting: str) -> Iterator[None]:
    """Turns what goes wrong while a model is loaded into one line.

    Raises:
        RecipeError: always that.
    """
    import logging

    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # our one line says what its retries would
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        why = (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
        raise RecipeError(f"{setting}: {name} is no sentence encoder that can be loaded: {why}") from None
