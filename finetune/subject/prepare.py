"""A recipe to everything that is needed to train a subject: the base found, its pictures read, no weights loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from augment.drawing.found import Model, find, one_line
from augment.errors import FinetuneError, RecipeError
from augment.images.subjects import Subject
from augment.records import fingerprint
from finetune.subject import prompts
from finetune.subject.photos import ENOUGH, Photo, read_photos
from finetune.subject.recipe import DREAMBOOTH, INVERSION, USUAL, SubjectRecipe
from finetune.subject.words import in_use, ordinary

TRAINABLE = {
    "StableDiffusionPipeline": 512,
    "StableDiffusionXLPipeline": 1024,
    "ZImagePipeline": 1024,
    "Flux2KleinPipeline": 1024,
}
"""The pipelines that can learn a subject, and the side in pixels that they draw best."""


@dataclass(frozen=True)
class Prepared:
    """What trains. `identity` is over all that decides the weights; `notes` are lines for the user."""

    recipe: SubjectRecipe
    model: Model
    photos: tuple[Photo, ...]
    size: int
    identity: str
    notes: tuple[str, ...]

    @property
    def subject(self) -> Subject:
        """The subject as it will be; its digest is not known yet."""
        recipe = self.recipe
        return Subject("", recipe.out, recipe.method, recipe.token, recipe.noun, recipe.label)

    @property
    def prompt(self) -> str:
        """What the subject's pictures are called."""
        return prompts.of_subject(self.subject.name, self.recipe.noun)

    def lines(self) -> list[str]:
        """What will be done, a line each."""
        recipe = self.recipe
        batch = f"{recipe.batch} picture{'s' if recipe.batch > 1 else ''}"
        batch += f" and {recipe.batch} of its class" if recipe.prior_images else ""
        found = [
            f"{len(self.photos)} pictures, {self.size} × {self.size}, learned as '{self.prompt}' by {self.model.name}",
            f"{recipe.method}: {recipe.steps:,} steps of {batch}, learning rate {recipe.learning_rate:g}",
        ]
        if recipe.prior_images:
            found.append(f"{recipe.prior_images} pictures of '{prompts.of_class(recipe.noun)}' keep the class as it is")
        return found


def prepare(recipe: SubjectRecipe) -> Prepared:
    """Everything but the weights.

    Raises:
        RecipeError: the engine does not train, or the token is taken.
        EngineError: there is no such model, or its licence is not cleared.
        FinetuneError: it is not of a family that learns subjects.
        SourceError: no whole picture.
    """
    engine, _, spec = recipe.engine.partition(":")
    if engine != "diffusers" or not spec:
        raise RecipeError(
            f"--engine '{recipe.engine}' cannot be trained; write diffusers:FOLDER or diffusers:owner/name"
        )
    model = find(spec, recipe.accept_licence)
    if model.pipeline not in TRAINABLE:
        known = ", ".join(TRAINABLE)
        raise FinetuneError(f"{model.name} is a {model.pipeline}, which augment subject cannot train; known: {known}")
    if model.control is not None or model.look is not None:
        raise RecipeError(f"--engine '{recipe.engine}' adds to a model; give the model alone, a subject fits both")
    if recipe.method == INVERSION and model.pipeline != "StableDiffusionPipeline":
        raise FinetuneError(
            f"--method {INVERSION} needs a model with one CLIP text encoder, as Stable Diffusion 1 and 2 have; "
            f"{model.name} is a {model.pipeline}: use --method {DREAMBOOTH}"
        )
    size = recipe.size or TRAINABLE[model.pipeline]
    photos = read_photos(recipe.images, size)
    notes = [*photos.left_out, *_thin(photos.kept), *_spoken(recipe, model)]
    pixels = sorted(each.pixels for each in photos.kept)
    identity = fingerprint("subject", recipe.decisive() | {"size": size}, pixels, model.identity)
    return Prepared(recipe, model, photos.kept, size, identity, tuple(notes))


def _thin(photos: tuple[Photo, ...]) -> list[str]:
    if len(photos) >= ENOUGH:
        return []
    found = f"{len(photos)} picture{'s' if len(photos) > 1 else ''}"
    return [
        f"only {found}: what is around the subject is learned as well; three to five, in several places, are better"
    ]


def _spoken(recipe: SubjectRecipe, model: Model) -> list[str]:
    """A line if the token means something already.

    Raises:
        RecipeError: it cannot be added.
    """
    tokenizer = _tokenizer(model)
    if recipe.method == INVERSION and in_use(recipe.token, tokenizer):
        other = f"<my-{recipe.noun.split()[0]}>"
        raise RecipeError(f"the token '{recipe.token}' is in the vocabulary of {model.name}; write another: {other}")
    if ordinary(recipe.token, tokenizer):
        rare = USUAL[recipe.method].token
        return [f"the token '{recipe.token}' is a word that {model.name} knows, with a meaning; better: --token {rare}"]
    return []


def _tokenizer(model: Model) -> Any:
    from transformers import AutoTokenizer

    with one_line(f"cannot read the tokenizer of {model.name}", "check the folder, or fetch it again"):
        return AutoTokenizer.from_pretrained(model.main.place, subfolder="tokenizer", revision=model.main.commit)
