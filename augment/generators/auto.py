"""`--generators auto`: which generators suit a source, by its columns."""

from __future__ import annotations

import polars as pl

from augment.language import language_of

AUTO = ["auto"]
"""What a recipe names to have them chosen."""
PASSAGE = {"zh": 200, "en": 600}
"""Characters from which on a text without an answer or a label is a passage to ask about, no question."""
WITH_LLM: dict[str, tuple[str, ...]] = {
    "classification": ("paraphrase:2", "label:2", "backtranslate", "counterfactual"),
    "qa": ("paraphrase:2", "persona", "answer", "evolve", "backtranslate"),
    "questions": ("paraphrase:2", "persona:2", "self_instruct"),
    "documents": ("document_qa",),
}
"""With weights: what keeps the meaning most often before what adds most. What comes out is of the kind that went in: a
source of questions gets questions (their answers are asked for by name, `paraphrase+answer`)."""


def task_of(seeds: pl.DataFrame) -> str:
    """What a source is for: "qa" where most rows have an answer, else "classification" where most have a label that
    several share, else "documents" where most texts are passages, else "questions"."""
    rows = len(seeds)
    if 2 * seeds["response"].count() > rows:
        return "qa"
    labels = seeds["label"].drop_nulls()
    if 2 * len(labels) > rows and labels.n_unique() > 1 and 2 * labels.n_unique() <= len(labels):
        return "classification"
    texts = seeds["prompt"].drop_nulls().to_list()
    long = sum(len(each) >= PASSAGE.get(language_of(each), PASSAGE["en"]) for each in texts)
    return "documents" if 2 * long > len(texts) else "questions"


def suited(seeds: pl.DataFrame, llm: bool) -> list[str]:
    """The generators for a source, with weights; without an LLM `rules`."""
    return list(WITH_LLM[task_of(seeds)]) if llm else ["rules"]
