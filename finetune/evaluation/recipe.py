"""What the user wrote about an evaluation, from flags and a TOML file, checked at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from augment.errors import RecipeError
from augment.recipe import read_keys, share

CALIBRATE = "judge"
"""The word that calibrates a judge instead of giving an exam."""
MANY_VOTES = 0.7
"""A judge's temperature when it votes more than once: equal votes would be one."""

ANSWERED = ("engine", "path", "map", "holdout", "everything", "system", "temperature")
"""What means nothing where the answers exist already."""
CALIBRATING = (
    "answers",
    "base",
    "adapter",
    "llm",
    "engine",
    "map",
    "holdout",
    "everything",
    "system",
    "temperature",
    "out",
)
"""What means nothing where a judge is calibrated."""


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class EvaluationRecipe(BaseModel):
    """An evaluation, as written. Every field is a flag of `augment evaluate` and a key of a recipe file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    card: str = ""
    exam: str | None = None
    path: Path | None = None
    map: dict[str, str] = {}
    holdout: Annotated[float | None, BeforeValidator(share), Field(ge=0, lt=1)] = None
    everything: bool = False
    limit: Annotated[int | None, Field(ge=1)] = None
    answers: Path | None = None
    base: str | None = None
    adapter: Annotated[list[Path], BeforeValidator(_several)] = []
    llm: Annotated[list[str], BeforeValidator(_several)] = []
    engine: Literal["transformers", "vllm"] = "transformers"
    base_url: str | None = None
    concurrency: Annotated[int, Field(ge=1)] = 64
    timeout: Annotated[float, Field(gt=0)] = 300.0
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    system: str | None = None
    judge: str | None = None
    judge_url: str | None = None
    judge_sees: Literal["answer", "question"] = "answer"
    votes: Annotated[int, Field(ge=1)] = 1
    judge_temperature: Annotated[float | None, Field(ge=0)] = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    out: Path | None = None
    overwrite: bool = False
    name: str | None = None

    @property
    def heat(self) -> float:
        """The judge's temperature."""
        return self.judge_temperature if self.judge_temperature is not None else MANY_VOTES if self.votes > 1 else 0.0


def read_evaluation_recipe(flags: Mapping[str, Any], file: Path | None = None) -> EvaluationRecipe:
    """The recipe of `flags` (unset ones are None) over those of `file`.

    Raises:
        RecipeError: the file is missing or broken, or keys are wrong or do not go together.
    """
    recipe = read_keys(EvaluationRecipe, flags, file, "recipe", "evaluate")
    if recipe.card == CALIBRATE:
        _without(recipe, CALIBRATING, "augment evaluate judge scores answers that have scores; give those with --exam")
        return recipe
    asked = recipe.base is not None or recipe.adapter or recipe.llm
    if not (recipe.card or recipe.exam or recipe.answers):
        raise RecipeError("no exam given; try augment evaluate chbench, or --exam FILE, or --answers FILE")
    if not asked and recipe.answers is None:
        raise RecipeError(
            "nobody to take the exam; add --base MODEL, --adapter DIR, --llm openai:MODEL or --answers FILE"
        )
    if recipe.answers is not None and (asked or recipe.exam):
        raise RecipeError("--answers holds the exam and its answers; leave out --exam, --base, --adapter and --llm")
    if recipe.answers is not None:
        _without(recipe, ANSWERED, "--answers holds the exam and its answers")
    return recipe


def _without(recipe: EvaluationRecipe, useless: tuple[str, ...], why: str) -> None:
    blank = EvaluationRecipe()
    given = [f"--{key.replace('_', '-')}" for key in useless if getattr(recipe, key) != getattr(blank, key)]
    if given:
        raise RecipeError(f"{why}; leave out {' and '.join(given)}")
