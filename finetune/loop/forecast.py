"""What a loop would cost, stage by stage, before anything is made: rows, requests, tokens, steps, memory, and time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from augment.forecast import forecast as forecast_of
from augment.language import tokens_of
from augment.plan import make_plan
from finetune.forecast import Forecast, steps_of
from finetune.loop.gpus import Gpu, gpu_of
from finetune.loop.planned import PICTURED, Planned
from finetune.model import open_base, quiet, skeleton
from finetune.prepare import prepare

GIB = 2**30
ANSWER = 300
"""Tokens of an answer where an exam has no gold answers to count."""


@dataclass(frozen=True)
class Stage:
    """One line of a forecast; `seconds` is None where nobody can say, `memory` in bytes."""

    name: str
    what: str
    seconds: float | None = None
    memory: int | None = None


def forecast(planned: Planned, gpu: str | None) -> list[Stage]:
    """Every stage of the loop as if all candidates were kept; round by round, since each makes more.

    Raises:
        AugmentError: the base or the rows cannot be read, or there is no GPU of that name.
    """
    quiet()
    card = gpu_of(gpu)
    return [*_before(planned), *_rounds(planned, card)]


def _before(planned: Planned) -> Iterator[Stage]:
    recipe = planned.recipe
    if (made := recipe.pretraining()) is not None:
        yield Stage("pretrain", f"{made.steps:,} steps on {len(planned.seeds):,} rows")
    for modality in PICTURED:
        if getattr(recipe, modality) is not None:
            told = forecast_of(make_plan(recipe.pictures(planned.out / modality, modality)[0], None))
            yield Stage(
                f"augment {modality}", f"{told['target']:,} variants, {told['requests_at_most']:,} requests at most"
            )


def _rounds(planned: Planned, gpu: Gpu | None) -> Iterator[Stage]:
    recipe = planned.recipe
    base = None if recipe.pretrain is not None else open_base(recipe.base)
    parameters = sum(each.numel() for each in skeleton(base).parameters()) if base is not None else 0
    trainings = _trainings(planned) if base is not None else []
    told = forecast_of(planned.first)
    models = 1 + 2 * len(planned.names)
    evaluation = recipe.evaluation(None, [], planned.out)
    for number in range(1, recipe.rounds + 1):
        wanted = planned.first.total * number
        local = str(planned.first.recipe.llm or "").partition(":")[0] in ("vllm", "transformers")
        seconds = None
        if told["tokens_out"] and local and gpu is not None and _same(planned):
            seconds = gpu.answering(
                parameters, told["tokens_in"], told["tokens_out"], planned.first.recipe.concurrency
            )  # those of earlier rounds are in the store
        tokens = f", about {told['tokens_in']:,} tokens in and {told['tokens_out']:,} out" if told["tokens_out"] else ""
        yield Stage(
            f"round {number}: augment",
            f"{wanted:,} variants, {planned.first.total:,} of them new; {told['requests']:,} requests if all are kept, "
            f"{told['requests_at_most']:,} at most{tokens}",
            seconds,
        )
        rows = 1 + wanted / max(1, len(planned.seeds))
        for name, which, flops in trainings:
            steps = steps_of(round(which.examples * rows), which.batch, *_length(planned, name))
            trained = which.tokens / which.examples * steps * which.batch
            yield Stage(
                f"round {number}: train {name}",
                f"{steps:,} steps of {which.batch} rows, {which.size.trainable:,} trainable parameters, "
                f"{trained:,.0f} tokens; once more on the seeds repeated",
                2 * gpu.training(parameters, trained, flops) if gpu is not None else None,
                which.total,
            )
        if recipe.rounds > 1:
            count = len(planned.validation) * (1 + len(planned.names))
            yield _asked(
                f"round {number}: validate", count, planned.validation["response"], parameters, gpu, evaluation
            )
        count = min(len(planned.exam), evaluation.limit or len(planned.exam)) * models
        yield _asked(f"round {number}: exam", count, planned.exam["gold"], parameters, gpu, evaluation)


def _asked(name: str, count: int, gold: pl.Series, parameters: int, gpu: Gpu | None, evaluation: Any) -> Stage:
    texts = gold.drop_nulls().to_list()
    each = sum(map(tokens_of, texts)) / len(texts) if texts else ANSWER
    out = count * min(each, evaluation.max_tokens)
    seconds = (
        gpu.answering(parameters, count * 64, out, evaluation.concurrency) if gpu is not None and parameters else None
    )
    judged = f", each judged by {evaluation.judge}" if evaluation.judge else ""
    return Stage(name, f"{count:,} answers of some {each:,.0f} tokens{judged}", seconds)


def _same(planned: Planned) -> bool:
    """Whether the model that writes variants is the base, whose size is known."""
    return str(planned.first.recipe.llm or "").partition(":")[2] == planned.recipe.base


def _trainings(planned: Planned) -> list[tuple[str, Forecast, int]]:
    """Each adapter's forecast on the seeds alone, and its flops a weight and token."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "seeds.jsonl"
        planned.seeds.select("prompt", "response", "label").write_ndjson(data)
        for number, called in enumerate(planned.names):
            recipe = planned.recipe.training(number, data, Path(name) / called)
            flops = 4 + 2 * recipe.gradient_checkpointing + 2 * (recipe.objective == "ba_lora")
            found.append((called, prepare(recipe).forecast, flops))
    return found


def _length(planned: Planned, name: str) -> tuple[float, int | None]:
    recipe = planned.recipe.training(planned.names.index(name), Path("-"), Path("-"))
    return recipe.epochs, recipe.max_steps


def lines_of(stages: list[Stage], gpu: str | None) -> list[str]:
    """The forecast for a terminal."""
    card = gpu_of(gpu)
    lines = []
    for each in stages:
        more = [f"memory about {each.memory / GIB:.1f} GiB"] if each.memory else []
        more += [f"about {_time(each.seconds)}"] if each.seconds is not None else []
        lines.append(f"{each.name}: {each.what}{'; ' if more else ''}{', '.join(more)}")
    known = [each.seconds for each in stages if each.seconds is not None]
    if card is not None:
        lines.append(
            f"in all about {_time(sum(known))} on one {card.name} ({card.memory:g} GB), if every candidate is kept; "
            "loading, sifting and servers elsewhere are not in it"
        )
        most = max((each.memory for each in stages if each.memory), default=0)
        if most > card.memory * 1e9:
            lines.append(f"it does not fit: {most / GIB:.1f} GiB; lower micro_batch, or gradient_checkpointing = true")
    else:
        lines.append("no time is told without a GPU; --gpu H100 tells it for that one")
    return [*lines, "dry run: nothing was made"]


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
