"""The scorers: each looks at answers to an exam and adds its columns. One file each, one line in `TABLE`."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import polars as pl

from augment.registry import Table

TABLE = Table(
    "scorer",
    {
        "length": "finetune.scorers.length:Length",
        "refusal": "finetune.scorers.refusal:Refusal",
        "similarity": "finetune.scorers.similarity:Similarity",
    },
)

ANSWERS: dict[str, Any] = {
    "model": pl.String,
    "id": pl.String,
    "label": pl.String,
    "query": pl.String,
    "gold": pl.String,
    "answer": pl.String,
    "finish": pl.String,
    "error": pl.String,
    "tokens_out": pl.Int64,
}
"""What a scorer is given: a line for each model and row of the exam. `finish` is "stop", "length", … as the engine
told it, null where nobody did; `answer` is null where there is none, and `error` says why."""


class Scorer(Protocol):
    """A frozen dataclass whose fields are its settings. `scores` are the columns it adds; null: no score."""

    name: ClassVar[str]
    scores: ClassVar[dict[str, Any]]

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same rows in the same order with the columns of `scores` added."""
        ...
