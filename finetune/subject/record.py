"""All that led to a subject's weights, as subject.json keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from augment import __version__
from finetune.subject import prompts
from finetune.subject.prepare import Prepared


@dataclass(frozen=True)
class Learned:
    """What training gave: every step's losses, the loss on the pictures before and after, the class's digests."""

    history: Mapping[str, Sequence[float]]
    before: float
    after: float
    drawn: Sequence[str]
    parameters: Sequence[torch.nn.Parameter]


def card_of(prepared: Prepared, learned: Learned, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """The card: what `augment.images.subjects` reads first, then how it came about; nothing that the time decides."""
    recipe, model = prepared.recipe, prepared.model
    return {
        "method": recipe.method,
        "token": recipe.token,
        "noun": recipe.noun,
        "label": recipe.label,
        "name": prepared.subject.name,
        "identity": prepared.identity,
        "base": {"name": model.name, "revision": model.main.commit or model.main.identity, "pipeline": model.pipeline},
        "prompt": prepared.prompt,
        "class_prompt": prompts.of_class(recipe.noun) if recipe.prior_images else None,
        "recipe": recipe.decisive() | {"size": prepared.size},
        "parameters": sum(each.numel() for each in learned.parameters),
        "images": [{"name": each.name, "pixels": each.pixels} for each in prepared.photos],
        "class_images": list(learned.drawn),
        "class_refused": recipe.prior_images - len(learned.drawn),
        "loss": {"before": round(learned.before, 5), "after": round(learned.after, 5)},
        "machine": {
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "dtype": str(dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        },
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers", "peft")}
        | {"augment": __version__},
        "losses": {name: list(values) for name, values in learned.history.items()},
    }
