"""What augment talks to: its reply store, an LLM's server, Prefect, Ray and the hub; each only where one is named."""

from __future__ import annotations

import os
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from augment.doctor import OK, PROBLEM, WARNING, Finding
from augment.doctor.asking import ask
from augment.doctor.packages import version_of
from augment.doctor.versions import release
from augment.places import home

NETWORK = 30.0
"""Seconds after which a process that asks over the network is ended: names may take long to be looked up."""
SHOWN = 5
"""Models of a server that are named in words."""


def store(timeout: float) -> Iterator[Finding]:
    """Whether the reply store opens."""
    path = home() / "replies.sqlite"
    if not path.exists():
        yield Finding("replies", OK, "none yet", found={"path": str(path)})
        return
    answer = ask("store", str(path), timeout)
    if "replies" in answer.first:
        said = f"{answer.first['replies']:,} in {path}"
        yield Finding("replies", OK, said, found={"path": str(path), **answer.first})
    elif "error" in answer.first:
        said, _, fix = answer.first["error"].partition("; ")
        yield Finding("replies", PROBLEM, said, fix)
    else:
        yield Finding("replies", WARNING, f"{path} is not looked at: {answer.ended}", "see packages above")


def llm(timeout: float) -> Iterator[Finding]:
    """Whether the server that the environment names answers, accepts the key, and which models it has."""
    if not (os.environ.get("OPENAI_BASE_URL", "").strip() or os.environ.get("OPENAI_API_KEY", "").strip()):
        yield Finding("llm", OK, "no server is named; OPENAI_BASE_URL=http://HOST:PORT/v1 names one")
        return
    answer = ask("llm", None, max(timeout, NETWORK))
    told = {name: value for line in answer.lines for name, value in line.items()}
    if "error" in told:
        said, _, fix = told["error"].partition("; ")
        yield Finding("llm", PROBLEM, said, fix or "check OPENAI_BASE_URL and OPENAI_API_KEY")
    elif "models" not in told:
        yield Finding("llm", WARNING, f"not asked: {answer.ended}", "see packages above")
    elif told["models"] is None:
        said = f"{told['url']} answers, and has no list of models"
        yield Finding("llm", WARNING, said, "check that the address is the whole one, mostly with /v1", told)
    elif not told["models"]:
        yield Finding("llm", WARNING, f"{told['url']} answers, and serves no model", "load one there", told)
    else:
        models = told["models"]
        more = f" and {len(models) - SHOWN:,} more" if len(models) > SHOWN else ""
        key = "; it lists them without a key too, so yours is untried" if told["anybody"] else "; it accepts the key"
        said = f"{told['url']} serves {', '.join(models[:SHOWN])}{more}{key if told['key'] else ''}"
        yield Finding("llm", OK, said, found=told)


def prefect() -> Iterator[Finding]:
    """Whether the Prefect API that the environment names answers, and its version."""
    url = os.environ.get("PREFECT_API_URL", "").strip()
    client = version_of("prefect")
    if not url:
        yield Finding("prefect", OK, "no API is named; PREFECT_API_URL=http://127.0.0.1:4200/api names one")
        return
    if client is None:
        said = f"PREFECT_API_URL is {url}, so runs are flows, and Prefect is not installed"
        yield Finding("prefect", PROBLEM, said, "pip install 'augment[flows]', or unset PREFECT_API_URL")
        return
    answer = ask("prefect", url, NETWORK)
    told = answer.first
    if told.get("refused"):
        said = f"{url} refuses ({told['error']})"
        yield Finding("prefect", PROBLEM, said, "check PREFECT_API_KEY, or PREFECT_API_AUTH_STRING")
    elif "version" not in told:
        said = f"no Prefect API at {url}: {told.get('error') or answer.ended}"
        yield Finding("prefect", PROBLEM, said, "start it with  prefect server start  or unset PREFECT_API_URL")
    elif told["version"] and release(told["version"])[:2] < release(client)[:2]:
        said = f"{url} is Prefect {told['version']}, older than the {client} that is installed here"
        yield Finding("prefect", WARNING, said, f"bring the server to Prefect {client}", told)
    else:
        yield Finding(
            "prefect", OK, f"{url} answers{', Prefect ' * bool(told['version'])}{told['version']}", found=told
        )


def ray() -> Iterator[Finding]:
    """Whether someone listens at the Ray address that the environment names."""
    given = os.environ.get("RAY_ADDRESS", "").strip()
    if not given or given == "local":
        yield Finding("cluster", OK, "no cluster is named" if not given else "on this host, started when wanted")
        return
    if version_of("ray") is None:
        yield Finding(
            "cluster", WARNING, f"RAY_ADDRESS is {given}, and Ray is not installed", "pip install 'augment[ray]'"
        )
        return
    address = _started_here() if given == "auto" else given
    start = "start it with  ray start --head  or check RAY_ADDRESS"
    parts = urllib.parse.urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        said = f"RAY_ADDRESS is {given}, and no Ray was started on this host" if given == "auto" else f"{given} is none"
        yield Finding("cluster", PROBLEM, said, start if given == "auto" else "write RAY_ADDRESS as HOST:PORT, or auto")
        return
    try:
        socket.create_connection((host, port), timeout=5).close()
    except (OSError, OverflowError) as error:
        yield Finding("cluster", PROBLEM, f"no Ray at {address}: {error}", start)
        return
    if "://" in given:
        said = f"someone listens at {given}, which augment cannot use"
        yield Finding("cluster", WARNING, said, "write RAY_ADDRESS as HOST:PORT, as  ray start --head  prints it")
    else:
        yield Finding("cluster", OK, f"someone listens at {address}", found={"address": address})


def _started_here() -> str:
    """The address of the cluster that was last started on this host, or ""."""
    try:
        return (Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray/ray_current_cluster").read_text().strip()
    except OSError:
        return ""


def hub() -> Iterator[Finding]:
    """Whether the Hugging Face hub answers, unless one does without."""
    if os.environ.get("HF_HUB_OFFLINE", "").strip():
        yield Finding("hub", OK, "not asked: HF_HUB_OFFLINE is set")
        return
    url = os.environ.get("HF_ENDPOINT", "").strip() or "https://huggingface.co"
    answer = ask("hub", url, NETWORK / 2)
    if answer.lines and not answer.first:
        yield Finding("hub", OK, f"{url} answers", found={"url": url})
        return
    said = f"no answer from {url}: {answer.first.get('error') or answer.ended}"
    yield Finding(
        "hub",
        WARNING,
        said,
        "models and data sets of the hub are out of reach; set HF_ENDPOINT to a mirror, "
        "or HF_HUB_OFFLINE=1 to do without",
    )
