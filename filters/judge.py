"""An LLM as a judge of each row, by a rubric and by votes.

A judge without a verdict (it failed, refused, or wrote what cannot be read) counts against no row: such rows are kept
and marked, and when they are many it is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from augment.engines.ask import without_thoughts
from augment.errors import RecipeError
from augment.generators.prompt import json_in
from augment.language import language_of
from augment.records import Reply, Request
from filters import Context
from filters.llm import count_silent, needs_llm, respondent
from filters.rubrics import CRITERIA, Case, messages_of

_JUDGED = (*(f"judge_{name}" for name in CRITERIA), "judge_score")


@dataclass(frozen=True)
class Judge:
    """Drops rows that an LLM scores too low, by a rubric for questions and answers or by your own.

    `llm` is an engine as `--llm` names it. Scored from 1 to 5 is whether what changed is faithful to the parent,
    natural, complete and safe; with `rubric`, a file with criteria of your own, there is one score. Each of `votes` is
    a reply of its own, at `temperature` (0 for one vote, else .7), and the median decides, of an even number the lower
    one. A row is dropped when a score is under `threshold`.
    """

    llm: str = ""
    base_url: str = ""
    rubric: str = ""
    votes: Annotated[int, Field(ge=1, le=15)] = 1
    threshold: Annotated[float, Field(ge=1, le=5)] = 3.0
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    timeout: Annotated[float, Field(gt=0)] = 300.0
    name: ClassVar[str] = "judge"
    cost: ClassVar[str] = "model"
    only_when_set: ClassVar[bool] = True
    scores: ClassVar[dict[str, Any]] = {
        **dict.fromkeys(_JUDGED, pl.Int64),
        "judge_score": pl.Float64,
        "judge_votes": pl.Int64,
        "judge_no_verdict": pl.Boolean,
    }
    """The criteria's scores, their mean (or the one score of a rubric of your own), the votes that could be read."""
    limits: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(_JUDGED, (">= threshold",))

    def check(self) -> None:
        """Raises:
        RecipeError: there is no LLM, or no rubric in the file.
        """
        needs_llm(self.name, self.llm)
        self._rubric()

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        lines: list[dict[str, Any]] = [{}] * len(frame)
        cases = _cases(frame) if self.llm else {}
        if cases:
            for at, line in self._judged(cases, context).items():
                lines[at] = line
            count_silent(context, self.name, len(cases), sum(bool(each.get("judge_no_verdict")) for each in lines))
        return frame.with_columns(pl.DataFrame(lines, schema=self.scores).get_columns())

    def verdict(self) -> pl.Expr:
        told = {
            "judge_safe": "judged not safe",
            "judge_faithful": "judged not faithful to its parent",
            "judge_complete": "judged not complete",
            "judge_natural": "judged not natural",
            "judge_score": "judged below the bar",
        }
        return pl.coalesce(pl.when(pl.col(name) < self.threshold).then(pl.lit(why)) for name, why in told.items())

    def _judged(self, cases: Mapping[int, Case], context: Context) -> dict[int, dict[str, Any]]:
        """The scores of each row that is judged, by its place in the frame."""
        rubric = self._rubric()
        judge = respondent(context, self.name, self.llm, self.base_url, self.concurrency, self.timeout)
        warm = 0.7 if self.votes > 1 else 0.0
        asked: dict[int, tuple[tuple[str, ...], list[Request]]] = {}
        for at, case in cases.items():
            messages, schema = messages_of(case, rubric)
            texts = [text for _, text in messages]
            heat = warm if self.temperature is None else self.temperature
            requests = [
                judge.request(self.name, texts, messages, schema, vote, heat, self.max_tokens)
                for vote in range(self.votes)
            ]
            asked[at] = (("score",) if rubric else tuple(case.criteria)), requests
        replies = judge.ask([each for _, requests in asked.values() for each in requests], context)
        return {at: _line(names, [replies[each.key] for each in said]) for at, (names, said) in asked.items()}

    def _rubric(self) -> str:
        """The user's own criteria, "" where there are none."""
        if not self.rubric:
            return ""
        try:
            text = Path(self.rubric).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise RecipeError(f"judge.rubric: no text file {self.rubric}; write the criteria into one") from None
        if not text:
            raise RecipeError(f"judge.rubric: {self.rubric} is empty; write the criteria into it")
        return text


def _cases(frame: pl.DataFrame) -> dict[int, Case]:
    """What there is to judge: rows that changed."""
    columns = ("changed_fields", "prompt", "response", "parent_prompt", "parent_response")
    found = {}
    for at, (fields, prompt, *others) in enumerate(frame.select(columns).iter_rows()):
        if fields:
            language = "zh" if language_of(prompt or "") == "zh" else "en"
            found[at] = Case(language, fields, prompt or "", *others)
    return found


def _line(names: Sequence[str], replies: Sequence[Reply]) -> dict[str, Any]:
    """What the votes on one row decide."""
    votes = [vote for each in replies if each.error is None and (vote := vote_of(each.text, names)) is not None]
    if not votes:
        return {"judge_votes": 0, "judge_no_verdict": True}
    middle = [sorted(scores)[(len(scores) - 1) // 2] for scores in zip(*votes, strict=True)]
    told = {f"judge_{name}": score for name, score in zip(names, middle, strict=True)}
    mean = round(sum(middle) / len(middle), 4)
    return {**told, "judge_score": mean, "judge_votes": len(votes), "judge_no_verdict": False}


def vote_of(text: str, names: Sequence[str]) -> tuple[int, ...] | None:
    """The scores of a reply, from 1 to 5 each; None where it has no such verdict."""
    for found in json_in(without_thoughts(text) or ""):
        if isinstance(found, dict):
            scores = [found.get(name) for name in names]
            whole = [int(each) for each in scores if isinstance(each, int | float | str) and str(each) in _SCORES]
            if len(whole) == len(names):
                return tuple(whole)
    return None


_SCORES = frozenset("12345")
