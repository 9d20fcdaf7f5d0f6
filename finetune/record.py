"""Everything about a training that was done, as training.json keeps it and the card tells it."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from augment import __version__
from finetune.prepare import Prepared
from finetune.recipe import world_size
from finetune.trainer import AdapterTrainer


def record_of(prepared: Prepared, trainer: AdapterTrainer, measured: dict[str, Any]) -> dict[str, Any]:
    """Everything about the training, for training.json."""
    state, method, size = trainer.state, prepared.method, prepared.forecast.size
    judged = [each for each in state.log_history if "eval_loss" in each]
    best = min(judged, key=lambda each: each["eval_loss"], default=None)
    kept = best if prepared.recipe.patience is not None else (judged[-1] if judged else None)
    rows = prepared.rows
    return {
        "identity": prepared.identity,
        "base": {"name": prepared.base.name, "revision": prepared.base.revision},
        "data": {
            "name": rows.name,
            "identity": rows.identity,
            "manifest": rows.manifest,
            "task": rows.task,
            "labels": list(prepared.labels),
            "train": prepared.forecast.examples,
            "validation": prepared.forecast.validation,
            "aside": prepared.aside,
            "lost": dict(prepared.lost),
        },
        "method": {
            "adapter": {"name": method.adapter.name, **asdict(method.adapter)},
            "objective": {"name": method.objective.name, **asdict(method.objective)},
            "perturbation": {"name": method.perturbation.name, **asdict(method.perturbation)}
            if method.perturbation
            else None,
            "learning_rate": method.learning_rate,
        },
        "recipe": prepared.recipe.model_dump(mode="json", by_alias=True, exclude={"out", "overwrite", "name"}),
        "parameters": {"trainable": size.trainable, "model": size.parameters, "layers": size.layers},
        "tokens": {"epoch": prepared.forecast.tokens, "learned": prepared.forecast.learned},
        "steps": {
            "planned": prepared.forecast.steps,
            "done": state.global_step,
            "kept": (kept or {}).get("step", state.global_step),
        },
        "precision": str(prepared.dtype).removeprefix("torch."),
        "length": prepared.length,
        "packed": prepared.recipe.packing,
        "processes": world_size(),
        "validation": {"before": judged[0] if judged else None, "after": kept},
        "expected": prepared.forecast.memory,
        "measured": measured,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")}
        | {"augment": __version__},
        "history": [each for each in state.log_history if "train_runtime" not in each],
    }


def peak_memory() -> int:
    """Bytes: the most that was allocated on this GPU, or the most that this process ever had."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
