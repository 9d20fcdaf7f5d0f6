"""Held-out exam rows must not come back in the data: shared n-grams, both fields against both.

Measured on 96,016 clean rows without a false hit: half the 8-grams of an exam question; a fifth of the
10-grams of an exam answer, or 30 of its characters in one piece ("any shared n-gram" drowns in
boilerplate). Letters need windows twice as long for the same certainty.

In a question of 8 to 20 characters one changed character can break every 8-gram. So a whole text is compared with
whole questions by its bigrams too: one edit of 8 characters leaves .75 of them, and no two of 264 real questions share
more than .56. Of a question said in other words neither finds much; for those there is `embedder`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from filters import Context
from filters.exam_index import Pieces, Rewordings
from filters.fold import fold, unfolded

_ROWS = 1 << 10  # looked up at a time
_USUAL = np.array([0.5, 0.2, 30, 0.7, 0.9])
"""What usually drops a row, by score, whatever the settings: by these the strongest match of a row is chosen."""
_NEAR = 0.5  # of that, from which on the row's own words are told
_SIMILARITY = 4
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Contamination:
    """Drops rows whose prompt or response contains much of a question or answer of the exam, or rewords a question.

    Questions of fewer than `n_question` characters count only when they are the whole prompt. Spans are in
    Chinese characters; four letters make one. `embedder` ("ngrams", "openai:MODEL", a folder or owner/name; see
    filters.embeddings) compares prompts with exam questions by what they mean, as far as the embedder knows.
    """

    question: Annotated[float, Field(gt=0, le=1)] = 0.5
    answer: Annotated[float, Field(gt=0, le=1)] = 0.2
    span: Annotated[float, Field(gt=0)] = 30
    reworded: Annotated[float, Field(ge=0.7, le=1)] = 0.7
    """Dice over bigrams; what is less alike is not looked for."""
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Cosine of the embeddings. For "ngrams" .65 is measured: it finds 94 % of rewordings by synonyms instead of 86 %,
    all excerpts of 60 %, and no two of 264 real questions are more alike than .55. For a model .9 is a guess."""
    embedder: str | None = None
    base_url: str = ""
    n_question: int = 8
    n_answer: int = 10
    name: ClassVar[str] = "contamination"
    cost: ClassVar[str] = "row"
    reads_exam: ClassVar[bool] = True
    reads_seeds: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "contamination_question": ("< question",),
        "contamination_answer": ("< answer",),
        "contamination_span": ("< span",),
        "contamination_reworded": ("< reworded",),
        "contamination_similarity": ("< similarity",),
    }
    scores: ClassVar[dict[str, Any]] = {
        "contamination_question": pl.Float64,
        "contamination_answer": pl.Float64,
        "contamination_span": pl.Float64,
        "contamination_reworded": pl.Float64,
        "contamination_similarity": pl.Float64,
        "contamination_of": pl.String,
        "contamination_text": pl.String,
    }
    """The largest share of an exam question and of an answer, the longest span, the nearest question by its bigrams and
    by its embedding; whose the strongest of these is, and the piece of the row's own text that it is about."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        if context.exam.is_empty():
            return frame.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in self.scores.items())
        if self.name not in context.memory:
            context.memory[self.name] = _Exam.of(context.exam, self, context.seeds)
        exam: _Exam = context.memory[self.name]
        parts = [self._scored(part, exam, context) for part in frame.iter_slices(_ROWS)]
        return frame.with_columns(pl.concat([pl.DataFrame(schema=self.scores), *parts]).get_columns())

    def verdict(self) -> pl.Expr:
        return (
            pl.when(pl.col("contamination_question") >= self.question)
            .then(pl.lit("contains an exam question"))
            .when((pl.col("contamination_answer") >= self.answer) | (pl.col("contamination_span") >= self.span))
            .then(pl.lit("contains part of an exam answer"))
            .when(pl.col("contamination_reworded") >= self.reworded)
            .then(pl.lit("an exam question with some characters changed"))
            .when(pl.col("contamination_similarity") >= self.similarity)
            .then(pl.lit("an exam question in other words"))
        )

    def _scored(self, frame: pl.DataFrame, exam: _Exam, context: Context) -> pl.DataFrame:
        """The score columns of a slice: each text compared once, the stronger of a row's two told."""
        raw = pl.concat([frame["prompt"], frame["response"].alias("prompt")])
        keys = fold(raw).alias("text")
        texts = keys.drop_nulls().unique(maintain_order=True)
        line = keys.to_frame().join(
            texts.to_frame().with_row_index("line"), on="text", how="left", maintain_order="left"
        )
        at = line["line"].cast(pl.Int64).fill_null(len(texts)).to_numpy()  # one line more, for no text
        matches = _Matches(len(texts) + 1)
        for row, item, kind, value, begin, length in exam.found_in(texts):
            matches.add(row, item, kind, value, begin, length)
        best, strength, item, begin, length = (
            each[at] for each in (matches.best, matches.strength, matches.item, matches.begin, matches.length)
        )
        best[keys.is_null().to_numpy()] = np.nan
        best[:, _SIMILARITY] = np.nan
        if self.embedder is not None:
            nearest, alike = exam.nearest(frame["prompt"], self.embedder, self.base_url, context)
            best[: frame.height, _SIMILARITY] = alike
            better = np.flatnonzero(alike / _USUAL[_SIMILARITY] > strength[: frame.height])  # NaN is not
            strength[better], item[better] = alike[better] / _USUAL[_SIMILARITY], nearest[better]
            begin[better] = -1
        side = np.where(strength[frame.height :] > strength[: frame.height], frame.height, 0) + np.arange(frame.height)
        words, key = raw.to_list(), keys.to_list()
        told = [
            _told(words[where], key[where], begin[where], length[where]) if strength[where] >= _NEAR else None
            for where in side.tolist()
        ]
        owner = [exam.ids[each] if each >= 0 else None for each in item[side].tolist()]
        pairs = np.fmax(best[: frame.height], best[frame.height :])
        columns = [pl.Series(values, nan_to_null=True) for values in pairs.T]
        columns += [pl.Series(owner, dtype=pl.String), pl.Series(told, dtype=pl.String)]
        return pl.DataFrame(dict(zip(self.scores, columns, strict=True)), schema=self.scores)


def _told(text: str | None, key: str | None, begin: int, length: int) -> str | None:
    if text is None or key is None or begin < 0:
        return text
    return unfolded(text, key[begin : begin + length])


class _Matches:
    """The best of each score by text, and the strongest match: its item, and the run of the text that it is about."""

    def __init__(self, count: int) -> None:
        self.best = np.zeros((count, len(_USUAL)))
        self.strength = np.zeros(count)
        self.item, self.begin, self.length = (np.full(count, -1, dtype=np.int64) for _ in range(3))

    def add(self, row: _Ints, item: _Ints, kind: int, value: _Floats, begin: _Ints, length: _Ints) -> None:
        """Matches by text; a `begin` of -1 is the whole text. Of equally strong ones the earlier item's prevails."""
        np.maximum.at(self.best[:, kind], row, value)
        strength = value / _USUAL[kind]
        order = np.lexsort((item, -strength, row))
        order = order[np.append(True, row[order][1:] != row[order][:-1])[: len(order)]]
        row, strength = row[order], strength[order]
        better = strength > self.strength[row]
        row, order = row[better], order[better]
        self.strength[row] = strength[better]
        self.item[row], self.begin[row], self.length[row] = item[order], begin[order], length[order]


@dataclass(frozen=True)
class _Exam:
    ids: list[str]
    prompts: pl.Series
    questions: dict[str, int]  # folded text to item
    pieces: list[Pieces]
    rewordings: Rewordings
    vectors: dict[tuple[str, str], Any]  # of the questions, by embedder

    @classmethod
    def of(cls, exam: pl.DataFrame, settings: Contamination, seeds: pl.DataFrame) -> _Exam:
        numbered = exam.select("id", "prompt", "response").with_row_index("item")
        questions, answers = (
            numbered.select("item", fold(numbered[name]).alias("text"))
            .filter(pl.col("text").is_not_null())
            .unique("text", keep="first", maintain_order=True)
            for name in ("prompt", "response")
        )
        pieces = []
        for items, n, is_answer in ((questions, settings.n_question, False), (answers, settings.n_answer, True)):
            lettered = items["text"].str.count_matches(r"\p{Latin}") * 2 > items["text"].str.len_chars()
            for part, width in ((items.filter(~lettered), n), (items.filter(lettered), 2 * n)):
                long = part.filter(pl.col("text").str.len_chars() >= width)
                if not long.is_empty():
                    pieces.append(Pieces.of(long, width, is_answer))
        by_text = dict(zip(questions["text"], questions["item"], strict=True))
        long = questions.filter(pl.col("text").str.len_chars() >= settings.n_question)
        rewordings = Rewordings.of(long, exam.height, fold(seeds["prompt"]))
        return cls(exam["id"].to_list(), exam["prompt"], by_text, pieces, rewordings, {})

    def found_in(self, texts: pl.Series) -> Iterator[tuple[_Ints, _Ints, int, _Floats, _Ints, _Ints]]:
        """(text, item, which score, value, begin, length) arrays: see `_Matches.add`."""
        whole = [(row, self.questions[text]) for row, text in enumerate(texts) if text in self.questions]
        row, item = np.array(whole, dtype=np.int64).reshape(-1, 2).T
        yield row, item, 0, np.ones(len(row)), np.full(len(row), -1), np.full(len(row), -1)
        for each in self.pieces:
            found = each.found_in(texts)
            if found is not None:
                where = (found.row, found.item)
                yield *where, int(each.is_answer), found.share, found.begin, found.length
                if each.is_answer:
                    yield *where, 2, found.span, found.begin, found.length
        row, item, alike = self.rewordings.found_in(texts)
        yield row, item, 3, alike, np.full(len(row), -1), np.full(len(row), -1)

    def nearest(self, texts: pl.Series, embedder: str, base_url: str, context: Context) -> tuple[_Ints, _Floats]:
        """The exam question with the largest cosine to each text, and the cosine; NaN without a text."""
        from filters.embeddings import cosines, embed

        setting = f"{Contamination.name}.embedder"
        if (embedder, base_url) not in self.vectors:
            self.vectors[embedder, base_url] = embed(self.prompts, embedder, base_url, context, setting)
        asked = embed(texts, embedder, base_url, context, setting)
        alike = cosines(asked, self.vectors[embedder, base_url])
        item = alike.argmax(axis=1)
        known = asked.any(axis=1)
        found = np.where(known, alike[np.arange(len(item)), item], np.nan)
        return np.where(known, item, -1).astype(np.int64), np.maximum(found, 0)
