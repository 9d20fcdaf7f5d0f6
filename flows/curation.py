"""A recipe as a Prefect flow, whatever its verb: run by a server with the recipe as parameters, or by hand."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any

import httpx
from prefect import Flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from augment.errors import AugmentError, Interrupted, RunError
from augment.executors import answering
from augment.pipeline import Curated, curate
from augment.plan import Plan, open_plan
from augment.recipe import Recipe
from augment.summary import Tally
from flows.api import check_api
from flows.logs import our_logs
from flows.stages import Stages, report, with_retries

log = logging.getLogger(__name__)
Handler = Callable[[int, FrameType | None], Any]


@dataclass
class Watched:
    """A run and who watches it: `drain` is what SIGTERM calls; `done` or `error` is what became of it."""

    plan: Plan
    tally: Tally
    stop: threading.Event
    stages: Stages
    drain: Handler | None = None
    done: Curated | None = None
    error: BaseException | None = None


_BY_HAND: ContextVar[Watched | None] = ContextVar("by_hand", default=None)


def run_name() -> str:
    """What a flow run is called: the recipe or its source, and how many variants."""
    recipe = runtime.flow_run.parameters.get("recipe") or {}
    told = recipe if isinstance(recipe, dict) else recipe.model_dump()
    return " ".join(filter(None, (str(told.get("name") or told.get("source")), told.get("n"))))


def curated(recipe: Recipe, retries: int, retry_delay: float) -> State[Any]:
    """The body of each verb's flow: the same curate, each stage a task, the recipe its parameters.

    A failed run is tried again `retries` times, `retry_delay` seconds apart; what is wrong with the recipe itself is
    not.
    """
    hand = _BY_HAND.get()
    with our_logs():
        try:
            if hand is not None:
                hand.stages(f"read {recipe.source}", lambda: _tell(hand.plan))
                return _run(hand)
            return with_retries(f"curate {recipe.source}", lambda: _run(_planned(recipe)), retries, retry_delay)
        except Interrupted as error:
            failure: AugmentError = error
            state: State[Any] = Cancelled(message=f"{error}; what was answered is kept: run it again to go on")
        except AugmentError as error:
            failure, state = error, Failed(message=str(error))
    if hand is not None:
        hand.error = failure
    return state


def _planned(recipe: Recipe) -> Watched:
    tally = Tally()
    stages = Stages(recipe.name or recipe.source, tally)
    plan = stages(f"read {recipe.source}", lambda: _tell(open_plan(recipe)))
    return Watched(plan, tally, threading.Event(), stages)


def _run(watched: Watched) -> State[Any]:
    plan, tally, stages = watched.plan, watched.tally, watched.stages
    if plan.nothing_new:
        assert plan.parent is not None
        return Completed(message=f"nothing new since {plan.parent.folder}; nothing was published")
    with (
        _on_sigterm(watched.drain or _drains(plan, watched.stop)),
        answering(plan, watched.stop) as answer,
    ):
        done = curate(plan, answer=answer, stage=stages, tally=tally, stop=watched.stop)
    if stages.progress(100.0 * tally.kept / tally.target):
        report(plan, done)
    watched.done = done
    return Completed(message=f"{tally.line()}: {done.path}")


def _tell(plan: Plan) -> Plan:
    log.info("%s seeds, %s held out, %s variants wanted", len(plan.seeds), len(plan.exam), plan.total)
    return plan


def by_hand(flow: Flow[..., Any], plan: Plan, tally: Tally, stop: threading.Event) -> Curated:
    """Run a plan as its flow in this process; `tally` is watched and `stop` set from outside.

    Raises:
        RunError: a Prefect API is configured and does not answer.
        AugmentError: as `curate`.
    """
    check_api()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    drain = on_sigterm if callable(on_sigterm) else None  # Prefect puts its own in that place
    hand = Watched(plan, tally, stop, Stages(plan.name, tally), drain)
    token = _BY_HAND.set(hand)
    try:
        state: Any = flow(plan.recipe, return_state=True)
    except httpx.HTTPError as error:  # Prefect has tried for a minute to say how the run ended
        if hand.error is None and hand.done is None:
            raise RunError(f"the Prefect API went away ({error}); what was answered is kept: run it again") from None
        log.warning("the Prefect API went away (%s): it does not know that the run has ended", error)
    finally:
        _BY_HAND.reset(token)
    if hand.error is not None:
        raise hand.error
    if hand.done is None:
        state.result()
        raise AssertionError(f"the flow ended as {state.name} without a run")
    return hand.done


def _drains(plan: Plan, stop: threading.Event) -> Handler:
    """Lets what is in flight be answered, then ends the run: what a cancelled run does."""

    def drain(_signum: int, _frame: FrameType | None) -> None:
        log.warning("stopping: waiting for the answers in flight")
        stop.set()
        for engine in plan.engines:
            engine.drain()

    return drain


@contextmanager
def _on_sigterm(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
