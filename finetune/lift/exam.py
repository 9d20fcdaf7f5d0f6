"""How near an adapter's own answers are to the exam's: every question answered, scored as `augment evaluate` scores."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.engines import EngineOptions
from augment.engines.ask import Paid
from augment.engines.transformers import Transformers
from augment.places import home
from augment.replies import ReplyStore
from finetune.evaluation.answering import Candidate, Manner, answers_of
from finetune.evaluation.exam import Exam, ExamCard
from finetune.recipe import FinetuneRecipe
from finetune.scorers.similarity import Similarity

BATCH = 16
"""Questions answered at a time."""


class AnswerSimilarity:
    """Cosine or Jaccard of each row's generated answer (greedy) to the row's own, over character counts."""

    higher_is_better = True

    def __init__(self, recipe: FinetuneRecipe, metric: str, max_tokens: int) -> None:
        self._recipe = recipe
        self.metric = metric
        self._manner = Manner(max_tokens=max_tokens)

    def settings(self) -> dict[str, Any]:
        """What decides the scores, for the record."""
        return {
            "name": f"{self.metric} of the generated answer to the row's own",
            "max_tokens": self._manner.max_tokens,
        }

    def __call__(self, adapter: Path, rows: pl.DataFrame) -> NDArray[np.float64]:
        """The score of each of `rows` (id, prompt, response, label) as the adapter trained in `adapter` answers it."""
        gc.collect()  # what the training held
        asked = rows.select("id", "label", pl.col("prompt").alias("query"), pl.col("response").alias("gold"))
        exam = Exam(adapter.name, ExamCard(), asked)
        engine = Transformers.open(self._recipe.base, EngineOptions(concurrency=BATCH), adapter)
        with ReplyStore(home() / "replies.sqlite") as store:
            answers = answers_of(exam, Candidate(adapter.name, engine), self._manner, store, Paid(), lambda: None)
        scored = Similarity()(answers)
        return scored[self.metric].fill_null(np.nan).to_numpy()
