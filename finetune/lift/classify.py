"""The quick judge: a linear classifier on character n-grams, trained on an arm's questions, asked for labels.

TF-IDF of 1- to 3-grams and a linear SVM is the baseline that is hard to beat on short texts (Wang and Manning, 2012,
Baselines and Bigrams). A row that is there n times weighs n times in its loss, as n times the compute would have it;
the regulariser's strength stays, so that the control and the augmented arm are regularised alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.svm import LinearSVC

from filters.fold import fold
from finetune.lift.arms import Arm, Draw
from finetune.lift.pool import Pool


@dataclass(frozen=True)
class Classifying:
    """Scores a test row 1 where its label is guessed right, else 0.

    Args:
        pool: where the rows of all draws are from.
        shortest, longest: n of the n-grams, over folded text (width, script, case and punctuation set aside).
        c: the SVM's C, the weight of a row's squared hinge loss against the regulariser.
    """

    pool: Pool
    shortest: int = 1
    longest: int = 3
    c: float = 1.0
    metric: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        """What decides the scores, for the record."""
        return {"model": "linear SVM on character TF-IDF", "n": [self.shortest, self.longest], "c": self.c}

    def __call__(self, draw: Draw, arm: Arm, work: Path) -> NDArray[np.float64]:
        """A score for each row of `draw.test`, of a model that learned `arm`."""
        del work  # it needs no file
        learned, asked = self._counted(arm.rows), self._counted(draw.test)
        seen = np.flatnonzero(learned.getnnz(axis=0))  # an arm knows the n-grams of its own rows alone
        weights = TfidfTransformer(sublinear_tf=True)
        model = LinearSVC(C=self.c, random_state=draw.seed, max_iter=10_000)
        model.fit(weights.fit_transform(learned[:, seen]), arm.rows["label"].to_list())
        guessed = model.predict(weights.transform(asked[:, seen]))
        right: NDArray[np.float64] = (guessed == draw.test["label"].to_numpy()).astype(np.float64)
        return right

    def _counted(self, rows: pl.DataFrame) -> Any:
        """The n-gram counts of each row, sparse, (rows, n-grams of the whole pool)."""
        place, counts = self._all
        return counts[[place[key] for key in rows["id"]]]

    @cached_property
    def _all(self) -> tuple[dict[str, int], Any]:
        """The pool's n-grams, counted once: with draws tested on thousands of rows, counting is most of the work."""
        rows = pl.concat([self.pool.seeds, self.pool.variants, self.pool.exam]).unique("id", maintain_order=True)
        counter = CountVectorizer(analyzer="char", ngram_range=(self.shortest, self.longest), lowercase=False)
        counts = counter.fit_transform(fold(rows["prompt"]).to_list())
        return {key: number for number, key in enumerate(rows["id"])}, counts
