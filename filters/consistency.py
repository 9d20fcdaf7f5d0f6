"""Whether the answer to a question holds up: an LLM answers the question again, and the two are compared.

Two right answers may share few words, so that n-grams find only the worst; vectors of a sentence encoder compare
meaning, and an NLI model says whether one answer contradicts the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from augment.engines.ask import without_thoughts
from augment.generators.answer import KEPT
from augment.generators.prompt import enclosed, fields_of, plain_text
from augment.language import language_of
from augment.records import Reply, Request
from filters import Context
from filters.embeddings import embed, paired
from filters.llm import Respondent, count_silent, needs_llm, respondent
from filters.nli import inferred


@dataclass(frozen=True)
class Consistency:
    """Drops rows whose answer is unlike, or contradicts, what an LLM answers to the same question.

    `llm` answers `samples` times. The similarity is the cosine of the answers' vectors, by `embedder`: without one
    character n-grams, where .05 finds answers about something else at best; a sentence encoder bears a higher
    `lowest`. `nli` is a model of natural language inference, a folder or owner/name: an answer that contradicts the
    other, either way round, with a probability over `contradiction` is dropped. Of several samples the median counts.
    A question without a second answer keeps its row.
    """

    llm: str = ""
    base_url: str = ""
    embedder: str = ""
    embedder_url: str = ""
    nli: str = ""
    samples: Annotated[int, Field(ge=1, le=15)] = 1
    lowest: Annotated[float, Field(ge=-1, le=1)] = 0.05
    contradiction: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    timeout: Annotated[float, Field(gt=0)] = 300.0
    name: ClassVar[str] = "consistency"
    cost: ClassVar[str] = "model"
    only_when_set: ClassVar[bool] = True
    scores: ClassVar[dict[str, Any]] = {
        "consistency_similarity": pl.Float64,
        "consistency_entailment": pl.Float64,
        "consistency_contradiction": pl.Float64,
        "consistency_samples": pl.Int64,
    }
    """How alike the answers are, how far one entails and contradicts the other, how many second answers there are."""
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "consistency_similarity": (">= lowest",),
        "consistency_contradiction": ("<= contradiction",),
    }

    def check(self) -> None:
        """Raises:
        RecipeError: there is no LLM.
        """
        needs_llm(self.name, self.llm)

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        lines: list[dict[str, Any]] = [{}] * len(frame)
        rows = [
            (at, prompt, response)
            for at, (fields, prompt, response) in enumerate(
                frame.select("changed_fields", "prompt", "response").iter_rows()
            )
            if fields and prompt and response
        ]
        if self.llm and rows:
            second = self._answers([prompt for _, prompt, _ in rows], context)
            pairs = [
                (at, response, other)
                for (at, _, response), others in zip(rows, second, strict=True)
                for other in others
            ]
            told = self._compared([(response, other) for _, response, other in pairs], context)
            by_row: dict[int, list[tuple[float | None, ...]]] = {at: [] for at, _, _ in rows}
            for (at, _, _), each in zip(pairs, told, strict=True):
                by_row[at].append(each)
            for at, samples in by_row.items():
                middle = [_median(each) for each in zip(*samples, strict=True)] or [None] * 3
                lines[at] = dict(zip(self.scores, [*middle, len(samples)], strict=True))
            count_silent(context, self.name, len(rows), sum(not each for each in second))
        return frame.with_columns(pl.DataFrame(lines, schema=self.scores).get_columns())

    def verdict(self) -> pl.Expr:
        return (
            pl.when(pl.col("consistency_contradiction") > self.contradiction)
            .then(pl.lit("contradicted by a second answer"))
            .when(pl.col("consistency_similarity") < self.lowest)
            .then(pl.lit("unlike a second answer"))
        )

    def _answers(self, questions: list[str], context: Context) -> list[list[str]]:
        """What the LLM answers to each question, as often as it does."""
        llm = respondent(context, self.name, self.llm, self.base_url, self.concurrency, self.timeout)
        asked = [[self._request(llm, question, k) for k in range(self.samples)] for question in questions]
        replies = llm.ask([each for requests in asked for each in requests], context)
        read = ([answer_of(replies[each.key]) for each in requests] for requests in asked)
        return [[answer for answer in answers if answer] for answers in read]

    def _request(self, llm: Respondent, question: str, k: int) -> Request:
        prompt = KEPT["zh" if language_of(question) == "zh" else "en"]
        user = re.sub(r"\{question\}", lambda _: enclosed(question), prompt.user)
        messages = (("system", prompt.system), ("user", user))
        heat = 0.7 if self.samples > 1 else 0.0
        return llm.request(self.name, [question], messages, prompt.schema, k, heat, self.max_tokens)

    def _compared(self, pairs: list[tuple[str, str]], context: Context) -> list[tuple[float | None, ...]]:
        """Similarity, entailment and contradiction of each (answer, second answer)."""
        sides = [pl.Series(side, dtype=pl.String) for side in zip(*pairs, strict=True)] if pairs else []
        vectors = [embed(each, self.embedder, self.embedder_url, context, "consistency.embedder") for each in sides]
        cosines = [None if np.isnan(each) else round(float(each), 4) for each in paired(*vectors)] if pairs else []
        if not self.nli:
            return [(each, None, None) for each in cosines]
        both = [way for pair in pairs for way in (pair, pair[::-1])]
        said = inferred(both, self.nli, "consistency.nli", context)
        ways = zip(said[::2], said[1::2], strict=True)
        return [
            (cosine, max(one.entailment, other.entailment), max(one.contradiction, other.contradiction))
            for cosine, (one, other) in zip(cosines, ways, strict=True)
        ]


def answer_of(reply: Reply) -> str | None:
    """The answer in a reply, as JSON or plain text; None where there is none, or half of one."""
    if reply.error is not None or reply.finish == "length":
        return None
    text = without_thoughts(reply.text) or ""
    told = fields_of(text, ("answer",))
    return (told["answer"] if told else plain_text(text)) or None


def _median(values: tuple[float | None, ...]) -> float | None:
    """The middle one, of an even number the lower."""
    known = sorted(each for each in values if each is not None)
    return known[(len(known) - 1) // 2] if known else None
