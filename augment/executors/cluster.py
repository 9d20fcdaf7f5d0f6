"""Ray for one run: started on this host or found at an address, with a crew of workers, and left as it was."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import ray

from augment.engines import EngineOptions
from augment.errors import EngineError
from augment.executors.crew import Crew
from augment.executors.local import Answer, Answered, in_order, of_engine, written
from augment.executors.worker import Assignment, Worker
from augment.generators import answers_itself
from augment.plan import Plan, Shard
from augment.recipe import ImageRecipe
from augment.replies import ReplyStore
from augment.summary import Tally

log = logging.getLogger(__name__)

CARRIED = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_TOKEN")
"""What workers take over from this process's environment; everything else is their node's own."""
THREADS = 4
"""Calls a worker attends to at once: it gives and takes at the same time."""


class Wanted(Protocol):
    """Workers asked for: how many (None: as many as there is room for), where (None: this host), GPUs for each."""

    @property
    def workers(self) -> int | None: ...
    @property
    def ray(self) -> str | None: ...
    @property
    def gpus_per_worker(self) -> float: ...


@contextmanager
def on_ray(plan: Plan, stop: threading.Event) -> Iterator[Answer]:
    """Answer the plan's shards by Ray actors, each with an engine of its own, opened once; they end with the block.

    Raises:
        EngineError: Ray does not answer, or has no room for one worker.
    """
    recipe = plan.recipe
    who_answers = (recipe.llm, EngineOptions.of(recipe))
    if isinstance(recipe, ImageRecipe):
        who_answers = (recipe.engine, EngineOptions.drawing(recipe))
    who = (plan.engine.name, plan.engine.model, plan.engine.revision) if plan.engine else None
    with connected(recipe):
        actor = ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=recipe.gpus_per_worker,
            max_concurrency=THREADS,
            max_restarts=0,  # the crew starts another, which knows nothing yet
            scheduling_strategy="SPREAD",
            enable_task_events=False,
        )
        llm, options = who_answers
        count = room_for(recipe)
        assignment = Assignment(
            llm,
            options.shared(count),
            tuple(each for each in plan.generators if answers_itself(each)),
            str(Path.cwd()),
            {name: os.environ[name] for name in CARRIED if name in os.environ},
        )
        crew = Crew(actor.remote, assignment, who, count, stop)
        try:
            yield partial(_answer, crew)
        finally:
            crew.dismiss()


def _answer(crew: Crew, plan: Plan, shards: Iterable[Shard], store: ReplyStore, tally: Tally) -> Iterator[Answered]:
    """Shards answered by the crew; what an LLM writes for pictures comes from here."""
    works = written(plan, shards, store, tally)
    return in_order(plan, works, store, tally, crew.generate, of_engine(plan, store, everyone=True))


def room_for(wanted: Wanted) -> int:
    """How many workers: as many as asked for, or as the cluster has room for.

    Raises:
        EngineError: there is no room for one, or not for all on this host.
    """
    gpus = wanted.gpus_per_worker
    room, has = 0, {"CPU": 0.0, "GPU": 0.0}
    for node in ray.nodes():
        found = node["Resources"] if node["Alive"] else {}
        for name in has:
            has[name] += found.get(name, 0.0)
        room += int(min(found.get("CPU", 0.0), found.get("GPU", 0.0) / gpus if gpus else float("inf")))
    asked = wanted.workers or room
    if room >= asked > 0:
        return asked
    where = "this host" if wanted.ray is None else "the cluster"
    what = f"{where} has room for {room} workers ({has['CPU']:g} CPUs, {has['GPU']:g} GPUs"
    what += f"; one takes a CPU and {gpus:g} GPUs)" if gpus else "; one takes a CPU)"
    if room == 0 or wanted.ray is None:
        raise EngineError(f"{what}; lower --workers or --gpus-per-worker, or add nodes")
    log.warning("%s, %d were asked for; the others join when there is more", what, asked)
    return asked


@contextmanager
def connected(wanted: Wanted) -> Iterator[None]:
    """Ray until the block ends: the one this process has already, the one at `--ray`, or one of our own.

    Raises:
        EngineError: nothing answers there, or it cannot work with this process.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if wanted.ray is not None:
        _look(wanted.ray)
    try:
        with _our_signals():
            if wanted.ray is None:
                ray.init("local", num_cpus=wanted.workers, include_dashboard=False, **_QUIET)
            else:
                ray.init(wanted.ray, **_QUIET)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        said = " ".join(str(error).split())[:300]
        advice = "see /tmp/ray/session_latest/logs"
        if wanted.ray:  # by default Ray lets nobody in without a token, and says nothing about it here
            advice = "start Ray there; if it wants a token (~/.ray/auth_token), set RAY_AUTH_MODE=token"
        raise EngineError(f"no Ray at {wanted.ray or 'this host'}: {said}; {advice}") from None
    ray._private.worker._worker_logs_enabled = False  # else it writes deaths to stdout, where `--json` writes
    try:
        yield
    finally:
        with _our_signals():
            ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


_QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}


def _look(address: str) -> None:
    """A quick look whether anyone is there: Ray itself would wait for minutes.

    Raises:
        EngineError: no answer, or an address of another kind.
    """
    if address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdigit():
        raise EngineError(f"--ray '{address}' is no address; write auto, or HOST:PORT as `ray start --head` prints it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise EngineError(f"no Ray at {address}: {error}; start it with `ray start --head`, or check --ray") from None


@contextmanager
def _our_signals(signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> Iterator[None]:
    """Ray puts its own handlers in place of ours, which drain the run; put ours back."""
    ours = {each: signal.getsignal(each) for each in signals}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for each, handler in ours.items():
                signal.signal(each, handler)
