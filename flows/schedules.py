"""`augment serve`: recipes that run by themselves, at set times or when files arrive, over what is new.

One process serves several recipes, each as a deployment of its verb's flow. A run at a time: a second one waits, and
then finds what the first left. Runs that were missed while nobody served are caught up by one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger, DeploymentTriggerTypes
from prefect.events.schemas.automations import TriggerTypes
from prefect.exceptions import TerminationSignal
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled
from prefect.types.entrypoint import EntrypointType
from pydantic import BaseModel, ValidationError

from augment.errors import RecipeError, RunError
from augment.recipe import Schedule, read_schedule
from flows.alerts import TAG, alert, notice_crashes
from flows.api import check_api
from flows.verbs import Verb, verb_for
from flows.watch import EVENT, Watch, listing, resource

log = logging.getLogger(__name__)


def serve(files: Sequence[Path], flags: Mapping[str, Any], alert_url: str | None) -> None:
    """Serve the recipes in `files` until the process is stopped; `flags` win over each one's `[schedule]`.

    Raises:
        RecipeError: a recipe or schedule is wrong.
        RunError: there is no Prefect server, or only one that would end with this process.
    """
    planned = [read_served(file, flags) for file in files]
    names = [each.name for each in planned]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise RecipeError(f"two recipes are called '{doubled}'; give one another  name = …")
    if not PREFECT_API_URL.value():
        raise RunError(
            "augment serve needs a Prefect server that stays; start one with  prefect server start  "
            "and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    deployments = [deployment(each) for each in planned]
    check_api()
    runner = Runner(name="augment", pause_on_shutdown=False)
    with get_client(sync_client=True) as client:
        notice_crashes(client)
        if alert_url:
            alert(client, alert_url)
        for each in deployments:
            served: UUID = runner.add_deployment(each)  # type: ignore[assignment]
            _catch_up(client, served)
    schedules = [each.schedule for each in planned]
    watches = [Watch(each.watch, each.watch_every) for each in schedules if each.watch]
    for watch in watches:
        watch.start()
    try:
        for recipe, schedule in zip(planned, schedules, strict=True):
            when = [f"at {schedule.cron} {schedule.timezone}"] if schedule.cron else []
            when += [f"when files arrive in {schedule.watch}"] if schedule.watch else []
            log.warning("serving %s: %s", recipe.name, ", and ".join(when))
        asyncio.run(_until_stopped(runner))
    except (KeyboardInterrupt, TerminationSignal, asyncio.CancelledError):
        pass
    finally:
        for watch in watches:
            watch.end()


async def _until_stopped(runner: Runner) -> None:
    """Run it; the first Ctrl-C or SIGTERM lets its runs drain and takes no more, the second one ends them at once."""
    loop = asyncio.get_running_loop()
    running = loop.create_task(runner.start())
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        if stopping or not runner.started:
            running.cancel()
        else:
            stopping.append(loop.create_task(runner.astop()))

    await asyncio.sleep(0)  # by now it has put its own handler, which drains in some versions only, in SIGTERM's place
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop)
    await running


@dataclass(frozen=True)
class Served:
    """A recipe that runs by itself: what it is called, for which verb it is, and when it runs."""

    name: str
    verb: Verb
    recipe: BaseModel
    schedule: Schedule


def read_served(file: Path, flags: Mapping[str, Any]) -> Served:
    """The recipe in `file` with its schedule, over which `flags` (unset ones are None) win.

    Raises:
        RecipeError: one of them is wrong.
    """
    verb = verb_for(file)
    recipe = verb.to_serve(file)
    schedule = read_schedule(flags, file)
    if schedule.watch:
        listing(schedule.watch)
    return Served(str(getattr(recipe, "name", None) or file.stem), verb, recipe, schedule)


def deployment(served: Served) -> RunnerDeployment:
    """The recipe as a deployment of its verb's flow: one run at a time, on its schedule and when files arrive.

    Raises:
        RecipeError: the cron line or the time zone is none.
    """
    name, verb, recipe, schedule = served.name, served.verb, served.recipe, served.schedule
    cron = []
    if schedule.cron:
        try:
            cron = [CronSchedule(cron=schedule.cron, timezone=schedule.timezone)]
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(str(part) for part in fault["loc"]) or "cron"
            raise RecipeError(f"schedule of {name}: {key}: {fault['msg']} (got {fault['input']!r})") from None
    triggers: list[DeploymentTriggerTypes | TriggerTypes] = []
    if schedule.watch:
        triggers = [
            DeploymentEventTrigger(
                name=f"new files for {name}",
                expect={EVENT},
                match={"prefect.resource.id": resource(schedule.watch)},
                within=timedelta(0),
            )
        ]
    made: RunnerDeployment = verb.flow.to_deployment(  # type: ignore[assignment]
        name,
        schedules=cron,
        triggers=triggers,
        parameters={
            "recipe": recipe.model_dump(mode="json", by_alias=True, exclude_unset=True),
            "retries": schedule.retries,
            "retry_delay": schedule.retry_delay,
        },
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        tags=[TAG],
        description=verb.told.format(**recipe.model_dump()),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return made


def _catch_up(client: SyncPrefectClient, deployment: UUID) -> None:
    """One run now in place of those that were due while nobody served: Prefect takes only later ones off the schedule.

    A run that was about to begin when the one before us stopped never will, and would hold the place of the next.
    """
    overdue = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),  # type: ignore[arg-type]
        ),
    )
    missed = [run for run in overdue if run.auto_scheduled or run.state_type == StateType.PENDING]
    for run in missed:
        if run.state_type == StateType.PENDING:
            client.set_flow_run_state(run.id, Cancelled(message="stopped before it began"), force=True)
        else:
            client.delete_flow_run(run.id)
    if missed:
        client.create_flow_run_from_deployment(deployment, name=f"catch up on {len(missed)} missed")
