"""Who says what a picture shows: the user's classifier, teachers of the seeds, or a CLIP that was told the labels.

And how often a judge turns away real pictures, whose labels are known: its false rejects.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.errors import RecipeError
from filters import Context
from filters.fold import fold
from filters.pictures.models import Classifier, Twin, remembered
from filters.pictures.teacher import Teachers, teach

if TYPE_CHECKING:
    from filters.pictures.label_check import LabelCheck

log = logging.getLogger(__name__)

LEAST_SEEDS, LEAST_CLASSES = 3, 2
"""Seeds of a class, and classes of so many seeds, without which there is nothing to learn a class from."""
MEASURED = 400
"""Real pictures at most that a judge is measured on."""


class Judge(Protocol):
    """`columns` says where each label that it can judge is among its probabilities, `names` what to call each."""

    @property
    def kind(self) -> str: ...
    @property
    def columns(self) -> Mapping[str, int]: ...
    @property
    def names(self) -> Sequence[str]: ...

    def probabilities(self, images: Sequence[str], parents: Sequence[str | None]) -> NDArray[np.float64]:
        """For each picture the probability of each of `names`."""
        ...


@dataclass(frozen=True)
class Judgement:
    """Of one picture: the likeliest label, the probability of its own, and whether it is accepted."""

    label: str
    score: float
    right: bool


def judged(
    judge: Judge, images: Sequence[str], parents: Sequence[str | None], labels: Sequence[str]
) -> list[Judgement]:
    """What a judge says of pictures, each beside its own label, one of `judge.columns`."""
    if not images:
        return []
    found = np.round(judge.probabilities(images, parents), 4)
    own = [judge.columns[label] for label in labels]
    return [
        Judgement(judge.names[int(top)], float(shares[column]), bool(shares[column] >= shares[top]))
        for shares, top, column in zip(found, found.argmax(axis=1), own, strict=True)
    ]


def false_rejects(judge: Judge, real: pl.DataFrame, threshold: float, seeds: bool) -> dict[str, Any]:
    """The share of real pictures (`id`, `image`, `label`) that a judge turns away, and of how many.

    With `seeds` each is judged by those that did not see it. {"false_rejects": .04, "of": 90, "judge": "teacher",
    "on": "seeds"}; the share is None where there is no picture to measure it on.
    """
    known = real.filter(pl.col("image").is_not_null() & pl.col("label").is_in(list(judge.columns)))
    known = known.sort("id").head(MEASURED)
    ids, labels = known["id"].to_list(), known["label"].to_list()
    said = judged(judge, known["image"].to_list(), ids if seeds else [None] * len(ids), labels)
    wrong = sum(not each.right or each.score < threshold for each in said)
    share = wrong / len(said) if said else None
    return {"false_rejects": share, "of": len(said), "judge": judge.kind, "on": "seeds" if seeds else "exam"}


def appointed(check: LabelCheck, context: Context) -> tuple[Judge | None, dict[str, Any] | None]:
    """The judge that the settings and the seeds allow, with its false rejects; None, with a warning, if there is none.

    Raises:
        RecipeError: a model cannot be loaded, or knows none of the labels.
    """
    seeds = context.seeds.filter(pl.col("label").is_not_null() & pl.col("image").is_not_null())
    judge = _judge(check, context, seeds)
    if judge is None:
        return None, None
    held = false_rejects(judge, context.exam, check.threshold, seeds=False) if len(context.exam) else {"of": 0}
    return judge, held if held["of"] else false_rejects(judge, seeds, check.threshold, seeds=True)


def _judge(check: LabelCheck, context: Context, seeds: pl.DataFrame) -> Judge | None:
    if check.model:
        model = remembered(context.memory, Classifier, check.model, "label_check.model")
        return _Classifier.of(model, seeds, check)
    teachers = _Teachers.of(seeds, check)
    why = f"too few seeds to judge by: fewer than {LEAST_CLASSES} classes have {LEAST_SEEDS}"
    if teachers is not None:
        quality = false_rejects(teachers, seeds, check.threshold, seeds=True)
        if quality["false_rejects"] <= 1 - check.trust:
            return teachers
        share, of = 100 * quality["false_rejects"], quality["of"]
        why = f"its teachers would drop {share:.0f} % of {of} seeds that they had not seen, and judge nothing"
    if check.clip:
        return _ZeroShot.of(remembered(context.memory, Twin, check.clip, "label_check.clip"), seeds, check)
    log.warning("label check: %s; name a classifier with --set label_check.model=FOLDER", why)
    return None


def _countable(seeds: pl.DataFrame) -> list[str]:
    counted = seeds.group_by("label").len()
    return sorted(counted.filter(pl.col("len") >= LEAST_SEEDS)["label"])


@dataclass(frozen=True)
class _Teachers:
    teachers: Teachers
    columns: Mapping[str, int]
    kind: str = "teacher"

    @property
    def names(self) -> Sequence[str]:
        return self.teachers.labels

    @classmethod
    def of(cls, seeds: pl.DataFrame, check: LabelCheck) -> _Teachers | None:
        known = _countable(seeds)
        if len(known) < LEAST_CLASSES:
            return None
        told = (seeds[name].to_list() for name in ("id", "image", "label"))
        teachers = teach(*told, folds=check.folds, side=check.side)
        return cls(teachers, {label: teachers.labels.index(label) for label in known})

    def probabilities(self, images: Sequence[str], parents: Sequence[str | None]) -> NDArray[np.float64]:
        return self.teachers.probabilities(images, parents)


@dataclass(frozen=True)
class _Classifier:
    model: Classifier
    names: tuple[str, ...]
    columns: Mapping[str, int]
    kind: str = "classifier"

    @classmethod
    def of(cls, model: Classifier, seeds: pl.DataFrame, check: LabelCheck) -> _Classifier:
        theirs: dict[str, int] = {}
        for column, known in enumerate(model.labels):
            for name in (known, *known.split(",")):
                theirs.setdefault(_plain(name), column)
        ours = sorted(seeds["label"].unique())
        columns = {label: theirs[_plain(label)] for label in ours if _plain(label) in theirs}
        if ours and not columns:
            raise RecipeError(
                f"label_check.model: {check.model} knows none of the labels {', '.join(ours[:5])}; its own are "
                f"{', '.join(model.labels[:5])}: name its classes in config.json (id2label) as the dataset does"
            )
        names = list(model.labels)
        for label, column in columns.items():
            names[column] = label
        return cls(model, tuple(names), columns)

    def probabilities(self, images: Sequence[str], parents: Sequence[str | None]) -> NDArray[np.float64]:
        return self.model.probabilities(images)


@dataclass(frozen=True)
class _ZeroShot:
    twin: Twin
    names: tuple[str, ...]
    words: NDArray[np.float64]
    columns: Mapping[str, int]
    kind: str = "clip"

    @classmethod
    def of(cls, twin: Twin, seeds: pl.DataFrame, check: LabelCheck) -> _ZeroShot | None:
        names = tuple(sorted(seeds["label"].unique()))
        if len(names) < LEAST_CLASSES:
            return None
        words = twin.texts([check.prompt.replace("{label}", each) for each in names])
        return cls(twin, names, words, {name: at for at, name in enumerate(names)})

    def probabilities(self, images: Sequence[str], parents: Sequence[str | None]) -> NDArray[np.float64]:
        logits = self.twin.scale * self.twin.images(images) @ self.words.T
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return found


def _plain(label: str) -> str:
    """A label without case, width, punctuation and underscores."""
    return str(fold(pl.Series([label.replace("_", " ")]))[0])
