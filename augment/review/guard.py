"""What no reviewer can publish: a copy of the exam. Everything else that a person accepts prevails over the filters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from augment.errors import AugmentError, RunError
from augment.records import SCHEMA
from augment.reopen import reopened
from augment.review.verdicts import BARRED
from filters import Context
from filters.chain import chain_of

GUARD = "contamination"


def exam_copies(rows: pl.DataFrame, context: Context) -> pl.Series:
    """For each row (columns id, parents, prompt, response) why it may not be published, or null.

    The seeds of the context say which forms of words are the dataset's own, and so no trace of the exam.
    """
    if context.exam.is_empty() or rows.is_empty():
        return pl.Series("reason", [None] * len(rows), dtype=pl.String)
    whole = rows.select("id", "parents", "prompt", "response")
    return chain_of([GUARD]).sift(whole, context)["reason"]


def prevailing(rows: pl.DataFrame, exam: pl.DataFrame, seeds: pl.DataFrame) -> pl.DataFrame:
    """The sifted rows, those that people accepted or edited kept whatever a filter says, unless they copy the exam.

    They are held against the exam here because a chain need not have the filter that does so.
    """
    numbered = rows.with_row_index("_row")
    prevails = _prevails()
    wanted = numbered.filter(prevails)
    if wanted.is_empty():
        return rows
    judged = wanted.with_columns(exam_copies(wanted, Context(seeds=seeds, exam=exam)).alias("reason")).with_columns(
        pl.when(pl.col("reason").is_not_null()).then(pl.lit(GUARD)).alias("dropped_by"),
        pl.lit(None, dtype=pl.String).alias("detail"),
    )
    rest = numbered.filter(~prevails)
    return pl.concat([rest, judged.select(rest.columns)]).sort("_row").drop("_row")


def _prevails() -> pl.Expr:
    wanted = pl.col("reviewed").is_in(["accepted", "edited"]).fill_null(False)
    return wanted & ~pl.col("dropped_by").is_in(list(BARRED)).fill_null(False)


@dataclass(frozen=True)
class Guard:
    """The exam of a run and its seeds, read anew from its source, since no run folder holds the exam."""

    exam: pl.DataFrame
    seeds: pl.DataFrame

    @classmethod
    def of(cls, manifest: dict[str, Any], summary: dict[str, Any], path: Path | None = None) -> Guard:
        """The exam that a run's rows are held against; `path` is where the source's files are, as in `augment text`.

        Raises:
            RunError: the source cannot be read, so that nothing can be held against its exam.
        """
        written = manifest.get("recipe") or {}
        if not (summary.get("exam") or written.get("exam") or manifest.get("exams")):
            return cls(pl.DataFrame(schema=SCHEMA), pl.DataFrame(schema=SCHEMA))
        try:
            source, exam = reopened(manifest, path)
        except AugmentError as error:
            raise RunError(
                f"what people accept or edit must be held against the exam, and {written.get('source')} cannot be "
                f"read: {error}; put it back, or name its files with --path"
            ) from None
        return cls(exam, source.seeds.head(written.get("limit") or len(source.seeds)))

    @cached_property
    def _context(self) -> Context:
        """What rows are held against: the index of the exam is made once."""
        return Context(seeds=self.seeds, exam=self.exam)

    def refusal(self, row: dict[str, Any]) -> str | None:
        """Why a row (id, parents, prompt, response) may not be published, or None."""
        frame = pl.DataFrame([{name: row.get(name) for name in SCHEMA}], schema=SCHEMA)
        reason: str | None = exam_copies(frame, self._context)[0]
        return reason
