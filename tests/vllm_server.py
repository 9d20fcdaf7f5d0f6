"""vLLM in an environment of its own: what its processes are told, and its OpenAI-compatible server on a model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


def environment(folder: Path) -> dict[str, str]:
    """Offline, what it keeps in a folder of ours, threads not bound to cores that others use."""
    return {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CACHE_ROOT": str(folder / "cache"),
        "VLLM_CONFIG_ROOT": str(folder / "config"),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "2",
    }


@dataclass
class Serving:
    """vLLM's server for one model, called "base", on a port that stays its own when it is started again.

    Not `vllm serve`, the same by another door: its command looks up the version of a package `vllm`, which the CPU
    build is not called, and fails.
    """

    python: str
    base: Path
    settings: Mapping[str, str]
    folder: Path
    flags: tuple[str, ...] = ()
    port: int = field(default_factory=lambda: _free_port())
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to start it; `ready` waits until it answers."""
        command = [self.python, "-I", "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--model", str(self.base), "--served-model-name", "base", "--dtype", "float32", "--enforce-eager"]
        command += ["--distributed-executor-backend", "uni", *self.flags]
        with (self.folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=self.settings, start_new_session=True
            )

    def ready(self) -> None:
        deadline = time.monotonic() + 300
        while not _answers(f"{self.address}/health"):
            alive = self.process is not None and self.process.poll() is None
            assert alive and time.monotonic() < deadline, self.said()[-5000:]
            time.sleep(0.2)

    def said(self) -> str:
        """What it has logged since it was started."""
        return (self.folder / "server.log").read_text("utf-8", "replace")

    def kill(self) -> None:
        """End it and all it has started at once, as a machine that fails does."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def counted(self, metric: str, **labels: str) -> int:
        """A counter of its own since it was started, over all labels but the given ones."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        found = [line for line in lines if line.startswith(metric + "{") and all(each in line for each in wanted)]
        return round(sum(float(line.rpartition(" ")[2]) for line in found))


@contextmanager
def served(python: str, base: Path, settings: Mapping[str, str], folder: Path, *flags: str) -> Iterator[str]:
    """The address of vLLM's server on a model, which answers as long as this is open."""
    server = Serving(python, base, settings, folder, flags)
    server.start()
    try:
        server.ready()
        yield server.address
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False
