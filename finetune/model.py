"""The base model and its tokenizer, by folder or `owner/name`, with every way that this can fail told in a line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from augment.errors import FinetuneError, needs
from augment.records import fingerprint

SAMPLED = 2**20
"""Bytes at both ends of a weight file that its identity is made of."""


@dataclass(frozen=True)
class Base:
    """A base model, not loaded yet. `revision` is the hub's commit, or a hash over a folder's files."""

    name: str
    revision: str
    config: PreTrainedConfig
    trust_remote_code: bool = False

    @property
    def context(self) -> int | None:
        """How many tokens it can see at most, where it says."""
        found = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return int(found) if found else None


def quiet() -> None:
    """Keep off the terminal what transformers says to its developers."""
    import logging as standard
    import warnings

    from transformers.utils import logging

    standard.getLogger("huggingface_hub").setLevel(standard.ERROR)  # our one line says what its retries would
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning)


def open_base(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Base:
    """The base model called `name`, by its configuration alone.

    Raises:
        FinetuneError: there is no such model, or it cannot be read.
    """
    path = Path(name).expanduser()
    local = path.is_dir()
    if not local and (path.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise FinetuneError(
            f"no model folder {name}; give --base a folder with a config.json, or owner/name of the hub"
        )
    if local and not (path / "config.json").is_file():
        hint = " (it is an adapter)" if (path / "adapter_config.json").is_file() else ""
        raise FinetuneError(f"{name} holds no model: no config.json{hint}; give --base the folder of a whole model")
    place = str(path.resolve()) if local else name
    with _one_line(f"cannot load the base model {name}", "check --base, or connect once to fetch it"):
        config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=trust_remote_code)
    known = _identity(path) if local else str(getattr(config, "_commit_hash", None) or revision or "main")
    return Base(place, known, config, trust_remote_code)


def open_tokenizer(base: Base) -> PreTrainedTokenizerBase:
    """The base's tokenizer, with a token to pad with.

    Raises:
        FinetuneError: it has none.
    """
    with _one_line(f"{base.name} has no tokenizer that can be read", "save one in its folder"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            base.name, revision=_hub(base), trust_remote_code=base.trust_remote_code
        )
        if len(tokenizer) - len(tokenizer.all_special_ids) < 2:  # made up from the configuration alone
            raise ValueError("it knows no words")
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise FinetuneError(f"the tokenizer of {base.name} has neither a pad_token nor an eos_token; set one")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def skeleton(base: Base, labels: Sequence[str] = ()) -> PreTrainedModel:
    """The model without its weights, on the meta device: enough to count and to place an adapter.

    Raises:
        FinetuneError: it is of a kind that the task has no model for.
    """
    kind, config = _kind(labels), _config(base, labels)
    fix = "give --base a causal language model" if not labels else "give --base a model that can classify texts"
    with _one_line(f"{base.name} does not fit the task", fix), init_empty_weights():
        model: PreTrainedModel = kind.from_config(config, trust_remote_code=base.trust_remote_code)
    return model


def load(
    base: Base,
    *,
    dtype: torch.dtype,
    four_bit: bool = False,
    labels: Sequence[str] = (),
    pad: int | None = None,
    seed: int = 0,
) -> PreTrainedModel:
    """The model with its weights in `dtype`, or in 4 bits (NF4) computing in it. A new head starts from `seed`.

    Raises:
        FinetuneError: the weights cannot be read, or bitsandbytes is missing.
    """
    config = _config(base, labels)
    if labels and pad is not None:
        config.get_text_config().pad_token_id = pad  # a head reads the last token that is not one of these
    more: dict[str, Any] = {}
    if four_bit:
        with needs("bitsandbytes", "finetune-4bit"):
            import bitsandbytes  # noqa: F401
        more["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
        more["device_map"] = {"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"}
    set_seed(seed)
    with _one_line(f"cannot load the weights of {base.name}", "check the folder, or fetch it again"):
        model: PreTrainedModel = _kind(labels).from_pretrained(
            base.name, config=config, revision=_hub(base), dtype=dtype, trust_remote_code=base.trust_remote_code, **more
        )
    model.config.use_cache = False
    return model


def _kind(labels: Sequence[str]) -> Any:
    return AutoModelForSequenceClassification if labels else AutoModelForCausalLM


def _config(base: Base, labels: Sequence[str]) -> PreTrainedConfig:
    if not labels:
        return base.config
    config = type(base.config).from_dict(base.config.to_dict())
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    return config


def _hub(base: Base) -> str | None:
    return None if Path(base.name).is_dir() else base.revision


def _identity(folder: Path) -> str:
    """A hash over a folder's configuration and weights: of large files the size and both ends."""
    parts = []
    for path in sorted(folder.glob("*")):
        if path.suffix in (".safetensors", ".json", ".bin") and path.is_file():
            size = path.stat().st_size
            with path.open("rb") as file:
                digest = hashlib.blake2b(file.read(SAMPLED))
                file.seek(max(size - SAMPLED, 0))
                digest.update(file.read())
            parts.append((path.name, size, digest.hexdigest()))
    return fingerprint(parts)[:16]


@contextmanager
def _one_line(what: str, fix: str) -> Iterator[None]:
    """Turns what loading raises into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "alloc" in str(error):
            raise
        told = str(error).strip().partition("\n")[0].rstrip(".")
        raise FinetuneError(f"{what}: {told}; {fix}") from None
