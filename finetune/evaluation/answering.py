"""The exam's questions put to models, one after the other, every reply on disk before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from augment.engines import Engine
from augment.engines.ask import Paid, ask, without_thoughts
from augment.records import Reply, Request, fingerprint, seed_for
from augment.replies import ReplyStore
from finetune.evaluation.exam import Exam
from finetune.scorers import ANSWERS

ASKER = "evaluate"
"""What stands for a generator in the requests of an evaluation."""
SILENT = ("an empty answer", "no answer before the limit of tokens")
"""Why there is no answer although the engine replied."""


@dataclass(frozen=True)
class Candidate:
    """A model that takes the exam, under the name that tables use. `adapter` is its folder, if it has one.

    `seen` of the exam's questions were in the adapter's training data.
    """

    name: str
    engine: Engine
    adapter: str | None = None
    seen: int = 0

    def told(self) -> dict[str, Any]:
        """Who it is, for the record."""
        engine = self.engine
        return {
            "name": self.name,
            "engine": engine.name,
            "model": engine.model,
            "revision": engine.revision,
            "adapter": self.adapter,
            "seen": self.seen,
        }


@dataclass(frozen=True)
class Manner:
    """How the questions are put: sampling, the longest answer in tokens, a system message, the seed."""

    temperature: float = 0.0
    max_tokens: int = 1024
    system: str | None = None
    seed: int = 0

    def request(self, row: Mapping[str, Any], engine: Engine) -> Request:
        """The question of one row of the exam."""
        system = (("system", self.system),) if self.system else ()
        return Request(
            record=row["id"],
            generator=ASKER,
            k=0,
            messages=(*system, ("user", row["query"])),
            template=f"{ASKER}@{fingerprint(self.system)[:8]}",
            seed=seed_for(row["id"], ASKER, 0, self.seed),
            temperature=self.temperature,
            top_p=1.0,
            max_tokens=self.max_tokens,
            engine=engine.name,
            model=engine.model,
            revision=engine.revision,
        )


def answers_of(
    exam: Exam, candidate: Candidate, manner: Manner, store: ReplyStore, paid: Paid, step: Callable[[], None]
) -> pl.DataFrame:
    """One model's answers, a line a row of the exam in its order, with the columns of `ANSWERS`.

    Raises:
        Interrupted, EngineError: as `ask`.
    """
    rows = list(exam.rows.iter_rows(named=True))
    requests = [manner.request(row, candidate.engine) for row in rows]
    replies = ask(candidate.engine, requests, store, paid, step)
    return pl.DataFrame(
        [_line(candidate.name, row, replies[request.key]) for row, request in zip(rows, requests, strict=True)],
        schema=ANSWERS,
    )


def _line(model: str, row: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
    answer = without_thoughts(reply.text) if reply.error is None else None
    error = reply.error
    if answer is None and error is None:
        error = SILENT[reply.finish == "length"]
    told = {"model": model, **row, "finish": reply.finish, "error": error, "tokens_out": reply.tokens_out}
    return {**told, "answer": answer}


def given(exam: Exam, answers: Mapping[str, list[str | None]]) -> Iterator[pl.DataFrame]:
    """Answers that exist already, as `answers_of` gives them, model by model."""
    for model, column in answers.items():
        yield exam.rows.select(
            pl.lit(model).alias("model"),
            pl.col("id", "label", "query", "gold"),
            pl.Series("answer", column, dtype=pl.String),
            *(pl.lit(None, dtype=ANSWERS[name]).alias(name) for name in ("finish", "error", "tokens_out")),
        ).select(list(ANSWERS))
