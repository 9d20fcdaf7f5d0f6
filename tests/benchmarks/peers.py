"""The peers: an environment of its own for each, and one run of one of them on given prompts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class PeerFailed(Exception):
    """It could not be installed, or its run failed; the message says why, in one line."""


@dataclass(frozen=True)
class Peer:
    """A peer: what to install, and the script beside this file that runs it."""

    name: str
    requirements: tuple[str, ...]
    script: str

    def install(self, cache: Path) -> Path:
        """The Python of the peer's own environment, made when it is not there.

        Raises:
            PeerFailed: the installation failed.
        """
        folder = cache / self.name
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        stamp = folder / "installed"
        if not stamp.is_file() or stamp.read_text() != " ".join(self.requirements):
            venv.create(folder, with_pip=True, clear=True, symlinks=os.name != "nt")
            command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *self.requirements]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise PeerFailed(f"cannot be installed: {_last_line(done.stderr)}")
            stamp.write_text(" ".join(self.requirements))
        return python


PEERS = (
    Peer("distilabel", ("distilabel[openai]==1.5.3", "requests"), "peer_distilabel.py"),
    Peer("data-designer", ("data-designer==0.9.6",), "peer_designer.py"),
)
QUIET = {
    "DO_NOT_TRACK": "1",
    "NEMO_TELEMETRY_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}


def ready(cache: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Each peer's Python by name, and why the others are not there."""
    found, missing = {}, {}
    for peer in PEERS:
        try:
            found[peer.name] = peer.install(cache)
        except PeerFailed as error:
            missing[peer.name] = str(error)
    return found, missing


def start(
    name: str, python: Path, prompts: Path, url: str, concurrency: int, folder: Path, **more: Any
) -> subprocess.Popen[str]:
    """Begin a run of peer `name` on `prompts` (JSON lines of system, user); `folder` is its own and stays its cache."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"prompts": str(prompts), "url": url, "concurrency": concurrency, "folder": str(folder)}
    spec |= {"out": str(folder / "rows.jsonl"), "resume": False, **more}
    (folder / "spec.json").write_text(json.dumps(spec), "utf-8")
    (folder / "rows.jsonl").unlink(missing_ok=True)
    script = next(peer.script for peer in PEERS if peer.name == name)
    home = {"HOME": str(folder), "DATA_DESIGNER_HOME": str(folder / "designer")}
    log = (folder / "log.txt").open("w", encoding="utf-8")
    command = [str(python), str(Path(__file__).with_name(script)), str(folder / "spec.json")]
    env = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **QUIET, **home}
    return subprocess.Popen(
        command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str], folder: Path, timeout: float = 300) -> dict[str, Any]:
    """Wait for a run: seconds, cpu, rss (MiB) and its rows as {row number: text}.

    Raises:
        PeerFailed: it hangs, crashes, or writes nothing.
    """
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        raise PeerFailed(f"hangs: nothing after {timeout:.0f} s") from None
    text = (folder / "log.txt").read_text("utf-8", "replace")
    results = [line for line in text.splitlines() if line.startswith("RESULT ")]
    if code or not results:
        raise PeerFailed(f"exit code {code}: {_last_line(text)}")
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text("utf-8").splitlines()]
    result: dict[str, Any] = json.loads(results[-1].removeprefix("RESULT "))
    to_mib = 1024**2 if sys.platform == "darwin" else 1024
    return {**result, "rss": result["rss"] / to_mib, "rows": {line["row"]: line["text"] for line in lines}}


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9, all its processes."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write_prompts(path: Path, messages: Sequence[Sequence[tuple[str, str]]]) -> Path:
    """(system, user) messages as the JSON lines that the peers' scripts read."""
    lines = [json.dumps(dict(each), ensure_ascii=False) for each in messages]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")[:200]
