"""Natural language inference: whether a premise entails or contradicts a hypothesis, by a model that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augment.errors import RecipeError
from filters import Context
from filters.models import Shares, labels_in
from filters.spread import spread_over


@dataclass(frozen=True)
class Inference:
    """The probability that the premise entails the hypothesis, and that it contradicts it; four digits."""

    entailment: float
    contradiction: float


def inferred(pairs: Sequence[tuple[str, str]], model: str, setting: str, context: Context) -> list[Inference]:
    """What the NLI model says of each (premise, hypothesis); what is too long for it is cut off.

    Raises:
        RecipeError: there is no such model, or its classes are not those of NLI.
    """
    if not pairs:
        return []
    held: dict[str, tuple[int, int]] = context.memory.setdefault("nli", {})
    if model not in held:
        held[model] = _places(model, setting)
    entails, contradicts = held[model]
    shares = spread_over(context.spread, Shares(model, setting), pairs)
    return [Inference(round(each[entails], 4), round(each[contradicts], 4)) for each in shares]


def _places(model: str, setting: str) -> tuple[int, int]:
    """Where entailment and contradiction are among the model's classes, by their names."""
    labels = labels_in(model, setting)
    found = []
    for stem in ("entail", "contradict"):
        named = [at for at, label in enumerate(labels) if label.lower().startswith(stem)]
        if len(named) != 1:
            raise RecipeError(
                f"{setting}: {model} has the classes {', '.join(labels[:5])}; an NLI model has entailment and "
                "contradiction: name them in config.json (id2label)"
            )
        found.append(named[0])
    return found[0], found[1]
