"""Teachers of texts: they learn the labels from the seeds alone, and judge what was made of other seeds.

As those of pictures (`filters.pictures.teacher`) they are ridge regressions, cross-fitted: each leaves out the seeds of
one fold, and a variant is judged by the one that never saw its parent. They see vectors of `filters.embeddings`, so
that without a model they know wording and not meaning: enough to tell topics, too little to tell moods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment.records import fingerprint
from filters.embeddings import SCALE, Vectors

Weights = NDArray[np.float64]
_RIDGE = 0.1
"""Beside the mean weight of a row: on the bundled questions .03 to 1 make no difference beyond chance."""
_SHARPEST = np.geomspace(1, 40, 38)  # factors that scores are tried with


@dataclass(frozen=True)
class Teachers:
    """`weights` are one matrix a fold, `fold_of` says which leaves a seed out; `sharpen` makes scores probabilities."""

    labels: tuple[str, ...]
    fold_of: Mapping[str, int]
    weights: tuple[Weights, ...]
    sharpen: float

    def probabilities(self, vectors: Vectors, parents: Sequence[str | None]) -> NDArray[np.float64]:
        """For each text the probability of each label, by the teacher that did not see its parent.

        A text without a parent among the seeds is judged by all teachers, and their probabilities are averaged.
        """
        seen = _seen(vectors)
        folds = [None if parent is None else self.fold_of.get(parent) for parent in parents]
        by_all = [_shares(seen @ each, self.sharpen) for each in self.weights]
        rows = [
            np.mean([each[at] for each in by_all], axis=0) if fold is None else by_all[fold][at]
            for at, fold in enumerate(folds)
        ]
        return np.array(rows, dtype=np.float64).reshape(len(parents), len(self.labels))


def teach(
    ids: Sequence[str], texts: Sequence[str], vectors: Vectors, labels: Sequence[str], folds: int = 10
) -> Teachers:
    """Teachers of the seeds called `ids`: the same for the same seeds, in whatever order.

    Each label is dealt out over the folds evenly; equal texts are in one fold. Every label counts alike.
    """
    order = sorted(range(len(ids)), key=lambda at: ids[at])
    known = tuple(sorted(set(labels)))
    seen, targets = _seen(vectors[order]), np.array([known.index(labels[at]) for at in order])
    fold_of = _dealt([ids[at] for at in order], [texts[at] for at in order], [labels[at] for at in order], folds)
    fold = np.array([fold_of[ids[at]] for at in order])
    share = 1 / np.bincount(targets, minlength=len(known))[targets]
    wanted = np.eye(len(known))[targets]
    rows = [np.flatnonzero(fold == left) for left in range(int(fold.max()) + 1)]
    sums = [
        ((seen[own] * share[own, None]).T @ seen[own], (seen[own] * share[own, None]).T @ wanted[own]) for own in rows
    ]
    square, product = sum(each for each, _ in sums), sum(each for _, each in sums)
    ridge = _RIDGE * float(share.mean()) * np.eye(seen.shape[1])
    weights = tuple(np.linalg.solve(square - own + ridge, product - told) for own, told in sums)
    scores = np.stack([one @ weights[left] for one, left in zip(seen, fold, strict=True)])
    _, sharpen = min((_loss(scores, targets, float(each)), float(each)) for each in _SHARPEST)
    return Teachers(known, fold_of, weights, sharpen)


def _dealt(ids: Sequence[str], texts: Sequence[str], labels: Sequence[str], folds: int) -> dict[str, int]:
    """The fold of each seed, numbered from 0 without gaps."""
    fold_of_text: dict[str, int] = {}
    dealt: dict[str, int] = {}
    for at in sorted(range(len(ids)), key=lambda at: (labels[at], fingerprint(ids[at]))):
        if texts[at] not in fold_of_text:
            fold_of_text[texts[at]] = dealt.get(labels[at], 0) % folds
            dealt[labels[at]] = dealt.get(labels[at], 0) + 1
    return {id: fold_of_text[text] for id, text in zip(ids, texts, strict=True)}


def _seen(vectors: Vectors) -> NDArray[np.float64]:
    """Vectors of length 1 and a constant."""
    return np.concatenate([vectors.astype(np.float64) / SCALE, np.full((len(vectors), 1), 0.5)], axis=1)


def _shares(scores: NDArray[np.float64], sharpen: float) -> NDArray[np.float64]:
    powers = np.exp((scores - scores.max(axis=-1, keepdims=True)) * sharpen)
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _loss(scores: NDArray[np.float64], targets: NDArray[np.int64], sharpen: float) -> float:
    own = _shares(scores, sharpen)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(own, 1e-12)).mean())
