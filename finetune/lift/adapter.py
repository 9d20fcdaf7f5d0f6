"""The thorough judge: an adapter is fine-tuned on each arm, and answers the exam.

An arm's rows go to the fine-tuning stage as a file of conversations in the lift's own folder, where a row may be
repeated; nothing of the exam is in it, and no row is kept for validation. All arms but *real* take the same number of
optimizer steps, those that the augmented rows take; *real* takes what its few rows take in as many epochs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.errors import RunError
from finetune.lift.arms import AUGMENTED, REAL, Arm, Design, Draw, by_label, everything, unlabelled
from finetune.lift.pool import Pool
from finetune.model import open_base
from finetune.prepare import Prepared, prepare
from finetune.recipe import FinetuneRecipe
from finetune.train import train


class Score(Protocol):
    """Judges a trained adapter: a number for each row, NaN where a row has none."""

    metric: str
    higher_is_better: bool

    def settings(self) -> dict[str, Any]:
        """What decides the scores, for the record."""

    def __call__(self, adapter: Path, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Scores of the adapter in the folder `adapter` on `rows`, which have id, prompt, response and label."""


@dataclass
class Adapting:
    """Fine-tunes `recipe` on an arm's rows and has `score` judge the adapter. `recipe.data` is not read.

    Trainings and scores that a killed process left in the work folder are used, not made again.
    """

    recipe: FinetuneRecipe
    score: Score
    tell: Callable[[str], None] = lambda _: None
    _steps: dict[int, int] = field(default_factory=dict, init=False)

    @property
    def metric(self) -> str:
        """What the score is called."""
        return self.score.metric

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better."""
        return self.score.higher_is_better

    def settings(self) -> dict[str, Any]:
        """What decides the scores, for the record."""
        recipe = self.recipe
        base = open_base(recipe.base, recipe.revision, recipe.trust_remote_code)
        learned = recipe.decisive()
        for name in ("base", "data", "map", "seed", "validation", "task"):
            learned.pop(name)
        told = {name: learned.pop(name) for name in ("adapter", "rank", "objective", "epochs", "batch")}
        return {
            "model": base.name,
            **told,
            "revision": base.revision,
            "recipe": learned,
            "score": self.score.settings(),
        }

    def __call__(self, draw: Draw, arm: Arm, work: Path) -> NDArray[np.float64]:
        """A score for each row of `draw.test`, of an adapter that learned `arm`."""
        name = f"{arm.name.replace(', ', '-').replace(' ', '-')}-{draw.number}"
        kept = work / "scores" / f"{name}.json"
        if kept.is_file():
            found = json.loads(kept.read_text("utf-8"))
            if found["rows"] == draw.test["id"].to_list():
                return np.array([np.nan if each is None else each for each in found["scores"]], dtype=np.float64)
        most = None if arm.name == REAL else self._steps_of(draw, work)
        trained = train(self._prepared(draw, arm, name, work, most), tell=self.tell)
        scores = self.score(trained.path, draw.test)
        found = {"rows": draw.test["id"].to_list(), "scores": [None if np.isnan(each) else each for each in scores]}
        _write(kept, json.dumps(found))
        return scores

    def _steps_of(self, draw: Draw, work: Path) -> int:
        """How many steps the augmented rows take: counted from their tokens, so that packing and lengths are in it."""
        if draw.number not in self._steps:
            arm = next(each for each in draw.arms if each.name == AUGMENTED)
            counted = self._prepared(draw, arm, f"{arm.name}-{draw.number}", work, None)
            self._steps[draw.number] = counted.forecast.steps
        return self._steps[draw.number]

    def _prepared(self, draw: Draw, arm: Arm, name: str, work: Path, steps: int | None) -> Prepared:
        data = work / "data" / f"{name}.jsonl"
        _write(data, "".join(conversation(*row) for row in arm.rows.select("prompt", "response").iter_rows()))
        place: dict[str, Any] = {"data": str(data), "map": {}, "out": work / "adapters" / name, "overwrite": True}
        place |= {"seed": draw.seed, "validation": 0.0, "task": "chat"}
        if steps is not None:
            place |= {"epochs": float(steps), "max_steps": steps}  # an epoch has a step at least
        return prepare(self.recipe.model_copy(update=place))


def answered(pool: Pool) -> Pool:
    """The pool's rows that have an answer to learn.

    Raises:
        RunError: there is none.
    """
    told = pl.col("response").str.strip_chars().str.len_chars() > 0
    seeds = pool.seeds.filter(told)
    if seeds.is_empty():
        raise RunError(
            f"no seed of {pool.run} has a response to learn; name its column when the run is made "
            "(--map response=COLUMN), or measure with --task classify"
        )
    return replace(pool, seeds=seeds, variants=pool.variants.filter(told), exam=pool.exam.filter(told))


def design_of(pool: Pool, shots: int | None) -> Design:
    """Draws of `shots` seeds a label (in all, where there are no labels); of all seeds where `shots` is None.

    Raises:
        RunError: nothing is left to test on, or there are too few seeds.
    """
    if shots is not None:
        return by_label(pool, shots) if pool.seeds["label"].is_not_null().any() else unlabelled(pool, shots)
    if pool.exam.is_empty():
        raise RunError(
            f"no exam to test on: {pool.notes[0] if pool.notes else f'{pool.run} held none out'}; "
            "give --shots 50 to draw so many seeds and test on the others"
        )
    return everything(pool)


def conversation(prompt: str, response: str) -> str:
    """A line of the file that an arm's rows are written to."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return json.dumps({"messages": turns}, ensure_ascii=False) + "\n"


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".tmp")
    beside.write_text(text, "utf-8")
    beside.replace(target)
