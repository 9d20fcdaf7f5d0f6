"""What `augment adapter info`, `export` and `merge` do with a saved adapter.

Prefer serving the export to merging: in bf16 weights a small learned difference drowns (23 to 58 % of it is lost at
the size that a short training leaves), which is why a merge is made, and by default kept, in fp32.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from augment.errors import FinetuneError
from finetune.saved import WEIGHTS, Layer, Saved, read

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from torch import Tensor

SERVED = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM's --max-lora-rank can be (0.32)."""
DTYPES = ("float32", "bfloat16", "float16")
_NEGLIGIBLE = 1e-6  # of the largest singular value: fp32's rounding


@dataclass(frozen=True)
class Info:
    """A saved adapter at a glance. A `native` folder is ours: stock PEFT and vLLM read its export, not itself."""

    path: Path
    method: str
    options: Mapping[str, Any]
    native: bool
    base: str | None
    task: str | None
    labels: tuple[str, ...]
    ranks: tuple[int, ...]
    alpha: float
    rslora: bool
    layers: int
    trained: int
    stored: int
    bytes: int


@dataclass(frozen=True)
class Exported:
    """A plain LoRA folder. `error` is ‖what was lost‖ / ‖learned‖ (Frobenius, over all layers), by truncation to
    `rank` and by rounding to `dtype`; `servable` says whether vLLM takes the rank."""

    path: Path
    layers: int
    rank: int
    error: float
    dtype: str
    servable: bool


@dataclass(frozen=True)
class Merged:
    """A whole model with the adapter in its weights."""

    path: Path
    base: str
    layers: int
    dtype: str
    parameters: int


def info(directory: Path) -> Info:
    """What is in an adapter's folder; imports no torch.

    Raises:
        FinetuneError: not an adapter that can be read.
    """
    saved = read(directory)
    config = saved.config
    return Info(
        path=directory,
        method=config.get("method", "lora"),
        options=config.get("options", {}),
        native=saved.ours,
        base=config.get("base_model_name_or_path") or None,
        task=config.get("task_type"),
        labels=tuple(config.get("labels") or ()),
        ranks=tuple(sorted({layer.rank for layer in saved.layers})),
        alpha=config["lora_alpha"],
        rslora=bool(config.get("use_rslora")),
        layers=len(saved.layers),
        trained=saved.trained,
        stored=saved.stored,
        bytes=(directory / WEIGHTS).stat().st_size,
    )


def export(directory: Path, out: Path, rank: int | None = None, dtype: str = "float32") -> Exported:
    """Write the adapter as plain LoRA, for stock PEFT and vLLM: scaling baked in, alpha = rank, every layer one rank.

    Each layer's learned difference, of rank up to 2r for an anchored adapter, is recompressed by QR and SVD, its
    scale split evenly between the two factors. No `rank` keeps all of it, padded with zeros to the next rank that
    vLLM takes. Reads only the adapter's folder, a layer at a time.

    Raises:
        FinetuneError: not a native adapter, a rank or dtype that makes no sense, or `out` is taken.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    if dtype not in DTYPES:
        raise FinetuneError(f"no dtype '{dtype}'; known: {', '.join(DTYPES)}")
    if rank is not None and rank < 1:
        raise FinetuneError(f"rank {rank} makes no LoRA; use at least 1")
    saved = read(directory)
    if not saved.ours:
        raise FinetuneError(f"{directory} is plain LoRA already; use it as it is")
    kind: torch.dtype = getattr(torch, dtype)
    with safe_open(directory / WEIGHTS, framework="pt") as weights, _beside(out) as folder:
        found = {layer.module: _learned(layer, weights) for layer in saved.layers}
        needed = max(int((values > _NEGLIGIBLE * values[0]).sum()) for _, values, _ in found.values())
        width = rank or next((served for served in SERVED if served >= needed), needed)
        tensors, lost, learned = {}, 0.0, 0.0
        for module in list(found):
            left, values, right = found.pop(module)
            root = values[:width].sqrt()
            pair = {"B": left[:, :width] * root, "A": root[:, None] * right[:width]}
            # to first order the two roundings and the truncation are orthogonal
            lost += float(values[width:].square().sum())
            lost += float(((pair["B"] - pair["B"].to(kind)) * root).square().sum())
            lost += float(((pair["A"] - pair["A"].to(kind)) * root[:, None]).square().sum())
            learned += float(values.square().sum())
            for side, tensor in pair.items():
                tensors[f"base_model.model.{module}.lora_{side}.weight"] = _padded(tensor.to(kind), side, width)
        tensors |= {key: weights.get_tensor(key) for key in saved.others}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        _plain(saved, width).save_pretrained(str(folder))
    error = (lost / learned) ** 0.5 if learned else 0.0
    return Exported(out, len(saved.layers), width, error, dtype, width <= SERVED[-1])


def merge(directory: Path, out: Path, base: str | None = None, dtype: str = "float32") -> Merged:
    """Write the base model with the adapter in its weights, and the tokenizer beside it.

    Merged in fp32 (four bytes a parameter of memory) onto the unquantised base, then cast to `dtype`. `base` is
    for a base model that has moved since; else the one that the adapter names.

    Raises:
        FinetuneError: not an adapter, no base model or one that does not fit, weights that are not finite, or `out`
            is taken.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoModelForTokenClassification
    from transformers.utils import logging

    import finetune.adapters.tuner  # noqa: F401 - teaches PEFT our type
    from finetune.model import open_base

    if dtype not in DTYPES:
        raise FinetuneError(f"no dtype '{dtype}'; known: {', '.join(DTYPES)}")
    saved = read(directory)
    name = base or saved.config.get("base_model_name_or_path")
    if not name:
        raise FinetuneError(f"{directory} names no base model; say which with --base")
    name = open_base(name).name  # a folder that is not there is told at once, not looked for on the hub
    kinds: dict[Any, Any] = {
        "SEQ_CLS": AutoModelForSequenceClassification,
        "TOKEN_CLS": AutoModelForTokenClassification,
    }
    logger = logging.get_logger(__name__)
    with _beside(out) as folder:
        try:
            kind = kinds.get(saved.config.get("task_type"), AutoModelForCausalLM)
            labels = dict(enumerate(saved.config.get("labels") or ()))
            more = (
                {"id2label": labels, "label2id": {label: number for number, label in labels.items()}} if labels else {}
            )
            model = kind.from_pretrained(name, dtype=torch.float32, **more)
        except (OSError, ValueError) as error:
            raise FinetuneError(
                f"base model {name} cannot be loaded ({_first_line(error)}); say which with --base"
            ) from None
        try:
            adapted = PeftModel.from_pretrained(model, str(directory))
        except (RuntimeError, FinetuneError) as error:
            raise FinetuneError(
                f"{directory} does not fit {name} ({_first_line(error)}); say which with --base"
            ) from None
        if set(cast("list[str]", adapted.base_model.targeted_module_names)) != {layer.module for layer in saved.layers}:
            raise FinetuneError(f"{directory} was made for other layers than {name} has; say which with --base")
        try:
            merged = adapted.merge_and_unload(safe_merge=True).to(getattr(torch, dtype))
        except ValueError as error:
            raise FinetuneError(f"{directory} cannot be merged ({_first_line(error)}); train it again") from None
        merged.save_pretrained(folder)
        if not _tokenizer(directory, name, folder):
            logger.warning("%s has no tokenizer; copy one to %s", name, out)
        parameters = sum(each.numel() for each in merged.parameters())
    return Merged(out, name, len(saved.layers), dtype, parameters)


def _learned(layer: Layer, weights: Any) -> tuple[Tensor, Tensor, Tensor]:
    """U, S, Vᵀ of s·(B N A − B0 N0 A0), in fp32.

    Raises:
        FinetuneError: the factors hold an infinity or a NaN.
    """
    from finetune.adapters.factors import Down, Factors, Up
    from finetune.adapters.svd import product

    sides: dict[str, dict[str, Tensor]] = {"A": {}, "B": {}}
    for name, key in layer.tensors.items():
        side, _, tensor = name.partition(".")
        sides[side][tensor] = weights.get_tensor(key).float()
    factors = Factors(sides["B"]["factor"], sides["A"]["factor"], sides["B"].get("core"))
    anchored = "start" in sides["A"]
    down, up = Down(factors, frozen=True, anchored=anchored), Up(factors, frozen=True, anchored=anchored)
    down.load_state_dict(sides["A"])
    up.load_state_dict(sides["B"])
    left, right = up.weight.detach() * layer.scaling, down.weight.detach()
    if not (left.isfinite().all() and right.isfinite().all()):
        raise FinetuneError(f"the factors of {layer.module} are not finite; train the adapter again")
    return product(left, right)


def _padded(tensor: Tensor, side: str, width: int) -> Tensor:
    """With columns (B) or rows (A) of zeros up to `width`."""
    from torch.nn.functional import pad

    missing = width - tensor.shape[1 if side == "B" else 0]
    return pad(tensor, (0, missing) if side == "B" else (0, 0, 0, missing)).contiguous()


def _plain(saved: Saved, rank: int) -> LoraConfig:
    """Stock PEFT's configuration of the export: ours without what it does not know, one rank, s = 1."""
    from dataclasses import fields

    from peft import LoraConfig

    known = {each.name for each in fields(LoraConfig)} - {"peft_type", "runtime_config"}
    kept = {key: value for key, value in saved.config.items() if key in known}
    baked = {"r": rank, "lora_alpha": rank, "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False}
    return LoraConfig(**{**kept, **baked, "lora_dropout": 0.0, "init_lora_weights": True, "inference_mode": True})


def _tokenizer(directory: Path, base: str, folder: Path) -> bool:
    """Save the adapter's tokenizer, else the base's; whether there was one."""
    from transformers import AutoTokenizer

    for place in (str(directory), base):
        try:
            AutoTokenizer.from_pretrained(place).save_pretrained(folder)
        except (OSError, ValueError):
            continue
        return True
    return False


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder to fill, renamed to `out` when all went well.

    Raises:
        FinetuneError: `out` is there already, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FinetuneError(f"{out} is there already; choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise FinetuneError(f"cannot write {out}: {error.strerror}; choose another --out") from None
    try:
        yield folder
        folder.chmod(0o755)
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
