"""Asking a process of its own, which may crash or hang without taking the doctor along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the process told, a line each, and how it ended: "" is well."""

    lines: list[dict[str, Any]]
    ended: str

    @property
    def first(self) -> dict[str, Any]:
        """The only line of most answers, or {}."""
        return self.lines[0] if self.lines else {}


def ask(what: str, given: Any, timeout: float) -> Answer:
    """What `augment.doctor.probe` says of `what`; after `timeout` seconds it is ended, with all that it started.

    It finds the modules that this process finds.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    site = ["-S"] if sys.flags.no_site else []
    process = subprocess.Popen(
        [sys.executable, *site, "-m", "augment.doctor.probe", what, json.dumps(given)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    ended = ""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        ended = f"it takes longer than {timeout:g} s"
        _end(process)
        out, err = process.communicate()
    except BaseException:
        _end(process)
        raise
    if not ended and process.returncode:
        ended = _how(process.returncode, err.decode("utf-8", "replace"))
    return Answer(
        [json.loads(line) for line in out.splitlines() if line.startswith(b"{") and line.endswith(b"}")], ended
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _how(code: int, err: str) -> str:
    if code < 0:
        try:
            return f"it crashes ({signal.Signals(-code).name})"
        except ValueError:
            return f"it crashes (signal {-code})"
    said = [line for line in err.splitlines() if line.strip()]
    return (said[-1].strip() if said else f"it exits with {code}")[:300]
