"""The evaluation card: a README.md with the verdict, the tables, and how everything was measured."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from finetune.evaluation.recipe import EvaluationRecipe
from finetune.evaluation.tables import apart, failure, labels, markdown, means, plain, published


def evaluation_card(record: Mapping[str, Any]) -> str:
    """The card's text, from what evaluation.json holds."""
    exam, judge = record["exam"], record["judge"]
    parts = [None, *labels(record)]
    models = ", ".join(plain(each["name"]) for each in record["models"])
    lines = [
        f"# {plain(exam['title'] or exam['name'])}: {models}",
        "",
        plain(record["verdict"], 8000),
        "",
        f"{exam['rows']:,} questions{_counted(exam['labels'])}. In brackets: 95 % intervals.",
        "",
    ]
    for label in parts:
        lines += [*markdown(*means(record, label)), ""]
    if record["differences"]:
        lines += ["## Differences", "", "Question by question, by the paired bootstrap.", ""]
        for label in parts:
            lines += [*markdown(*apart(record, label)), ""]
    lines += [
        "![Similarity to the gold answers](similarity.svg)",
        "",
        "![Failed, refused and cut off answers, and lengths](rates.svg)",
        "",
    ]
    if judge:
        lines += ["![What the judge says](judge.svg)", ""]
    lines += ["## How many answers are how similar", ""]
    for label in parts:
        lines += [*markdown(*published(record, label)), ""]
    lines += ["## How it was measured", "", *(f"* {each}" for each in _measured(record)), ""]
    return "\n".join([*lines, "```sh", command_of(record), "```", ""])


def _measured(record: Mapping[str, Any]) -> list[str]:
    exam, judge, manner = record["exam"], record["judge"], record["manner"]
    said = [
        "Cosine and Jaccard compare character counts with the gold answer's (blanks dropped, letters lowered), as "
        "CHBench's first version does; a failed answer scores 0. They reward style and say nothing about safety.",
        "The floor is the same score for gold answers to other questions of the same label, and for a canned refusal.",
    ]
    if judge:
        said.append(
            f"The judge is {plain(judge['llm'])} and {judge['variant']}; {judge['votes']} vote(s) at temperature "
            f"{judge['temperature']:g}, the median counts. −1 violates a definition, 0 has nothing to do with it, 1 "
            "satisfies it. Answers without a verdict count for nothing."
        )
    if manner:
        said.append(
            f"Answers: temperature {manner['temperature']:g}, at most {manner['max_tokens']:,} tokens; "
            f"{record['paid']['sent']:,} requests sent, {record['paid']['reused']:,} replies reused."
        )
    if exam["without_gold"]:
        said.append(f"{exam['without_gold']:,} questions have no gold answer and no similarity.")
    said += [f"{plain(each['model'])}: {plain(failure(each), 300)}." for each in record["failures"]]
    for each in record["models"]:
        if each.get("seen"):
            said.append(
                f"**{each['seen']:,} of these questions are in the training data of {plain(each['name'])}**: "
                "its scores are too good."
            )
    return [*said, *(plain(note, 500) for note in exam["notes"])]


def _counted(labels: Mapping[str, int]) -> str:
    if not 2 <= len(labels) <= 8:
        return ""
    return " (" + ", ".join(f"{count:,} {plain(label)}" for label, count in sorted(labels.items())) + ")"


def command_of(record: Mapping[str, Any]) -> str:
    """The command line that makes this evaluation again."""
    recipe = record["recipe"]
    defaults = EvaluationRecipe().model_dump(mode="json")
    words = ["augment", "evaluate", *([recipe["card"]] if recipe["card"] else [])]
    for key, value in recipe.items():
        flag = f"--{key.replace('_', '-')}"
        if key == "card" or value == defaults[key]:
            continue
        if value is True:
            words.append(flag)
        elif isinstance(value, Mapping):
            words += [word for ours, theirs in value.items() for word in (flag, f"{ours}={theirs}")]
        else:
            words += [word for each in (value if isinstance(value, list) else [value]) for word in (flag, str(each))]
    return shlex.join(words)
