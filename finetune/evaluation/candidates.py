"""Who takes the exam: a base, its adapters, LLMs by their specification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from augment.engines import EngineOptions, open_engine
from augment.errors import AugmentError, FinetuneError
from augment.manifest import MANIFEST, digest_of
from augment.tables import one_line
from filters.fold import fold
from finetune.evaluation.answering import Candidate
from finetune.evaluation.exam import Exam
from finetune.evaluation.recipe import EvaluationRecipe
from finetune.rows import open_rows


def candidates(recipe: EvaluationRecipe, exam: Exam) -> list[Candidate]:
    """Everybody that the recipe names, the base first, each under a name of its own; no weights are loaded.

    Raises:
        FinetuneError, EngineError, RecipeError: one of them cannot be found or reached.
    """
    named: dict[str, Candidate] = {}
    for each in _named(recipe, exam):
        shown = one_line(each.name)
        name, again = shown, 2
        while name in named:
            name, again = f"{shown} ({again})", again + 1
        named[name] = Candidate(name, each.engine, each.adapter, each.seen)
    return list(named.values())


def _named(recipe: EvaluationRecipe, exam: Exam) -> Iterator[Candidate]:
    options = EngineOptions(base_url=recipe.base_url, concurrency=recipe.concurrency, timeout=recipe.timeout)
    if recipe.base is not None or recipe.adapter:
        from augment.engines.transformers import Transformers
        from augment.engines.vllm import Vllm

        kind = Vllm if recipe.engine == "vllm" else Transformers
        base = recipe.base or _base_of(recipe.adapter[0])
        if recipe.base is not None:
            yield Candidate(Path(base.rstrip("/")).name, kind.open(base, options))
        for folder in recipe.adapter:
            engine = kind.open(base, options, folder)
            yield Candidate(folder.resolve().name, engine, str(folder), _seen(folder, exam))
    for spec in recipe.llm:
        llm = open_engine(spec, options)
        yield Candidate(Path(llm.model).name, llm)


def _base_of(folder: Path) -> str:
    """The base that an adapter says it was trained on.

    Raises:
        FinetuneError: it is no adapter, or does not say.
    """
    try:
        named = json.loads((folder / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError):
        raise FinetuneError(f"{folder} is not an adapter: no adapter_config.json that names its base") from None
    if not named:
        raise FinetuneError(f"{folder} does not name its base; add --base MODEL")
    return str(named)


def _seen(folder: Path, exam: Exam) -> int:
    """How many of the exam's questions are in the data that an adapter was trained on, where that can be read still."""
    try:
        record = json.loads((folder / "training.json").read_text("utf-8"))
        written, manifest = record["recipe"], record["data"]["manifest"]
        if manifest is not None and digest_of(Path(written["data"]) / MANIFEST)["sha256"] != manifest:
            return 0
        items = open_rows(written["data"], written["task"], written["map"]).items
    except (OSError, ValueError, KeyError, AugmentError):
        return 0
    trained = {turn for item in items for role, turn in item.turns if role == "user"}
    keys = set(fold(pl.Series(sorted(trained), dtype=pl.String)))
    return sum(key in keys for key in fold(exam.rows["query"]))
