"""What the user wrote about a subject, from flags, checked at the edge; and what each method does unless told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from augment.errors import RecipeError
from augment.images.canvas import GRAIN
from augment.images.subjects import WEIGHTS
from augment.recipe import read_keys
from augment.registry import closest

METHODS = tuple(WEIGHTS)
DREAMBOOTH, INVERSION = "dreambooth-lora", "textual-inversion"


@dataclass(frozen=True)
class Usual:
    """A method's own token, steps, learning rate and pictures a step: a start, for five pictures of one thing."""

    token: str
    steps: int
    learning_rate: float
    batch: int


USUAL = {DREAMBOOTH: Usual("sks", 500, 1e-4, 1), INVERSION: Usual("<subject>", 2000, 2e-3, 4)}


def _word(value: str) -> str:
    if not value.strip() or len(value.split()) != 1 or value != value.strip():
        raise ValueError(f"{value!r} is no token; write one word without spaces")
    return value


def _told(value: str) -> str:
    if not value.strip() or len(value) > 80 or not value.isprintable():
        raise ValueError(f"{value[:80]!r} is no name; write a word or two")
    return value.strip()


def _grained(value: int | None) -> int | None:
    if value is not None and value % GRAIN:
        raise ValueError(f"'{value}' is no multiple of {GRAIN}; write {max(GRAIN, round(value / GRAIN) * GRAIN)}")
    return value


Name = Annotated[str, AfterValidator(_told)]


class SubjectRecipe(BaseModel):
    """A subject to learn, as written. Every field is a flag of `augment subject`.

    `noun` is what the subject is ("dog"), `label` the class of the rows that it is drawn for. `size` is the side of the
    square that is learned, in pixels. `prior_images` pictures of other things of the noun, drawn by the base, keep it
    from forgetting them; `prior_weight` is what they count beside the subject's (λ of Ruiz et al. 2023, eq. 2).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Path
    method: str = DREAMBOOTH
    engine: str
    out: Path
    noun: Name
    token: Annotated[str, AfterValidator(_word), Field(max_length=40)]
    label: Name | None = None
    steps: Annotated[int, Field(ge=1, le=1_000_000)]
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    learning_rate: Annotated[float, Field(gt=0, lt=10)]
    batch: Annotated[int, Field(ge=1, le=256)]
    size: Annotated[int | None, Field(ge=16, le=4096), AfterValidator(_grained)] = None
    prior_images: Annotated[int, Field(ge=0, le=10_000)] = 100
    prior_weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    prior_steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    accept_licence: bool = False
    overwrite: bool = False

    def decisive(self) -> dict[str, Any]:
        """The keys that decide what is learned: not where it is read from or written to."""
        aside = {"images", "out", "overwrite", "accept_licence", "engine"}
        return self.model_dump(mode="json", exclude=aside)


def read_subject_recipe(flags: Mapping[str, Any]) -> SubjectRecipe:
    """The recipe of `flags` (unset ones are None), with what the method does where nothing is said.

    Raises:
        RecipeError: a flag is missing, or its value makes no sense; the flag is named.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    examples = {
        "images": "--images photos/, a folder with a few pictures of it",
        "engine": "--engine diffusers:Tongyi-MAI/Z-Image, or diffusers:FOLDER",
        "out": "--out subjects/mine",
    }
    for name, example in examples.items():
        if not given.get(name):
            raise RecipeError(f"no {name} given; try {example}")
    method = given.setdefault("method", DREAMBOOTH)
    if method not in METHODS:
        raise RecipeError(f"no method called '{method}'; {closest(method, list(METHODS))}")
    if "noun" not in given and "label" not in given:
        raise RecipeError("no noun given: what is it? try --noun dog")
    given.setdefault("noun", given.get("label"))
    if method == INVERSION:
        for name in ("rank", "prior_images", "prior_weight", "prior_steps"):
            if given.get(name):
                raise RecipeError(f"--{name.replace('_', '-')} is for --method {DREAMBOOTH}; leave it out")
        given["prior_images"] = 0
    return read_keys(SubjectRecipe, {**vars(USUAL[method]), **given}, None, "subject")
