"""`pretrain`: rows to a model in a folder; stopped or killed at any moment, the same call ends with the same bytes."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from augment.errors import FinetuneError, Interrupted
from augment.lock import holding
from augment.manifest import publish
from augment.terminal import PLAIN_EVERY
from finetune.pretrain.folder import CHECKPOINT, RECORD, clear, finished, identity_of, refuse_foreign
from finetune.pretrain.lessons import lessons_of, wordings
from finetune.pretrain.recipe import PretrainRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetune.pretrain.course import Course
    from finetune.pretrain.learner import Learner

THREADS = 1
"""Of every training, whatever the machine has: another number rounds sums in another order. Two are no faster on
matrices of this size, and four times slower where another process has one of the cores: they wait for each other.
"""
SAVES = 20
"""How often a training is saved."""


@dataclass(frozen=True)
class Pretrained:
    """A finished model. `record` is what pretrain.json holds; `already` tells that it was there before."""

    path: Path
    record: dict[str, Any]
    already: bool = False


def pretrain(
    recipe: PretrainRecipe,
    rows: pl.DataFrame,
    held: pl.DataFrame,
    out: Path,
    *,
    tell: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Pretrained:
    """Teach a new model `rows`, or go on where an earlier process stopped, and write it into `out`.

    Both frames have id, prompt, response and label; `held` is only measured on. What another recipe or other rows left
    in `out` is written over.

    Raises:
        FinetuneError: there is nothing to learn or to measure, or the loss is not finite.
        Interrupted: `stop` was set; the same call goes on.
        RunError: the folder holds something else, or another process is writing it.
    """
    for frame, what in ((rows, "learn from"), (held, "measure on")):
        if frame.is_empty():
            raise FinetuneError(
                f"pre-training has no rows to {what}; give a larger source, or another validation share"
            )
    identity = identity_of(recipe, rows, held)
    with holding(out, refuse_foreign):
        if (record := finished(out, identity)) is not None:
            (out / CHECKPOINT).unlink(missing_ok=True)  # its process was killed between the manifest and this
            return Pretrained(out, record, already=True)
        record = _trained(recipe, rows, held, out, identity, tell, stop or threading.Event())
    return Pretrained(out, record)


def _trained(
    recipe: PretrainRecipe,
    rows: pl.DataFrame,
    held: pl.DataFrame,
    out: Path,
    identity: str,
    tell: Callable[[str], None],
    stop: threading.Event,
) -> dict[str, Any]:
    from finetune.model import quiet
    from finetune.pretrain.course import Course
    from finetune.pretrain.learner import Learner, identity_in
    from finetune.pretrain.measure import Measure
    from finetune.pretrain.words import tokenizer_of

    quiet()
    checkpoint = out / CHECKPOINT
    mine = identity_in(checkpoint) == identity
    clear(out, {CHECKPOINT} if mine else set())
    with _threads(THREADS):
        lessons = lessons_of(rows, recipe.variants, recipe.seed)
        tokenizer = tokenizer_of(wordings(lessons), recipe.vocabulary)
        course = Course(recipe, lessons, tokenizer)
        if not course.taught:
            raise FinetuneError(
                f"no row can be taught: none has a rewording that fits into length {recipe.length}; "
                'give a larger length, or teach = ["text"]'
            )
        measure = Measure(lessons, lessons_of(held, 0, recipe.seed), tokenizer)
        learner = Learner(recipe, tokenizer)
        before = measure.loss(learner)
        if mine:
            learner.restore(checkpoint)
            tell(f"pre-training goes on at step {learner.step:,} of {recipe.steps:,}")
        else:
            tell(f"pre-training {learner.parameters:,} parameters on {len(lessons):,} rows, {recipe.steps:,} steps")
        _learn(learner, course, checkpoint, identity, tell, stop)
        record = {
            "identity": identity,
            "recipe": recipe.model_dump(mode="json"),
            "rows": len(lessons),
            "parameters": learner.parameters,
            "vocabulary": len(tokenizer),
            "steps": learner.step,
            **course.told,
            "held": measure.told(before, measure.loss(learner)),
        }
        _publish(out, learner, tokenizer, record)
    checkpoint.unlink(missing_ok=True)
    return record


def _learn(
    learner: Learner,
    course: Course,
    checkpoint: Path,
    identity: str,
    tell: Callable[[str], None],
    stop: threading.Event,
) -> None:
    steps = course.recipe.steps
    every = max(1, steps // SAVES)
    said = time.monotonic()
    for batches in islice(course.steps(), learner.step, steps):
        loss = learner.learn(batches)
        stopped = stop.is_set() and learner.step < steps
        if learner.step % every == 0 or learner.step == steps or stopped:
            learner.save(checkpoint, identity)
        if stopped:
            raise Interrupted(f"pre-training stopped at step {learner.step:,} of {steps:,}")
        if time.monotonic() - said >= PLAIN_EVERY:
            said = time.monotonic()
            tell(f"pre-training: step {learner.step:,} of {steps:,}, loss {loss:.3f}")


def _publish(out: Path, learner: Learner, tokenizer: PreTrainedTokenizerBase, record: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        learner.model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        files = {each.name: each.read_bytes() for each in sorted(folder.iterdir())}
    files[RECORD] = orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    publish(out, files, {"identity": record["identity"]})


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
