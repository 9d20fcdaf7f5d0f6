"""What a recipe names, found and checked before any source is read: its generators and its chain of filters."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from augment import generators
from augment.errors import RecipeError
from augment.generators import Generator, answers_itself, modalities_of
from augment.generators.auto import AUTO
from augment.generators.chained import Chained
from augment.images.subjects import read_subjects
from augment.recipe import ImageRecipe, Recipe
from filters.chain import Chain, chain_of


def resolved(recipe: Recipe) -> tuple[dict[str, int], tuple[Generator, ...], Chain]:
    """What the recipe names, before any source is read: generators with their weights, and the chain of filters.

    Raises:
        RecipeError: a name or setting is unknown, or keys do not go together.
    """
    if recipe.generators == AUTO:  # settled once the source is read (`make_plan`)
        recipe = recipe.model_copy(update={"generators": []})
    weights = recipe.weights()
    parts = {part for name in weights for part in name.split("+")}
    if AUTO[0] in parts:
        named = ",".join(recipe.generators)
        raise RecipeError(f"--generators {named}: auto chooses by the source's columns; give it alone")
    chosen = generators_of(recipe)
    settings = {name: each for name, each in recipe.settings.items() if name not in parts}
    chain = chain_of(recipe.filters, settings, recipe.modality)
    for each in chosen:
        _check_can_ask(recipe, each)
    if isinstance(recipe, ImageRecipe):
        read_subjects(recipe.subjects)
    if recipe.balance is not None:
        _check_can_balance(recipe, chosen)
    if recipe.n_by_label and (recipe.modality != "text" or recipe.balance or not recipe.n.endswith("x")):
        raise RecipeError(
            "--n-by-label raises the n of each seed of a label, in augment text; "
            "write --n as 5x, and leave out --balance"
        )
    if recipe.validation and recipe.modality != "text":
        raise RecipeError(f"--validation is for texts; leave it out of augment {recipe.modality}")
    if recipe.incremental and not recipe.n.endswith("x"):
        raise RecipeError(f"--incremental needs variants for each seed, not {recipe.n} in all; write --n 5x")
    if recipe.incremental and recipe.out is not None:
        raise RecipeError(f"--incremental gives each version a folder under runs/; leave out --out {recipe.out}")
    return weights, chosen, chain


def generators_of(recipe: Recipe) -> tuple[Generator, ...]:
    """The recipe's generators, with its settings for them.

    Raises:
        RecipeError: there is no such generator, or it belongs to another verb, or a setting is wrong.
    """
    return tuple(_generator(recipe, name) for name in recipe.weights())


def _generator(recipe: Recipe, name: str) -> Generator:
    """The generator called `name`, with the recipe's settings for it; of `paraphrase+answer` the chain.

    Raises:
        RecipeError: there is none, or it belongs to another verb, or a setting is wrong.
    """
    if "+" in name:
        if recipe.modality != "text":
            raise RecipeError(f"--generators {name}: generators are chained by augment text alone; name one")
        return cast("Generator", Chained.of([_generator(recipe, part) for part in name.split("+")], recipe.seed))
    kind = generators.TABLE.load(name)
    if recipe.modality not in modalities_of(kind):
        known = [each for each, _ in generators.TABLE.items() if recipe.modality in modalities_of(_)]
        verbs = " and ".join(f"augment {each}" for each in modalities_of(kind))
        raise RecipeError(f"generator '{name}' belongs to {verbs}; augment {recipe.modality} has {', '.join(known)}")
    settings = {**recipe.settings.get(name, {}), "seed": recipe.seed}
    if not isinstance(recipe, ImageRecipe):
        return cast("Generator", generators.TABLE.build(name, settings))
    fields = {each.name for each in dataclasses.fields(kind)}
    told: dict[str, Any] = {"size": recipe.size, "steps": recipe.steps, "guidance": recipe.guidance}
    if "subjects" in fields:
        if not recipe.subjects:
            raise RecipeError(f"generator '{name}' draws subjects; add --subjects DIR, a folder of augment subject")
        told["subjects"] = read_subjects(recipe.subjects)
    wanted = {name: value for name, value in told.items() if name in fields and value is not None}
    return cast("Generator", generators.TABLE.build(name, {**wanted, **settings}))


def _check_can_balance(recipe: Recipe, chosen: tuple[Generator, ...]) -> None:
    """Whether variants are counted under the labels of their seeds.

    Raises:
        RecipeError: they are not, or there are no texts.
    """
    if recipe.modality != "text":
        raise RecipeError(f"--balance {recipe.balance} is for texts; leave it out of augment {recipe.modality}")
    if recipe.incremental:
        raise RecipeError(f"--balance {recipe.balance} shares out anew with each row; leave out --incremental")
    for each in chosen:
        if getattr(each, "relabels", False):
            raise RecipeError(
                f"generator '{each.name}' changes labels, which --balance {recipe.balance} counts; "
                "use label, paraphrase or others that keep them"
            )


def _check_can_ask(recipe: Recipe, generator: Generator) -> None:
    """Whether there is someone to answer a generator.

    Raises:
        RecipeError: there is not.
    """
    name = generator.name
    if answers_itself(generator):
        return
    draws = bool(getattr(generator, "kind", ""))
    needs_llm = getattr(generator, "needs_llm", not draws)
    if draws and not (isinstance(recipe, ImageRecipe) and recipe.engine):
        own = "classical" if recipe.modality == "image" else "mixgen"
        raise RecipeError(
            f"generator '{name}' draws; add --engine diffusers:MODEL or openai-images:MODEL, or use --generators {own}"
        )
    if needs_llm and recipe.llm is None:
        other = {"text": "rules", "image": "classical", "paired": "mixgen"}[recipe.modality]
        raise RecipeError(f"generator '{name}' needs an LLM; add --llm openai:MODEL, or use --generators {other}")
