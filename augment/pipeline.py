"""curate(plan): generate, sift, refill until n× is met, publish."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import orjson
import polars as pl

from augment.ahead import ahead
from augment.asking import Steps, walk
from augment.budget import Budget, within
from augment.errors import Interrupted
from augment.executors import Answer, Answered, answering, local
from augment.executors.local import drafts_of
from augment.generators import Asking, Generator, answers_itself
from augment.images.store import pictures
from augment.lineage import carried
from augment.places import home
from augment.plan import Plan
from augment.publish import Workshop
from augment.quota import Quota
from augment.records import (
    CONTENT,
    FINISHED,
    PARENT,
    POSITION,
    SCHEMA,
    UNUSABLE,
    VERDICT,
    Rejected,
    Reply,
    Request,
    Row,
    made_id,
)
from augment.replies import ReplyStore
from augment.review.guard import prevailing
from augment.summary import FAILED, Summary, Tally, checks_of, summarise
from filters import Context

log = logging.getLogger(__name__)

AHEAD = 8
"""Shards that may be answered before they are sifted: some seconds of a fast engine's work, and little memory."""

T = TypeVar("T")


class Stage(Protocol):
    """Runs a named stretch of the work. `flows` has one that makes each a Prefect task."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns."""
        ...

    def seconds(self, elapsed: float) -> float:
        """How long a stretch should last at least, `elapsed` seconds into the run."""
        ...


class Directly:
    """The plain way: one stretch from the first candidate to the last."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        return work()

    def seconds(self, elapsed: float) -> float:
        return math.inf


@dataclass(frozen=True)
class Curated:
    """A published run."""

    path: Path
    summary: Summary


def curate(
    plan: Plan,
    *,
    answer: Answer = local,
    stage: Stage | None = None,
    tally: Tally | None = None,
    stop: threading.Event | None = None,
) -> Curated:
    """Run the plan to its published dataset; every reply so far is kept whatever happens.

    `answer` maps over shards (in process by default), `stage` runs the named stretches of the work, `tally` can
    be watched meanwhile, and `stop` ends a run without an engine between two shards; one with an engine ends by
    draining that.

    Raises:
        RunError: the run folder is held by another process or is not ours.
        EngineError: the engine refuses every request.
        Interrupted: `stop` was set, or the engine drained; BudgetSpent where the recipe's budget did it.
    """
    started = time.perf_counter()
    stage = stage or Directly()
    tally = tally or Tally()
    stop = stop or threading.Event()
    tally.target = plan.total
    quota = Quota.of(plan)
    context = plan.context()
    budget = Budget.of(plan.recipe.budget) if plan.recipe.budget else None

    def drain() -> None:
        stop.set()
        for engine in plan.engines:
            engine.drain()

    with (
        within(budget, tally, drain),
        Workshop.open(plan) as workshop,
        ReplyStore(home() / "replies.sqlite") as store,
    ):

        def settle(candidates: pl.DataFrame) -> pl.DataFrame:
            sifted = sift(plan, candidates, context)
            workshop.keep(sifted)
            tally.add(sifted)
            tally.sieve.add(plan.chain, sifted)
            return sifted

        def choose() -> None:
            chosen = plan.chain.select(workshop.kept(), context)
            if "reviewed" in chosen.columns:
                chosen = prevailing(chosen, plan.exam, plan.seeds)
            workshop.rejudge(chosen)
            tally.put_out(chosen)
            tally.sieve.put_out(plan.chain, chosen)
            log.info("%s of %s kept variants chosen", f"{tally.kept:,}", f"{len(chosen):,}")

        def take_over() -> None:
            for candidates in carried(plan):
                sifted = settle(candidates)
                quota.carry(sifted)
                tally.carried += sifted["dropped_by"].null_count()
            log.info("%s variants carried over", f"{tally.carried:,}")

        def shards() -> Iterator[None]:
            """Every shard generated and sifted, round after round until n is met."""
            while (asked := quota.next_round(tally.rounds)) is not None:
                tally.rounds += 1
                left = asked.size
                with ahead(answer(plan, asked.shards, store, tally), AHEAD) as stream:
                    for answered in stream:
                        quota.add(settle(read(plan, answered, store)))
                        left -= answered.shard.size
                        if not plan.engines and stop.is_set():
                            raise Interrupted("stopped before every request was answered")
                        yield
                if left:
                    raise AssertionError(f"{left} requests of the round were handed out and never came back")

        def stretch(seconds: float) -> bool:
            """Some shards, for so long at least; whether there are more."""
            until = time.monotonic() + seconds
            more = any(time.monotonic() >= until for _ in work)
            log.info("%s candidates: %s", f"{tally.candidates:,}", tally.line())
            return more

        if plan.parent is not None:
            stage(f"carry over {plan.parent.folder.name}", take_over)
        work = shards()
        for part in itertools.count(1):
            name = "generate and sift:" if tally.rounds < 2 else f"refill: from round {tally.rounds},"
            seconds = stage.seconds(time.perf_counter() - started)
            if not stage(f"{name} part {part}", partial(stretch, seconds)):
                break
        if plan.chain.selections and tally.kept:
            stage("choose among what is kept", choose)
        tally.checks = checks_of(context)
        if quota.bandit:
            tally.checks["allocation"] = quota.bandit.told
        summary = summarise(plan, tally, quota, time.perf_counter() - started)
        return Curated(stage(f"publish {plan.out.name}", partial(workshop.publish, plan, summary)), summary)


def run_here(plan: Plan, tally: Tally, stop: threading.Event) -> Curated:
    """Run a plan with nothing around it, answered here or by the workers that its recipe asks for.

    Raises:
        AugmentError: as `curate`.
    """
    with answering(plan, stop) as answer:
        return curate(plan, answer=answer, tally=tally, stop=stop)


def read(plan: Plan, answered: Answered, store: ReplyStore) -> pl.DataFrame:
    """The shard's candidates, one line a request; those that hold no row have their verdict already."""
    asked = list(plan.requests(answered.shard, drafts_of(plan, answered, store)))
    replies = {**store.answered(each.request for each in asked), **answered.replies}
    walk([each.steps for each in asked if each.steps], lambda some: {**store.answered(some), **answered.replies})
    places = (
        (position, candidate)
        for position, first, count in answered.shard.asks
        for candidate in range(first, first + count)
    )
    lines = []
    for (record, generator, request, instead, steps), (position, candidate) in zip(asked, places, strict=True):
        if steps is not None:
            parent = {"parent_prompt": record.prompt or None, "parent_response": record.response}
            lines.append({**_stepped(plan, steps), **parent, "_position": position, "_candidate": candidate})
            continue
        reply = instead if instead is not None else replies.get(request.key)
        if reply is None and answers_itself(generator):
            reply = generator.answer(request)
            if reply.picture:
                pictures().put(reply.key, reply.picture)
        if reply is None:
            raise AssertionError(f"no reply for {request.generator} k={request.k} of {request.record}")
        line = _line(plan, record, generator, request, reply)
        parent = {"parent_prompt": record.prompt or None, "parent_response": record.response}
        lines.append({**line, **parent, "_position": position, "_candidate": candidate})
    content = {**SCHEMA, **VERDICT, **plan.content_columns}
    return pl.DataFrame(lines, schema={**content, **PARENT, **POSITION})


def sift(plan: Plan, candidates: pl.DataFrame, context: Context) -> pl.DataFrame:
    """All candidates with scores and verdicts; those that hold no row, or that people reject, are passed by."""
    candidates = plan.verdicts.turned_away(candidates)
    readable = pl.col("dropped_by").is_null()
    sifted = plan.chain.sift(candidates.filter(readable).drop(VERDICT), context)
    if "reviewed" in sifted.columns:
        sifted = prevailing(sifted, plan.exam, plan.seeds)
    return pl.concat([sifted, candidates.filter(~readable).drop(PARENT)], how="diagonal")


def _unfinished(reply: Reply) -> Rejected | None:
    """Why a reply is not whole: cut off at its limit, or ended by something other than the model."""
    if reply.finish in FINISHED:
        return None
    reasons = {"length": "truncated", UNUSABLE: "unusable answer"}
    return Rejected(reasons.get(reply.finish, f"ended by {reply.finish}"))


def _stepped(plan: Plan, steps: Steps) -> dict[str, Any]:
    """One candidate that was asked for in several steps, as a line: the last request's, with all tokens and templates.

    Its `params` have the reply keys of the steps before, in order, as `steps`.
    """
    end = steps.end
    if end is None:
        raise AssertionError(f"no reply for {steps.generator.name} k={steps.k} of {steps.record.id}")
    line = _line(plan, steps.record, steps.generator, steps.request, end)
    told = {"tokens_in": sum(each.tokens_in for each in steps.replies)}
    told["tokens_out"] = sum(each.tokens_out for each in steps.replies)
    templates = dict.fromkeys(each.template for each in steps.asked)
    if len(steps.replies) > 1:
        before = [each.key for each in steps.asked[: len(steps.replies) - 1]]
        line["params"] = orjson.dumps({**orjson.loads(steps.request.params), "steps": before}).decode()
    return {**line, **(told if steps.replies else {}), "template": " > ".join(templates)}


def _line(
    plan: Plan, record: Row, generator: Asking, request: Request, reply: Reply | Rejected | Row
) -> dict[str, Any]:
    """One candidate as a line of the candidates' frame; a `Row` has been read already."""
    line: dict[str, Any] = {
        "parents": [record.id],
        "source": plan.source.name,
        "split": "train",
        "generator": request.generator,
        "variant": request.k,
        "engine": request.engine,
        "model": request.model,
        "revision": request.revision,
        "template": request.template,
        "params": request.params,
        "seed": request.seed,
        "reply_key": request.key,
    }
    if isinstance(reply, Rejected):
        return {**line, "id": request.key[:16], "dropped_by": "reply", "reason": reply.reason}
    if isinstance(reply, Row):
        return {**line, **_content(plan, record, request, reply)}
    line |= {"tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}
    if reply.error is not None:
        reason, _, detail = reply.error.partition(": ")
        return {**line, "id": request.key[:16], "dropped_by": FAILED, "reason": reason, "detail": detail}
    unfinished = None if answers_itself(generator) else _unfinished(reply)
    made = unfinished or cast("Generator", generator).read(record, reply)  # one in steps has concluded
    if isinstance(made, Rejected):
        verdict = {"dropped_by": "reply", "reason": made.reason, "detail": reply.text[:500]}
        return {**line, "id": request.key[:16], **verdict}
    return {**line, **_content(plan, record, request, made)}


def _content(plan: Plan, record: Row, request: Request, made: Row) -> dict[str, Any]:
    """What a variant holds, its id and its parents."""
    content = {name: getattr(made, name) for name in (*CONTENT, *plan.content_columns)}
    if plan.pictured:
        content["prompt"] = made.prompt or None
    id = made_id(record, request.generator, request.k, made, pictured=plan.pictured)
    return {"id": id, "parents": [record.id, *made.partners], **content}
