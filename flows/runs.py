"""One run of any verb as a Prefect flow: by a server, with the recipe as its parameters, or by hand in this process.

What is the same for all verbs: stages as tasks, our log lines on the run's page, SIGTERM and Cancel that let the work
end well, tries again where they can help, and one line of failure where the user can put it right.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, Generic, TypeVar

import httpx
from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import BaseModel

from augment.errors import AugmentError, Interrupted, RunError
from flows.api import check_api
from flows.logs import our_logs
from flows.stages import Stages, with_retries

log = logging.getLogger(__name__)
Handler = Callable[[int, FrameType | None], Any]
Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Ended:
    """What a verb's work came to: what it made, and the run's last message, or what it `lacks` to be whole."""

    done: Any
    message: str = ""
    lacks: AugmentError | None = None


@dataclass(frozen=True)
class Job(Generic[Plan]):
    """What a verb does with a recipe: `plan` decides everything, `run` carries it out.

    `first` and `whole` are the names of the tasks that plan and that hold one try; their first word is their kind.
    `run` gets the plan, who runs its stages, and the event that asks it to end; `halt` is what else asks it to end.
    `kept` says what a run that was ended does not lose, and `waits` what its end waits for.
    """

    name: str
    first: str
    whole: str
    plan: Callable[[], Plan]
    run: Callable[[Plan, Stages, threading.Event], Ended]
    kept: str
    waits: str
    halt: Callable[[Plan], None] = lambda _: None


@dataclass
class _Hand:
    """A run by hand: what is planned, and what became of it. `drain` is what SIGTERM calls."""

    plan: Any
    stop: threading.Event
    drain: Handler | None
    done: Any = None
    error: BaseException | None = None


_BY_HAND: ContextVar[_Hand | None] = ContextVar("by_hand", default=None)


def as_flow(job: Job[Any], retries: int, retry_delay: float) -> State[Any]:
    """The body of every flow: the same work as without Prefect, each stage a task.

    A failed run is tried again `retries` times, `retry_delay` seconds apart; what is wrong with the recipe itself is
    not, and by hand nothing is.
    """
    hand = _BY_HAND.get()
    with our_logs():
        try:
            if hand is not None:
                return _once(job, hand)
            return with_retries(job.whole, lambda: _once(job, None), retries, retry_delay)
        except Interrupted as error:
            failure: AugmentError = error
            state: State[Any] = Cancelled(message=f"{error}; {job.kept}: run it again to go on")
        except AugmentError as error:
            failure, state = error, Failed(message=str(error))
    if hand is not None:
        hand.error = failure
    return state


def _once(job: Job[Any], hand: _Hand | None) -> State[Any]:
    stages = Stages(job.name)
    plan = stages(job.first, lambda: hand.plan if hand is not None else job.plan())
    stop = hand.stop if hand is not None else threading.Event()
    with _on_sigterm((hand and hand.drain) or _drains(job, plan, stop)):
        ended = job.run(plan, stages, stop)
    if hand is not None:
        hand.done = ended.done
    if ended.lacks is None:
        return Completed(message=ended.message)
    if hand is None:
        raise ended.lacks
    return Failed(message=str(ended.lacks))


def by_hand(flow: Flow[..., Any], recipe: BaseModel, plan: Any, stop: threading.Event, kept: str) -> Any:
    """Run what is planned as its flow in this process; `stop` is set from outside. What the job's `run` made.

    Raises:
        RunError: a Prefect API is configured and does not answer.
        AugmentError: as the work without Prefect.
    """
    check_api()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    drain = on_sigterm if callable(on_sigterm) else None  # Prefect puts its own in that place
    hand = _Hand(plan, stop, drain)
    token = _BY_HAND.set(hand)
    try:
        state: Any = flow(recipe, return_state=True)
    except httpx.HTTPError as error:  # Prefect has tried for a minute to say how the run ended
        if hand.error is None and hand.done is None:
            raise RunError(f"the Prefect API went away ({error}); {kept}: run it again") from None
        log.warning("the Prefect API went away (%s): it does not know that the run has ended", error)
    finally:
        _BY_HAND.reset(token)
    if hand.error is not None:
        raise hand.error
    if hand.done is None:
        state.result()
        raise AssertionError(f"the flow ended as {state.name} without a run")
    return hand.done


def _drains(job: Job[Any], plan: Any, stop: threading.Event) -> Handler:
    """Lets what is under way come to its end, then ends the run: what a cancelled run does."""

    def drain(_signum: int, _frame: FrameType | None) -> None:
        log.warning("stopping: waiting for %s", job.waits)
        stop.set()
        job.halt(plan)

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
