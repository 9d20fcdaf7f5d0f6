"""CHBench's held-out questions for lm-evaluation-harness, scored as `augment evaluate` scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from datasets import Dataset

from augment.engines.ask import without_thoughts
from finetune.evaluation.exam import open_exam
from finetune.scorers import ANSWERS
from finetune.scorers.refusal import Refusal
from finetune.scorers.similarity import Similarity


def dataset(exam: str = "chbench", **_: object) -> dict[str, Dataset]:
    """The exam's rows as the split `test`."""
    return {"test": Dataset.from_list(open_exam(exam).rows.to_dicts())}


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """One answer's scores."""
    row = {
        **doc,
        "model": "",
        "answer": without_thoughts(results[0]),
        "finish": None,
        "error": None,
        "tokens_out": None,
    }
    frame = Refusal()(Similarity()(pl.DataFrame([row], schema=ANSWERS))).row(0, named=True)
    return {name: float(frame[name] or 0.0) for name in ("cosine", "jaccard", "failed", "refused")}
