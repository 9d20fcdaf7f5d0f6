"""The dataset card: a README.md whose front matter makes `datasets.load_dataset(RUN)` work."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import orjson

from augment.plan import Plan
from augment.recipe import ImageRecipe, Recipe
from augment.summary import Summary
from augment.terms import terms_lines, terms_of

_TEXTS = (
    "Columns: `prompt`, `response`, `label`; `parents` and `generator` say where a row comes from "
    "(`seed` is a row of the source), the others with what it was made and how it scored."
)
_PICTURES = (
    "Pictures are in `curated/train`, with one line each in `metadata.parquet`: `label`, `caption`, `mask`, `objects` "
    "(boxes); `parents` and `generator` say where a picture comes from (`seed` is one of the source), the others with "
    "what it was made and how it scored. Every generated file says so in its XMP `DigitalSourceType` and carries its "
    "recipe in the text chunk `augment`."
)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def command_of(recipe: Recipe) -> str:
    """The command line that makes a run of this recipe again."""
    words = ["augment", recipe.modality, "--source", recipe.source, "--n", recipe.n]
    defaults = type(recipe)(source=recipe.source)
    for key in ("generators", "filters"):
        if getattr(recipe, key) != getattr(defaults, key):
            words += [f"--{key}", ",".join(getattr(recipe, key))]
    drawing = ("engine", "size", "steps", "guidance", "dtype") if recipe.modality != "text" else ()
    for key in ("llm", *drawing, "temperature", "max_tokens", "limit", "seed", "max_attempts", "holdout", "exam"):
        value = getattr(recipe, key)
        if value != getattr(defaults, key):
            words += [f"--{key.replace('_', '-')}", str(value)]
    if isinstance(recipe, ImageRecipe) and recipe.subjects:
        words += ["--subjects", ",".join(map(str, recipe.subjects))]
    for ours, theirs in recipe.map.items():
        words += ["--map", f"{ours}={theirs}"]
    for name, settings in recipe.settings.items():
        words += [word for key, value in settings.items() for word in ("--set", f"{name}.{key}={_toml(value)}")]
    words += [f"--{key.replace('_', '-')}" for key in ("without_seeds", "incremental") if getattr(recipe, key)]
    return shlex.join(words)


def _toml(value: Any) -> str:
    """A setting as it is written after --set; for numbers, booleans, strings and lists TOML and JSON agree."""
    return orjson.dumps(value).decode()


def _line(text: str) -> str:
    """Foreign text on one line of Markdown."""
    return " ".join(text.split()).replace("`", "'")


def review_lines(review: dict[str, Any] | None) -> list[str]:
    """What people decided about rows of this dataset, and the rates where there are any ("review" of the summary)."""
    if review is None:
        return []
    people = len(review["reviewers"])
    rates = [f"* {line.strip()}" for line in review.get("lines", [])]
    return [
        "## Review",
        "",
        f"{people} reviewer{'s'[: people != 1]} looked at sampled rows and accepted {review['accepted']:,}, edited "
        f"{review['edited']:,} and rejected {review['rejected']:,}; `reviewed`, `reviewed_by`, `reviewed_at` and "
        "`edited_from` say which.",
        *([""] if rates else []),
        *rates,
        "",
    ]


def _tasks(plan: Plan) -> list[str]:
    """What pictures can be used for, in the hub's words."""
    if plan.modality == "paired":
        return ["image-to-text", "text-to-image"]
    columns = {"label": "image-classification", "boxes": "object-detection"} if plan.pictured else {}
    return [task for column, task in columns.items() if plan.seeds[column].null_count() < len(plan.seeds)]


def dataset_card(plan: Plan, summary: Summary) -> str:
    """The card's text. It holds nothing that differs between two runs of the same plan."""
    source = plan.source.card
    counts = summary.to_dict()
    rows = counts["kept"] + (0 if plan.recipe.without_seeds else counts["seeds"])
    size = next((label for limit, label in _SIZES if rows < limit), "n>1M")
    files = "curated/train/**" if plan.pictured else "curated/train.parquet"
    front: dict[str, Any] = {
        "license": source.licence.lower() if source.licence != "unknown" else "unknown",
        "language": source.languages,
        "task_categories": _tasks(plan),
        "size_categories": [size],
        "tags": ["synthetic", "augmented"],
        "configs": _configs(files),
    }
    models = ", ".join(f"{each.name}:{each.model} {each.revision}".strip() for each in plan.engines)
    lines = [
        "---",
        *(f"{key}: {orjson.dumps(value).decode()}" for key, value in front.items() if value),
        "---",
        f"# {_line(plan.source.name)}, augmented",
        "",
        f"{counts['kept']:,} variants of {counts['seeds']:,} rows of {_line(source.title or plan.source.name)}. "
        f"{counts['exam']:,} rows were held out as an exam and are not here.",
        *([f"Version {plan.version}; it grew from {plan.parent.folder.name}."] if plan.parent else []),
        "",
        f"* Generators: {', '.join(each.name for each in plan.generators)}",
        f"* Engine: {models or 'none'}",
        f"* Filters: {', '.join(each.name for each in plan.chain.filters) or 'none'}",
        f"* Source licence: {source.licence}{f' ({source.licence_note})' if source.licence_note else ''}",
        f"* Cite: {_line(source.citation) or 'the source named above'}",
        f"* Made by: `{_line(command_of(plan.recipe))}`",
        "",
        _PICTURES if plan.pictured else _TEXTS,
        "",
        *terms_lines(terms_of(plan)),
        summary.to_markdown(),
        "",
        *review_lines(counts.get("review")),
    ]
    return "\n".join(lines)


def reviewed_card(card: str, before: dict[str, Any], after: dict[str, Any], version: int, parent: str) -> str:
    """The card of the version that grew from `card`'s by review: other counts, the version, and what people decided."""
    told = f"Version {version}; people reviewed {parent}, and nothing was generated."
    return "\n".join([*_reworked(card, before, after, told), "", *review_lines(after.get("review"))])


def sifted_card(card: str, before: dict[str, Any], after: dict[str, Any], parent: str, filters: Sequence[str]) -> str:
    """The card of a run that was sifted anew from `card`'s: other counts and filters."""
    kept, _, review = card.partition("\n## Review\n")
    told = f"Sifted anew from {parent}; nothing was generated."
    lines = _reworked(kept, before, after, told)
    place = next((number for number, line in enumerate(lines) if line.startswith("* Filters: ")), None)
    if place is not None:
        lines[place] = f"* Filters: {', '.join(filters) or 'none'}"
    return "\n".join([*lines, "", *(["## Review", review] if review else [])])


def _reworked(card: str, before: dict[str, Any], after: dict[str, Any], told: str) -> list[str]:
    """The lines of a card with the counts of `after` in the place of those of `before`, and how that came."""
    card, _, _ = card.partition("\n## Review\n")
    card = card.replace(Summary(before).to_markdown(), Summary(after).to_markdown())
    card = card.replace(f"{before['kept']:,} variants of", f"{after['kept']:,} variants of", 1)
    lines = [line for line in card.rstrip().split("\n") if not line.startswith(("Version ", "Sifted anew from "))]
    place = next((number for number, line in enumerate(lines) if line.startswith("* Generators: ")), len(lines))
    lines[place - 1 : place] = [told, ""]
    return lines


def file_card(name: str, counts: dict[str, Any], filters: Sequence[str]) -> str:
    """The card of a dataset that was sifted from anybody's file."""
    size = next((label for limit, label in _SIZES if counts["kept"] < limit), "n>1M")
    front = {"size_categories": [size], "configs": _configs("curated/train.parquet")}
    lines = [
        "---",
        *(f"{key}: {orjson.dumps(value).decode()}" for key, value in front.items()),
        "---",
        f"# {_line(name)}, filtered",
        "",
        f"{counts['kept']:,} of {counts['rows_in']:,} rows; nothing was generated.",
        "",
        f"* Filters: {', '.join(filters) or 'none'}",
        "",
        "Columns: `prompt`, `response`, `label`, the source's others, and how each row scored.",
        "",
        Summary(counts).to_markdown(),
        "",
    ]
    return "\n".join(lines)


def _configs(files: str) -> list[dict[str, Any]]:
    return [{"config_name": "default", "data_files": [{"split": "train", "path": files}]}]
