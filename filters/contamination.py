"""Held-out exam rows must not come back in the data: shared n-grams, both fields against both.

Measured on 96,016 clean rows without a false hit: half the 8-grams of an exam question; a fifth of the
10-grams of an exam answer, or 30 of its characters in one piece ("any shared n-gram" drowns in
boilerplate). Letters need windows twice as long for the same certainty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from filters import Context
from filters.fold import LETTERS_END, code_points, fold
from filters.minhash import distinct, ngrams

_ROWS = 1 << 10  # looked up at a time
_ITEM, _PLACE = 24, 22  # bits of an exam item's number, and of a place in a text
_COMMON = 32  # an n-gram in more exam texts than this is boilerplate and identifies none
_LEAST_ANSWER = 40  # n-grams: a fifth of a shorter answer is a phrase anyone may use
_LEAST_PROMPT = 3  # n-grams: likewise when most of a short prompt is part of an exam question
_LETTER = 0.25  # of a Han character, as in augment.language


@dataclass(frozen=True)
class Contamination:
    """Drops rows whose prompt or response contains much of a question or answer of the exam.

    Questions of fewer than `n_question` characters count only when they are the whole prompt. Spans are in
    Chinese characters; four letters make one.
    """

    question: Annotated[float, Field(gt=0, le=1)] = 0.5
    answer: Annotated[float, Field(gt=0, le=1)] = 0.2
    span: Annotated[float, Field(gt=0)] = 30
    n_question: int = 8
    n_answer: int = 10
    name: ClassVar[str] = "contamination"
    scores: ClassVar[dict[str, Any]] = {
        "contamination_question": pl.Float64,
        "contamination_answer": pl.Float64,
        "contamination_span": pl.Float64,
        "contamination_of": pl.String,
    }
    """The largest share of an exam question, of an exam answer, the longest span, and whose it is."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if context.exam.is_empty():
            return frame.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in self.scores.items())
        if self.name not in context.memory:
            context.memory[self.name] = _Exam.of(context.exam, self)
        exam: _Exam = context.memory[self.name]
        fields = [fold(frame[name]) for name in ("prompt", "response")]
        texts = pl.concat(field.alias("text") for field in fields).drop_nulls().unique(maintain_order=True)
        by_text = pl.DataFrame({"text": texts, **self._compared(texts, exam)})
        found = [
            field.alias("text").to_frame().join(by_text, on="text", how="left", maintain_order="left")
            for field in fields
        ]
        strongest = self._weight(found[1]) > self._weight(found[0])
        scores = [
            pl.select(pl.max_horizontal(each[name] for each in found)).to_series().alias(name)
            for name in list(self.scores)[:3]
        ]
        owner = pl.select(pl.when(strongest).then(found[1]["contamination_of"]).otherwise(found[0]["contamination_of"]))
        return frame.with_columns(*scores, owner.to_series().alias("contamination_of"))

    def verdict(self) -> pl.Expr:
        return (
            pl.when(pl.col("contamination_question") >= self.question)
            .then(pl.lit("contains an exam question"))
            .when((pl.col("contamination_answer") >= self.answer) | (pl.col("contamination_span") >= self.span))
            .then(pl.lit("contains part of an exam answer"))
        )

    def _weight(self, found: pl.DataFrame) -> pl.Series:
        """How far each row is towards the nearest threshold."""
        question, answer, span = (found[name].fill_null(0.0) for name in list(self.scores)[:3])
        return found.select(
            pl.max_horizontal(question / self.question, answer / self.answer, span / self.span)
        ).to_series()

    def _compared(self, texts: pl.Series, exam: _Exam) -> dict[str, pl.Series]:
        best = np.zeros((3, len(texts)))
        weight, owner = np.zeros(len(texts)), np.full(len(texts), -1)
        limits = (self.question, self.answer, self.span)
        for first in range(0, len(texts), _ROWS):
            part = texts[first : first + _ROWS]
            for index in exam.indexes:
                for row, item, kind, value in index.found_in(part):
                    where = row + first
                    np.maximum.at(best[kind], where, value)
                    order = np.argsort(value, kind="stable")  # the largest is written last
                    where, item, value = where[order], item[order], value[order] / limits[kind]
                    better = value > weight[where]
                    weight[where[better]], owner[where[better]] = value[better], item[better]
        for place, text in enumerate(texts):
            if text in exam.questions:
                best[0][place], owner[place] = 1.0, exam.questions[text]
        ids = [exam.ids[each] if each >= 0 else None for each in owner.tolist()]
        columns = (*best, pl.Series(ids, dtype=pl.String))
        return {name: pl.Series(column) for name, column in zip(self.scores, columns, strict=True)}


@dataclass(frozen=True)
class _Exam:
    ids: list[str]
    questions: dict[str, int]  # folded text to item
    indexes: list[_Index]

    @classmethod
    def of(cls, exam: pl.DataFrame, settings: Contamination) -> _Exam:
        numbered = exam.select("id", "prompt", "response").with_row_index("item")
        questions, answers = (
            numbered.select("item", fold(numbered[name]).alias("text"))
            .filter(pl.col("text").is_not_null())
            .unique("text", keep="first", maintain_order=True)
            for name in ("prompt", "response")
        )
        indexes = []
        for items, n, is_answer in ((questions, settings.n_question, False), (answers, settings.n_answer, True)):
            lettered = items["text"].str.count_matches(r"\p{Latin}") * 2 > items["text"].str.len_chars()
            for part, width in ((items.filter(~lettered), n), (items.filter(lettered), 2 * n)):
                long = part.filter(pl.col("text").str.len_chars() >= width)
                if not long.is_empty():
                    indexes.append(_Index.of(long, width, is_answer))
        return cls(exam["id"].to_list(), dict(zip(questions["text"], questions["item"], strict=True)), indexes)


@dataclass(frozen=True)
class _Index:
    """Where each n-gram occurs in the exam's questions, or answers."""

    n: int
    is_answer: bool
    maybe: NDArray[np.bool_]  # by the top bits of a hash: whether any n-gram held has them
    shift: np.uint64
    held: NDArray[np.uint64]
    begin: NDArray[np.int64]
    width: NDArray[np.int64]
    item: NDArray[np.int64]
    place: NDArray[np.int64]
    size: NDArray[np.int64]  # n-grams of each item

    @classmethod
    def of(cls, items: pl.DataFrame, n: int, is_answer: bool) -> _Index:
        hashes, counts = ngrams(items["text"], n)
        item = np.repeat(items["item"].to_numpy().astype(np.int64), counts)
        place = np.arange(len(hashes)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = np.argsort(hashes, kind="stable")
        held, begin, width = np.unique(hashes[order], return_index=True, return_counts=True)
        rare = width <= _COMMON
        bits = max(int(16 * len(held)).bit_length(), 10)
        shift = np.uint64(64 - bits)
        maybe = np.zeros(1 << bits, dtype=np.bool_)
        maybe[held[rare] >> shift] = True
        size = np.bincount(item)
        return cls(n, is_answer, maybe, shift, held[rare], begin[rare], width[rare], item[order], place[order], size)

    def found_in(self, texts: pl.Series) -> list[tuple[NDArray[np.int64], NDArray[np.int64], int, NDArray[np.float64]]]:
        """(row, item, kind, value) arrays: kind 0 shares of a question, 1 of an answer, 2 spans of an answer."""
        hashes, counts = ngrams(texts, self.n)
        at = np.flatnonzero(self.maybe[hashes >> self.shift])
        slot = np.minimum(np.searchsorted(self.held, hashes[at]), max(len(self.held) - 1, 0))
        true = self.held[slot] == hashes[at] if len(self.held) else np.zeros(0, dtype=np.bool_)
        at, slot = at[true], slot[true]
        if not len(at):
            return []
        begins = np.cumsum(counts) - counts
        owner = np.searchsorted(begins + counts, at, side="right")
        width = self.width[slot]
        match = np.arange(int(width.sum())) + np.repeat(self.begin[slot] - (np.cumsum(width) - width), width)
        row, mine = np.repeat(owner, width), np.repeat(at - begins[owner], width)
        item, place = self.item[match], self.place[match]
        pair = row << _ITEM | item
        pairs, shared = np.unique(distinct(pair << _PLACE | place) >> _PLACE, return_counts=True)
        rows, items = pairs >> _ITEM, pairs & ((1 << _ITEM) - 1)
        if not self.is_answer:
            share = shared / np.minimum(self.size[items], np.maximum(counts[rows], _LEAST_PROMPT))
            return [(rows, items, 0, np.minimum(share, 1.0))]
        share = shared / np.maximum(self.size[items], _LEAST_ANSWER)
        diagonal = pair << _PLACE | (mine - place + (1 << _PLACE - 1))
        order = np.argsort(diagonal, kind="stable")
        mine, diagonal = mine[order], diagonal[order]
        starts = np.ones(len(mine), dtype=np.bool_)
        starts[1:] = (diagonal[1:] != diagonal[:-1]) | (mine[1:] != mine[:-1] + 1)
        start = np.flatnonzero(starts)
        end = np.append(start[1:], len(mine)) - 1
        code, offsets, _ = code_points(texts)
        weight = np.concatenate([[0.0], np.cumsum(np.where(code < LETTERS_END, _LETTER, 1.0))])
        pair = pair[order][start]
        row, item = pair >> _ITEM, pair & ((1 << _ITEM) - 1)
        span = weight[offsets[row] + mine[end] + self.n] - weight[offsets[row] + mine[start]]
        return [(rows, items, 1, share), (row, item, 2, span)]
