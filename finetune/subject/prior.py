"""Prior preservation: pictures of other things of the subject's class, drawn by the base itself before it learns.

Without them a model forgets what a class looks like, and draws the subject whenever it is asked for one (Ruiz et al.
2023, §3.2). Each picture's seed comes from its number, and it is kept in the picture store: the next training of the
same base and noun draws none again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augment.errors import FinetuneError, Interrupted
from augment.images.stamp import DRAWN, stamped
from augment.images.store import pictures
from augment.records import fingerprint, seed_for

if TYPE_CHECKING:
    from PIL.Image import Image

AT_ONCE = 4
"""Pictures a call; the last call is filled up, so that no picture depends on how many are drawn."""


@dataclass(frozen=True)
class Prior:
    """The pictures that `model` draws from `prompt`: its name, revision, precision and whatever else decides pixels."""

    model: tuple[str, ...]
    prompt: str
    count: int
    size: int
    steps: int | None
    seed: int

    def name(self, number: int) -> str:
        """What its picture of that number is called in the picture store."""
        said = (self.model, self.prompt, self.size, self.steps, self.seed_of(number), AT_ONCE)
        return fingerprint("class picture", *said)

    def seed_of(self, number: int) -> int:
        """The seed of the picture of that number."""
        return seed_for(self.prompt, "subject", number, self.seed)


def missing(prior: Prior) -> list[int]:
    """The numbers of those that the picture store does not have."""
    return [number for number in range(prior.count) if prior.name(number) not in pictures()]


def draw(pipe: Any, prior: Prior, tell: Callable[[int, int], None], stop: threading.Event) -> list[Image]:
    """The pictures, drawn where they are missing, without those that the base's safety checker refused.

    `tell` takes the number of those that are there, and of all.

    Raises:
        FinetuneError: every one was refused.
        Interrupted: `stop` was set; those that are drawn are kept.
    """
    todo = missing(prior)
    for at in range(0, len(todo), AT_ONCE):
        if stop.is_set():
            raise Interrupted("stopped while the class was drawn")
        _call(pipe, prior, todo[at : at + AT_ONCE])
        tell(prior.count - len(todo) + min(at + AT_ONCE, len(todo)), prior.count)
    names = [prior.name(number) for number in range(prior.count)]
    found = [pictures().open(name) for name in names if name in pictures()]
    if prior.count and not found:
        raise FinetuneError(
            f"the base's safety checker refused all {prior.count} pictures of '{prior.prompt}'; choose another --noun, "
            "or add --no-prior"
        )
    return found


def _call(pipe: Any, prior: Prior, numbers: Sequence[int]) -> None:
    """Draw these and keep them, all but black squares."""
    import torch

    filled = [*numbers, *[numbers[-1]] * (AT_ONCE - len(numbers))]
    more = {} if prior.steps is None else {"num_inference_steps": prior.steps}
    done = pipe(
        prompt=[prior.prompt] * AT_ONCE,
        width=prior.size,
        height=prior.size,
        generator=[torch.Generator().manual_seed(prior.seed_of(each)) for each in filled],
        **more,
    )
    flagged = getattr(done, "nsfw_content_detected", None) or [False] * AT_ONCE
    for number, picture, bad in zip(numbers, done.images, flagged, strict=False):
        if not bad:
            recipe = {"prompt": prior.prompt, "model": list(prior.model), "seed": prior.seed_of(number)}
            pictures().put(prior.name(number), stamped(picture, recipe, DRAWN))
