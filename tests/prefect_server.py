"""A real Prefect server on loopback, and commands of ours that run against it in processes of their own.

The server keeps its database in a temporary folder and can be stopped and started again on the same port. Every process
started here carries a mark in its environment, by which `end_all` finds it and what it started in turn.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
MARK = "AUGMENT_TEST_MARK"
SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "0:00:05",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
}
"""Both the server's and its clients': everything that waits waits a second or so."""
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

T = TypeVar("T")
Json = dict[str, Any]


def until(found: Callable[[], T], seconds: float = 120.0, every: float = 0.1) -> T:
    """What `found` returns once that is true; the time is for machines that do much else.

    Raises:
        AssertionError: it was not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (last := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s; last was {last!r}")
        time.sleep(every)
    return last


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Started:
    """A process under test: its output goes to files, so that it never blocks on a pipe and can be read any time."""

    def __init__(self, words: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self._files = [cwd / f".{uuid.uuid4().hex[:8]}.{name}" for name in ("out", "err")]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=0
            )

    @property
    def out(self) -> str:
        return self._files[0].read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        return self._files[1].read_text("utf-8", "replace")

    def end(self, seconds: float = 120.0) -> int:
        """Its exit code, once it has ended by itself.

        Raises:
            AssertionError: it had not within `seconds`.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s; it said: {self.err[-3000:]}") from None

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end, as Ctrl-C does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.end(90)

    def until_says(self, text: str, seconds: float = 120.0) -> None:
        """Wait for `text` on its stderr or stdout.

        Raises:
            AssertionError: it ended, or the time was up.
        """

        def said() -> bool:
            over = self.process.poll() is not None
            if text in self.err + self.out:
                return True
            assert not over, f"ended with {self.process.returncode} and never said {text!r}: {self.err}"
            return False

        until(said, seconds)


class Server:
    """A running Prefect server: `url` is what PREFECT_API_URL is set to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.mark = uuid.uuid4().hex
        self._started: Started | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def environment(self, place: Path, **more: str) -> dict[str, str]:
        """What a client's process gets: our settings, a home of its own in `place`, and this server's address."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "OPENAI_"))}
        ours = {
            "AUGMENT_HOME": str(place / "home"),
            "PREFECT_HOME": str(place / "prefect"),
            "PREFECT_API_URL": self.url,
            "PYTHONUNBUFFERED": "1",
            MARK: self.mark,
        }
        return {**kept, **SETTINGS, **ours, **more}

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            AssertionError: it does not within 180 s.
        """
        words = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        environment = self.environment(self.folder)
        del environment["PREFECT_API_URL"]
        environment["PREFECT_UI_URL"] = f"http://127.0.0.1:{self.port}"
        started = self._started = Started([*words, "--no-ui"], self.folder, environment)

        def healthy() -> bool:
            assert started.process.poll() is None, f"the Prefect server ended: {started.err}"
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=5) as reply:
                return bool(reply.status == 200)
            return False

        until(healthy, 180, every=0.2)

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it by a signal; its database stays for the next `start`."""
        if self._started is not None:
            self._started.signal(how)
            with contextlib.suppress(AssertionError):
                self._started.end(15)
            _kill([self._started.process.pid])
            self._started.process.wait()
            self._started = None

    def end_all(self, below: Path | None = None) -> None:
        """Kill every process that carries our mark, or of those the ones that work in `below`."""
        for _ in range(20):
            found = [pid for pid in _marked(self.mark) if below is None or _works_in(pid, below)]
            if not found:
                return
            _kill(found)
            time.sleep(0.05)

    def command(self, place: Path, *words: object, **environment: str) -> Started:
        """`augment` with these words in `place`, in a process of its own."""
        return self.python(place, "-m", "augment.cli", *words, **environment)

    def python(self, place: Path, *words: object, **environment: str) -> Started:
        """Python with these words in `place`, our packages within its reach."""
        path = os.pathsep.join(filter(None, [environment.pop("PYTHONPATH", ""), str(ROOT)]))
        whole = self.environment(place, PYTHONPATH=path, **environment)
        return Started([sys.executable, *map(str, words)], place, whole)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers; asked again while its database is busy, as Prefect's own client does.

        Raises:
            urllib.error.HTTPError: it refused.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        deadline = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(request, timeout=90) as reply:
                    raw = reply.read()
                return json.loads(raw) if raw else None
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def flow_runs(self, deployment: str | None = None) -> list[Json]:
        """The flow runs (of a deployment, by its name), oldest first."""
        body: Json = {"sort": "EXPECTED_START_TIME_ASC", "limit": 200}
        if deployment is not None:
            body["deployments"] = {"name": {"any_": [deployment]}}
        found: list[Json] = self.api("POST", "/flow_runs/filter", body)
        return found

    def flow_run(self, run: str) -> Json:
        """A flow run by its id."""
        found: Json = self.api("GET", f"/flow_runs/{run}")
        return found

    def ended(self, run: str, seconds: float = 120.0) -> Json:
        """A flow run, once it has ended."""
        return until(lambda: each if (each := self.flow_run(run))["state_type"] in ENDED else None, seconds) or {}

    def only_run(self, name: str) -> Json:
        """The one flow run of this name."""
        found = [each for each in self.flow_runs() if each["name"] == name]
        assert len(found) == 1, [each["name"] for each in self.flow_runs()]
        return found[0]

    def states(self, run: str) -> list[Json]:
        """Every state a flow run was in, in order."""
        found: list[Json] = self.api("GET", f"/flow_run_states/?flow_run_id={run}")
        return sorted(found, key=lambda each: each["timestamp"])

    def task_runs(self, run: str) -> list[Json]:
        """The task runs of a flow run, in the order they started."""
        body = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
        found: list[Json] = self.api("POST", "/task_runs/filter", body)
        return sorted(found, key=lambda each: each["start_time"] or "~")

    def logs(self, run: str) -> list[Json]:
        """The log lines of a flow run."""
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
        found: list[Json] = self.api("POST", "/logs/filter", body)
        return found

    def artifacts(self, run: str) -> list[Json]:
        """The artifacts of a flow run."""
        body = {"artifacts": {"flow_run_id": {"any_": [run]}}, "limit": 200}
        found: list[Json] = self.api("POST", "/artifacts/filter", body)
        return found

    def automations(self) -> list[Json]:
        """All automations."""
        found: list[Json] = self.api("POST", "/automations/filter", {"limit": 200})
        return found

    def deployments(self) -> dict[str, Json]:
        """All deployments by name."""
        found = self.api("POST", "/deployments/filter", {"limit": 200})
        return {each["name"]: each for each in found}

    def create_run(self, deployment: str, at: timedelta | None = None, **parameters: Any) -> Json:
        """A flow run of the deployment now, or scheduled for now + `at`; `parameters` go over its own.

        Raises:
            urllib.error.HTTPError: the parameters are refused.
        """
        body: Json = {"parameters": parameters}
        if at is not None:
            when = (datetime.now(UTC) + at).isoformat()
            body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": when}}
        identity = self.deployments()[deployment]["id"]
        made: Json = self.api("POST", f"/deployments/{identity}/create_flow_run", body)
        return made

    def recipe(self, deployment: str, **changes: Any) -> Json:
        """The recipe among the deployment's parameters, with changes."""
        return {**self.deployments()[deployment]["parameters"]["recipe"], **changes}

    def cancel(self, run: str) -> None:
        """Ask for the end of a flow run, as the Cancel button does."""
        state = {"type": "CANCELLING", "name": "Cancelling"}
        self.api("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": False})

    def processes_of(self, run: str) -> list[int]:
        """The processes that a runner started for a flow run."""
        return [pid for pid in _marked(self.mark) if f"PREFECT__FLOW_RUN_ID={run}" in _environ(pid)]


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """A Prefect server with a fresh database in `folder`; all that was started by it is dead afterwards."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.end_all()


def _marked(mark: str) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if f"{MARK}={mark}" in _environ(pid)]


def _environ(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_text("utf-8", "replace").split("\0")
    except OSError:
        return []


def _works_in(pid: int, folder: Path) -> bool:
    return any(each == f"AUGMENT_HOME={folder / 'home'}" for each in _environ(pid))


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
