"""What the user wrote about a fine-tuning, from flags and a TOML file, checked at the edge."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from augment.errors import RecipeError
from augment.recipe import read_keys, share
from augment.records import fingerprint
from finetune import adapters, objectives, perturbations

PARTS = ("adapter", "objective", "perturb", "training")
"""What `--set` reaches into: an adapter's, objective's or perturbation's own settings, and Trainer's."""
OURS = {
    *("output_dir", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
    *("learning_rate", "warmup_steps", "weight_decay", "lr_scheduler_type", "bf16", "fp16"),
    *("seed", "data_seed", "report_to", "eval_strategy", "eval_steps", "save_strategy", "save_steps"),
    *("logging_strategy", "logging_steps", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    *("save_total_limit", "resume_from_checkpoint", "save_only_model", "eval_on_start", "remove_unused_columns"),
    *("auto_find_batch_size", "average_tokens_across_devices", "push_to_hub", "fsdp", "deepspeed"),
    *("do_train", "do_eval"),
    *("activation_checkpointing", "gradient_checkpointing", "ignore_data_skip", "label_smoothing_factor"),
    *("parallelism_config", "disable_tqdm", "use_liger_kernel"),
}  # fmt: skip
"""Arguments of Trainer that flags decide, or that would break what we promise."""


def _name(value: str) -> str:
    return value.replace("-", "_")


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = [part.strip() for part in value.split(",") if part.strip()]
    return value if value == "all-linear" or any(letter in value for letter in "^$*\\(|[") else names


Name = Annotated[str, AfterValidator(_name)]


class FinetuneRecipe(BaseModel):
    """A fine-tuning, as written. Every field is a flag of `augment finetune` and a key of a recipe file."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    base: str = ""
    data: str = ""
    revision: str | None = None
    map: dict[str, str] = {}
    task: Literal["auto", "chat", "classify"] = "auto"
    adapter: Name = "lora"
    rank: Annotated[int, Field(ge=1)] = 16
    alpha: Annotated[float | None, Field(gt=0)] = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[list[str] | str, BeforeValidator(_split)] = "all-linear"
    rslora: bool = False
    objective: Name = "ce"
    perturb: Name | None = None
    settings: dict[str, dict[str, Any]] = Field(default={}, alias="set")
    epochs: Annotated[float, Field(gt=0)] = 1.0
    max_steps: Annotated[int | None, Field(ge=1)] = None
    batch: Annotated[int, Field(ge=1)] = 16
    micro_batch: Annotated[int | None, Field(ge=1)] = None
    learning_rate: Annotated[float | None, Field(gt=0, lt=100)] = None
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Annotated[float, BeforeValidator(share), Field(ge=0, lt=1)] = 0.03
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    length: Annotated[int, Field(ge=8)] = 2048
    packing: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    quantize: Literal["4bit"] | None = None
    gradient_checkpointing: bool = False
    validation: Annotated[float, BeforeValidator(share), Field(ge=0, lt=1)] = 0.1
    patience: Annotated[int | None, Field(ge=1)] = None
    eval_every: Annotated[int | None, Field(ge=1)] = None
    log_every: Annotated[int, Field(ge=1)] = 1
    report_to: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    trust_remote_code: bool = False
    out: Path | None = None
    overwrite: bool = False
    name: str | None = None

    def decisive(self) -> dict[str, Any]:
        """The keys that decide what is learned: not where it is written or reported, nor in what portions."""
        return self.model_dump(
            mode="json", exclude={"out", "overwrite", "name", "report_to", "micro_batch", "log_every"}
        )


@dataclass(frozen=True)
class Method:
    """What trains: an adapter, an objective and maybe a perturbation, each with all its hyper-parameters."""

    adapter: Any
    objective: Any
    perturbation: Any | None
    learning_rate: float


def read_finetune_recipe(flags: Mapping[str, Any], file: Path | None = None) -> FinetuneRecipe:
    """The recipe of `flags` (unset ones are None) over those of `file`.

    Raises:
        RecipeError: the file is missing or broken, or a key or value is wrong; the key is named.
    """
    recipe = read_keys(FinetuneRecipe, flags, file, "recipe", "finetune")
    for key, example in (("base", "--base Qwen/Qwen3-0.6B, or a folder"), ("data", "--data runs/NAME, or a file")):
        if not getattr(recipe, key):
            raise RecipeError(f"no {key} given; try {example}")
    for part, settings in recipe.settings.items():
        if part not in PARTS:
            raise RecipeError(f"--set {part}.{next(iter(settings), '')}: no part '{part}'; known: {', '.join(PARTS)}")
    if "perturb" in recipe.settings and recipe.perturb is None:
        raise RecipeError("--set perturb.… without a perturbation; add --perturb ggpo or mgpo")
    if clash := sorted(OURS & recipe.settings.get("training", {}).keys()):
        raise RecipeError(f"--set training.{clash[0]} is decided by flags of augment finetune; leave it out")
    if recipe.patience is not None and not recipe.validation:
        raise RecipeError("--patience watches the validation loss; give a --validation share over 0")
    return recipe


def method_of(recipe: FinetuneRecipe, task: str) -> Method:
    """The recipe's adapter, objective and perturbation. `task` is "chat" or "classify".

    Raises:
        RecipeError: a name that does not exist, or a setting or value that it does not take.
    """
    given = recipe.settings
    placed: dict[str, Any] = {
        "rank": recipe.rank,
        "alpha": recipe.alpha,
        "dropout": recipe.dropout,
        "rslora": recipe.rslora,
    }
    targets = recipe.targets if isinstance(recipe.targets, str) else tuple(recipe.targets)
    placed |= {"targets": targets, "seed": recipe.seed}
    objective = dict(given.get("objective", {}))
    if recipe.objective == "ba_lora":
        objective.setdefault("task", "nlu" if task == "classify" else "nlg")
    perturbation = dict(given.get("perturb", {}))
    if recipe.perturb == "ggpo":
        perturbation.setdefault("seed", recipe.seed)
    adapter = adapters.TABLE.build(recipe.adapter, {**placed, **given.get("adapter", {})})
    return Method(
        adapter,
        objectives.TABLE.build(recipe.objective, objective),
        perturbations.TABLE.build(recipe.perturb, perturbation) if recipe.perturb else None,
        recipe.learning_rate or adapter.learning_rate,
    )


def out_of(recipe: FinetuneRecipe, identity: str) -> Path:
    """Where the adapter goes when the user names no place."""
    base = Path(recipe.base.rstrip("/")).name or "model"
    return recipe.out or Path("adapters") / f"{base}-{recipe.adapter}-{identity[:8]}"


def world_size() -> int:
    """How many processes train together, under torchrun or accelerate launch."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def identity_of(recipe: FinetuneRecipe, data: str, base: str) -> str:
    """Identity of what is learned: the recipe's decisive keys, the rows and the base model."""
    return fingerprint("finetune", recipe.decisive() | {"data": data, "base": base})
