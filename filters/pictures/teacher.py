"""Teachers: they learn the classes from the seeds alone, and judge what was made of other seeds.

Trained on the seeds with classical operations and cross-fitted: each teacher leaves out the seeds of one fold, and a
picture is judged by the one that never saw its parent. One that did would recognise the parent in it, whatever became
of it.

A teacher is a ridge regression of the classes on what pictures look like (`filters.pictures.look`), and its scores are
made probabilities by a factor fitted on the seeds it left out. Leaving out a fold subtracts its sums, so that five
teachers cost one pass over the copies: seconds, without torch. Of the bundled pictures (12 a class, 6 classes) they
know 84 % that they did not see, of digits with 5 a class 91 %. Convolutional networks trained on the same copies knew
84 % and 93 % in ten times the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment.records import fingerprint, seed_for
from filters.pictures.copies import changed, small
from filters.pictures.look import look

Weights = NDArray[np.float64]
COPIES = 40
"""At most, of a seed; fewer where there are so many seeds that they make `ROWS` copies."""
ROWS = 3000
_LEAST_COPIES = 2
_RIDGE = 0.01  # of the mean variance; ten times as much or as little makes no difference beyond chance
_SHARPEST = np.geomspace(1, 40, 38)  # factors that scores are tried with


@dataclass(frozen=True)
class Teachers:
    """`weights` are one matrix a fold, `fold_of` says which leaves a seed out.

    `sharpen` turns scores into probabilities; with `flip` they learnt from mirrored copies too.
    """

    labels: tuple[str, ...]
    side: int
    fold_of: Mapping[str, int]
    weights: tuple[Weights, ...]
    sharpen: float
    flip: bool

    def probabilities(self, names: Sequence[str], parents: Sequence[str | None]) -> NDArray[np.float64]:
        """For each picture the probability of each label, by the teacher that did not see its parent.

        A picture without a parent among the seeds is judged by all teachers, and their probabilities are averaged.
        """
        found = np.zeros((len(names), len(self.labels)))
        for at, (name, parent) in enumerate(zip(names, parents, strict=True)):
            fold = None if parent is None else self.fold_of.get(parent)
            asked = self.weights if fold is None else (self.weights[fold],)
            seen = _seen(small([name], self.side))  # one by one: sums over several pictures round by their number
            found[at] = np.mean([_shares(seen @ each, self.sharpen)[0] for each in asked], axis=0)
        return found


def teach(
    ids: Sequence[str], images: Sequence[str], labels: Sequence[str], *, folds: int = 5, side: int = 32
) -> Teachers:
    """Teachers of the seeds called `ids`: the same for the same seeds, in whatever order.

    Each class is dealt out over the folds evenly; equal pictures are in one fold. Mirrored copies are learnt from where
    that tells the seeds that were left out better: it does for fish, and does not for digits.
    """
    order = sorted(range(len(ids)), key=lambda at: ids[at])
    ids, images, labels = ([each[at] for at in order] for each in (ids, images, labels))
    known = tuple(sorted(set(labels)))
    fold_of = _dealt(ids, images, labels, folds)
    folds = len(set(fold_of.values()))  # no more than the largest class has pictures
    values, targets = small(images, side), np.array([known.index(label) for label in labels])
    fold = np.array([fold_of[id] for id in ids])
    best: tuple[float, Teachers] | None = None
    for flip in (True, False):
        rng = np.random.default_rng(seed_for(fingerprint(ids), "teacher", int(flip)))
        weights = _fitted(values, targets, fold, len(known), folds, flip, rng)
        scores = np.stack([_seen(one[None])[0] @ weights[left] for one, left in zip(values, fold, strict=True)])
        loss, sharpen = min((_loss(scores, targets, float(each)), float(each)) for each in _SHARPEST)
        if best is None or loss < best[0]:
            best = loss, Teachers(known, side, fold_of, weights, sharpen, flip)
    assert best is not None
    return best[1]


def _dealt(ids: Sequence[str], images: Sequence[str], labels: Sequence[str], folds: int) -> dict[str, int]:
    fold_of_image: dict[str, int] = {}
    dealt: dict[str, int] = {}
    for at in sorted(range(len(ids)), key=lambda at: (labels[at], fingerprint(ids[at]))):
        if images[at] not in fold_of_image:
            fold_of_image[images[at]] = dealt.get(labels[at], 0) % folds
            dealt[labels[at]] = dealt.get(labels[at], 0) + 1
    return {id: fold_of_image[image] for id, image in zip(ids, images, strict=True)}


def _fitted(
    values: NDArray[np.float32],
    targets: NDArray[np.int64],
    fold: NDArray[np.int64],
    classes: int,
    folds: int,
    flip: bool,
    rng: np.random.Generator,
) -> tuple[Weights, ...]:
    """The weights of the teacher that leaves out each fold; every class counts alike."""
    copies = max(_LEAST_COPIES, min(COPIES, ROWS // len(values)))
    share = 1 / np.bincount(targets, minlength=classes)[targets] / copies
    wanted = np.eye(classes)[targets]
    sums: list[tuple[Weights, Weights]] = []
    for left in range(folds):
        rows = np.flatnonzero(fold == left)
        seen = [_seen(values[rows]), *(_seen(changed(values[rows], rng, flip)) for _ in range(copies - 1))]
        weighted = [each * share[rows, None] for each in seen]
        square = sum(
            (one.T @ other for one, other in zip(weighted, seen, strict=True)), np.zeros((seen[0].shape[1],) * 2)
        )
        sums.append((square, sum(weighted).T @ wanted[rows]))  # type: ignore[union-attr]
    squares, products = sum(each for each, _ in sums), sum(each for _, each in sums)
    found = []
    for square, product in sums:
        left_square = squares - square
        ridge = _RIDGE * np.trace(left_square) / len(left_square) * np.eye(len(left_square))
        found.append(np.linalg.solve(left_square + ridge, products - product))
    return tuple(found)


def _seen(values: NDArray[np.float32]) -> NDArray[np.float64]:
    features = look(values).astype(np.float64)
    return np.concatenate([features, np.full((len(features), 1), 0.5)], axis=1)


def _shares(scores: NDArray[np.float64], sharpen: float) -> NDArray[np.float64]:
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) * sharpen)
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _loss(scores: NDArray[np.float64], targets: NDArray[np.int64], sharpen: float) -> float:
    own = _shares(scores, sharpen)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(own, 1e-12)).mean())
