"""A prepared subject to a folder that `--subjects` reads: draw the class, learn, measure, publish.

The folder: the weights under the name that diffusers loads, and subject.json, written last, with all that led to them.
Twice on a CPU with the same number of threads: the same bytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from augment.errors import FinetuneError
from augment.images.pictures import pixels_of
from augment.records import seed_for
from finetune.subject import loading, prompts
from finetune.subject.families import Family, family_of
from finetune.subject.folder import folder_of, publish
from finetune.subject.inversion import Inversion, Word
from finetune.subject.loop import Lesson, learn, wrong_by
from finetune.subject.lora import DreamBooth, attach
from finetune.subject.prepare import Prepared
from finetune.subject.prior import Prior, draw
from finetune.subject.recipe import INVERSION
from finetune.subject.record import Learned, card_of

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Watch:
    """Who is told how far it is: class pictures drawn of how many, steps done with the last loss. `stop` ends it."""

    drawn: Callable[[int, int], None]
    stepped: Callable[[int, float], None]
    stop: threading.Event


@dataclass(frozen=True)
class Trained:
    """A finished subject. `card` is what subject.json holds; `already` tells that it was there before."""

    path: Path
    card: dict[str, Any]
    seconds: float
    already: bool = False


def train(prepared: Prepared, watch: Watch) -> Trained:
    """Learn the subject and write it into `prepared.recipe.out`.

    Raises:
        FinetuneError: it does not fit into memory, or the loss is not finite.
        Interrupted: `watch.stop` was set; nothing is in the folder, the class's pictures are in the picture store.
        RunError: the folder holds something else, or another process is writing it.
    """
    recipe, started = prepared.recipe, time.monotonic()
    device = loading.device_of()
    dtype = loading.dtype_of(recipe.precision, device)
    with folder_of(recipe.out, prepared.identity, recipe.overwrite) as done:
        if done is not None:
            return Trained(recipe.out, done, 0.0, already=True)
        with _enough_memory():
            pipe = loading.load(prepared.model, dtype)
            family = family_of(pipe, prepared.model.name, device)
            if recipe.gradient_checkpointing:
                family.network.enable_gradient_checkpointing()
            chance = Generator().manual_seed(seed_for(prepared.prompt, recipe.method, 0, recipe.seed))
            with lesson_of(prepared, pipe, family, watch, chance) as (lesson, drawn):
                before = wrong_by(lesson, recipe.batch)
                history = learn(lesson, recipe.steps, recipe.learning_rate, chance, watch.stepped, watch.stop)
                learned = Learned(history, before, wrong_by(lesson, recipe.batch), drawn, lesson.parameters)
                weights = lesson.saved(pipe)
        card = card_of(prepared, learned, device, dtype)
        written = publish(recipe.out, recipe.method, weights, card)
        return Trained(recipe.out, written, round(time.monotonic() - started, 1))


@contextmanager
def lesson_of(
    prepared: Prepared, pipe: Any, family: Family, watch: Watch, chance: Generator
) -> Iterator[tuple[Lesson, list[str]]]:
    """What is to be learned, where it is learned, and the digests of the class's pictures; all else is put away."""
    begin = _inversion if prepared.recipe.method == INVERSION else _dreambooth
    with begin(prepared, pipe, family, watch, chance) as found:
        yield found


@contextmanager
def _dreambooth(
    prepared: Prepared, pipe: Any, family: Family, watch: Watch, chance: Generator
) -> Iterator[tuple[Lesson, list[str]]]:
    """The network with a LoRA; the class is drawn before that."""
    recipe, device = prepared.recipe, family.device
    prior = prior_of(prepared, device, family.dtype)
    with loading.drawing(pipe, device):
        squares = draw(pipe, prior, watch.drawn, watch.stop)
    latents = latents_of(pipe, family, [each.square for each in prepared.photos])
    others = latents_of(pipe, family, squares) if squares else None
    with torch.no_grad(), loading.at(device, *loading.readers(pipe)):
        said = family.words([prepared.prompt])
        of_class = family.words([prior.prompt])
    parameters = attach(family.network, recipe.rank, recipe.seed)
    with loading.at(device, family.network):
        yield (
            DreamBooth(
                family,
                parameters,
                (latents, said),
                None if others is None else (others, of_class),
                recipe.batch,
                recipe.prior_weight,
                chance,
            ),
            [pixels_of(each) for each in squares],
        )


@contextmanager
def _inversion(
    prepared: Prepared, pipe: Any, family: Family, _watch: Watch, chance: Generator
) -> Iterator[tuple[Lesson, list[str]]]:
    """The frozen network and the text encoder with a new word."""
    recipe = prepared.recipe
    latents = latents_of(pipe, family, [each.square for each in prepared.photos])
    sentences = prompts.views_of(recipe.token, recipe.noun)
    with loading.at(family.device, family.network, pipe.text_encoder):
        word = Word(pipe, recipe.token, recipe.noun)
        yield Inversion(family, word, latents, sentences, recipe.batch, chance), []


def prior_of(prepared: Prepared, device: torch.device, dtype: torch.dtype) -> Prior:
    """The class's pictures, as this machine draws them."""
    recipe, model = prepared.recipe, prepared.model
    machine = (str(dtype), device.type, torch.__version__, str(torch.get_num_threads()) if device.type == "cpu" else "")
    return Prior(
        (model.name, *model.identity, *machine),
        prompts.of_class(recipe.noun),
        recipe.prior_images,
        prepared.size,
        recipe.prior_steps,
        recipe.seed,
    )


def latents_of(pipe: Any, family: Family, squares: Sequence[Image]) -> Tensor:
    """The latents of pictures, one at a time and in float32: some VAEs overflow in less."""
    pipe.vae.to(torch.float32)
    with torch.no_grad(), loading.at(family.device, pipe.vae):
        found = [family.latents(pixels_in(each)) for each in squares]
    return torch.cat(found).to(family.device)


def pixels_in(square: Image) -> Tensor:
    """(1, 3, height, width), from -1 to 1."""
    values = torch.from_numpy(np.asarray(square, dtype=np.float32) / 127.5 - 1)
    return values.permute(2, 0, 1)[None]


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Turns the lack of memory into one line."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise FinetuneError(
            "the GPU's memory is not enough; add --gradient-checkpointing, or give a smaller --batch or --size"
        ) from None
