"""The stages of a run as Prefect tasks, with how far it is while it runs. The only @task file.

A task is a stretch of seconds to minutes, never a row. Frames and results stay in this process: a task run says
what was done, when and how it ended. The reply store is the cache, so Prefect's own is off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Failed

from augment.errors import AugmentError, EngineError
from flows.artifacts import artifact_key, shown

T = TypeVar("T")

AT_LEAST = 3.0
"""Seconds of work in a task, at least: a task costs some 25 ms."""
SHARE = 0.05
"""A stretch lasts this share of the time so far: a run of a day has some 170 stretches, one of a month 240."""
PROGRESS_EVERY = 5.0
"""Seconds between two updates of the progress artifact."""


@task(cache_policy=NO_CACHE, persist_result=False)
def _work(
    work: Callable[[], None], failed: list[BaseException], in_one_line: Callable[[BaseException], bool]
) -> State[Any] | None:
    """Leaves what `work` raises in `failed`; the task fails with one line, or with a traceback and maybe a retry."""
    try:
        work()
    except BaseException as error:
        failed.append(error)
        if in_one_line(error):
            return Failed(message=str(error))
        raise
    return None


def with_retries(name: str, work: Callable[[], T], retries: int, delay: float) -> T:
    """`work` as a task run called `name`, tried again `retries` times, `delay` seconds apart, where that can help.

    Raises:
        Exception: what the last try raised.
    """
    result: list[T] = []
    failed: list[BaseException] = []

    def one_try() -> None:
        failed.clear()
        result.append(work())

    if retries == 0:
        return work()
    outer = _work.with_options(
        name=name.partition(" ")[0],
        task_run_name=_literal(name),
        retries=retries,
        retry_delay_seconds=delay,
        retry_condition_fn=lambda _task, _run, _state: not _in_vain(failed[0]),
    )
    outer(one_try, failed, _in_vain, return_state=True)
    if failed:
        raise failed[0]
    return result[0]


def _in_vain(error: BaseException) -> bool:
    """A wrong recipe stays wrong; a server that was away may be back, and so may a disk or a network."""
    return isinstance(error, AugmentError) and not isinstance(error, EngineError)


def _users(error: BaseException) -> bool:
    """What the user can put right."""
    return isinstance(error, AugmentError)


def _literal(name: str) -> str:
    """Prefect fills {places} in a task run's name; a source's name may hold braces."""
    return name.replace("{", "(").replace("}", ")")


class Stages:
    """Runs each stage of the work as a task named like it, and keeps a progress artifact up to date."""

    def __init__(self, name: str) -> None:
        self._key = artifact_key(name)
        self._share: Callable[[], float | None] = lambda: None
        self._described = ""
        self._progress: Any = None
        self._last: State[Any] | None = None
        self._shown = 0.0

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Run `work` as a task run called `name`; its kind is what comes before the colon, or the first word.

        Raises:
            Exception: whatever `work` raises.
        """
        kind = name.partition(":")[0] if ":" in name else name.partition(" ")[0]
        result: list[T] = []
        failed: list[BaseException] = []
        one = _work.with_options(name=kind, task_run_name=_literal(name))
        after = [self._last] if self._last else None
        last = one(lambda: result.append(work()), failed, _users, return_state=True, wait_for=after)
        if failed:  # what comes after it, if anything does, does not wait for it
            raise failed[0]
        self._last = last
        self.show()
        return result[0]

    def seconds(self, elapsed: float) -> float:
        """How long the next stretch of generating lasts at least, `elapsed` seconds into the run."""
        return max(AT_LEAST, elapsed * SHARE)

    def follow(self, share: Callable[[], float | None], described: str) -> None:
        """From now on show `share` as the progress: what part of the whole is done, from 0 to 1, or None for nothing
        to show yet. `described` says of what.
        """
        self._share, self._described = share, described

    def show(self) -> None:
        """Show how far it is, every few seconds at most; long stages call it from within."""
        now = time.monotonic()
        if now - self._shown < PROGRESS_EVERY:
            return
        self._shown = now
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):  # five tries take a minute, and the work would wait
            self.progress()

    def progress(self) -> bool:
        """Show how far it is now; whether the API took it."""
        share = self._share()
        if share is None:
            return True
        percent = min(100.0, round(100.0 * share, 1))
        if self._progress is not None:
            return shown(update_progress_artifact, self._progress, percent) is not None
        self._progress = shown(create_progress_artifact, percent, f"{self._key}-progress", description=self._described)
        return self._progress is not None
