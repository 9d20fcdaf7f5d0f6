"""A pilot: the first of a run's requests asked for real, to say what the whole will cost before it is begun.

What is asked is asked by the run, too: its replies are kept, so that a pilot costs nothing that the run would not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import polars as pl

from augment.errors import RecipeError
from augment.executors import Answer, local
from augment.intervals import Interval, normal
from augment.intervals import share as share_of
from augment.pipeline import read, sift
from augment.places import home
from augment.plan import Plan, Shard
from augment.quota import Quota
from augment.replies import ReplyStore
from augment.summary import Tally

SHARE, LEAST = 0.01, 20
"""Of a run's candidates, and candidates at least, that a pilot asks for."""
LONG = 2000
"""Variants from which on a run begins with a pilot."""
SOME = 200
"""Variants of each generator that a pilot asks for at most: enough for an interval of a few percent."""


def piloted(plan: Plan) -> Shard:
    """A fair sample of the run's first round: seeds evenly spread, and of each the candidate whose turn it is."""
    shares = Quota.of(plan).share
    wanting = [position for position in range(len(shares)) if shares[position] > 0]
    most = SOME * len(plan.generators)
    count = min(sum(int(shares[each]) for each in wanting), max(LEAST, min(most, math.ceil(SHARE * plan.total))))
    asks: dict[int, list[int]] = {}
    for number in range(count):
        position = wanting[number * len(wanting) // count] if count <= len(wanting) else wanting[number % len(wanting)]
        lap = number // len(wanting) if count > len(wanting) else 0
        candidate = (number + lap) % int(shares[position])
        asks.setdefault(position, []).append(candidate)
    # a seed's candidates are asked for in stretches
    found = [(position, each, 1) for position, some in sorted(asks.items()) for each in sorted(set(some))]
    return Shard(0, 0, tuple(found))


def pilot(
    plan: Plan, *, answer: Answer = local, tally: Tally | None = None, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """What a run is likely to cost, with intervals: kept share, requests, tokens, seconds.

    Acceptance is that of the sample against the seeds and itself: a run's later variants meet more that is like them,
    so that near-duplicates are underrated.

    Raises:
        RecipeError: nobody is asked anything.
        EngineError, Interrupted: as `curate`.
    """
    if plan.engine is None:
        raise RecipeError("a pilot asks an LLM, and there is none; leave --pilot out, or add --llm openai:MODEL")
    tally, shard, began = tally or Tally(), piloted(plan), clock()
    with ReplyStore(home() / "replies.sqlite") as store:
        for answered in answer(plan, [shard], store, tally):
            sifted = sift(plan, read(plan, answered, store), plan.context())
    took = clock() - began
    kept = sifted["dropped_by"].is_null()
    accepted = share_of(int(kept.sum()), len(sifted))
    tokens = sifted.select("tokens_in", "tokens_out").fill_null(0)
    each = normal((tokens["tokens_in"] + tokens["tokens_out"]).cast(pl.Float64).to_numpy())
    most = int(Quota.of(plan).cap.sum())

    def candidates(share: float) -> int:
        return min(most, math.ceil(plan.total / share)) if share > 0 else most

    asked = [candidates(each) for each in (accepted.mean, accepted.high, accepted.low)]
    requests = tally.requests_sent / max(1, len(sifted))
    found: dict[str, Any] = {
        "sample": len(sifted),
        "kept": {"share": accepted.mean, "low": accepted.low, "high": accepted.high},
        "candidates": _told(*asked),
        "tokens": _told(*(round(count * size) for count, size in zip(asked, _ends(each), strict=True))),
        "requests_sent": tally.requests_sent,
        "replies_reused": tally.replies_reused,
        "rejected": sifted.filter(~kept)
        .group_by("dropped_by", "reason")
        .agg(rows=pl.len())
        .sort("rows", "dropped_by", "reason", descending=[True, False, False])
        .to_dicts(),
    }
    if tally.requests_sent:
        # as if all slots were always busy: a sample smaller than they are says how long one answer takes
        slots = plan.recipe.concurrency
        one = took / math.ceil(tally.requests_sent / slots) / slots
        found["seconds"] = _told(*(round(count * requests * one, 1) for count in asked))
    return found


def _told(likely: float, low: float, high: float) -> dict[str, float]:
    return {"likely": likely, "low": min(likely, low), "high": max(likely, high)}


def _ends(interval: Interval) -> tuple[float, float, float]:
    """The mean, and the ends; the mean where there is no interval."""
    low, high = (interval.mean if math.isnan(end) else end for end in (interval.low, interval.high))
    return interval.mean, low, high


def to_text(found: dict[str, Any]) -> str:
    """A pilot's forecast for people: what was kept, what the whole costs, what was dropped."""
    kept, asked, tokens, seconds = found["kept"], found["candidates"], found["tokens"], found.get("seconds")
    whole = [f"{asked['likely']:,} candidates ({asked['low']:,} to {asked['high']:,})"]
    if tokens["high"]:
        ends = f"{_count(tokens['low'])} to {_count(tokens['high'])}"
        whole.append(f"{_count(tokens['likely'])} tokens ({ends})")
    if seconds:
        whole.append(f"about {_time(seconds['likely'])} ({_time(seconds['low'])} to {_time(seconds['high'])})")
    share = f"{kept['share']:.0%} are kept ({kept['low']:.0%} to {kept['high']:.0%})"
    lines = [f"pilot: of {found['sample']:,} candidates {share}", f"the whole: {', '.join(whole)}"]
    if found["rejected"]:
        worst = found["rejected"][:3]
        lines.append(
            "most dropped by "
            + "; ".join(f"{each['dropped_by']}: {each['reason']} ({each['rows']:,})" for each in worst)
        )
    return "\n".join(lines)


def _count(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
