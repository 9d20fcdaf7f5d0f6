"""`python -m augment.doctor.probe WHAT JSON`: what the doctor asks in a process of its own; answers are lines of JSON.

Others may print while they are imported: the answers have the standard output to themselves.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

Told = dict[str, Any]
PATIENCE = 4.0
"""Seconds to wait for an answer over the network."""


def imports(tries: list[list[str]]) -> Iterator[Told]:
    """Of each [name, statement] how long it took in seconds, or why it failed."""
    for name, statement in tries:
        begun = time.monotonic()
        error = ""
        try:
            exec(statement, {})
        except BaseException as fault:  # noqa: BLE001  (whatever an import may raise, its exit too)
            error = " ".join(f"{type(fault).__name__}: {fault}".split())[:300]
        yield {"name": name, "error": error, "seconds": round(time.monotonic() - begun, 2)}


def gpus(_: None) -> Iterator[Told]:
    """What torch finds: its version, the devices with their memory in bytes, and Apple's."""
    import torch

    devices = []
    for place in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(place)
        told: Told = {"name": about.name, "memory": about.total_memory}
        try:
            told["free"] = torch.cuda.mem_get_info(place)[0]
        except RuntimeError as error:  # one that another process has to itself, or that is broken
            told["error"] = str(error).partition("\n")[0]
        devices.append(told)
    built = torch.version.cuda or getattr(torch.version, "hip", None)
    yield {"torch": torch.__version__, "built": built, "devices": devices, "mps": torch.backends.mps.is_available()}


def store(path: str) -> Iterator[Told]:
    """How many replies are in the store, or why it does not open."""
    from augment.errors import AugmentError
    from augment.replies import ReplyStore

    try:
        with ReplyStore(Path(path)) as replies:
            yield {"replies": replies.rows("select count(*) from replies", [])[0][0]}
    except AugmentError as error:
        yield {"error": str(error)}


def llm(_: None) -> Iterator[Told]:
    """The models that the server lists, and whether it lists them to anybody; or what it says instead."""
    from augment.engines.server import Server
    from augment.errors import EngineError

    try:
        server = Server.find(None)
        yield {"url": server.url}
        models = server.models()
    except EngineError as error:
        yield {"error": str(error)}
        return
    anybody = False
    if server.key and models is not None:
        try:
            anybody = replace(server, key="").models() is not None
        except EngineError:
            anybody = False
    yield {"models": None if models is None else list(models), "key": bool(server.key), "anybody": anybody}


def prefect(url: str) -> Iterator[Told]:
    """The version of the Prefect API at an address ("" where it does not say), or why there is none."""
    headers = {"User-Agent": "augment"}
    if key := os.environ.get("PREFECT_API_KEY", "").strip():
        headers["Authorization"] = f"Bearer {key}"
    elif secret := os.environ.get("PREFECT_API_AUTH_STRING", "").strip():
        headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    found = ""
    for path in ("/health", "/admin/version"):
        try:
            ask = urllib.request.Request(url.rstrip("/") + path, headers=headers)
            with urllib.request.urlopen(ask, timeout=PATIENCE) as answer:
                raw = answer.read(10_000)
        except urllib.error.HTTPError as error:
            error.close()
            if path == "/admin/version" and error.code == 404:  # Prefect Cloud
                break
            yield {"error": f"HTTP {error.code} at {path}", "refused": error.code in (401, 403)}
            return
        except (OSError, http.client.HTTPException, ValueError) as error:
            yield {"error": str(getattr(error, "reason", None) or error), "refused": False}
            return
        try:
            told = json.loads(raw)
        except ValueError:
            yield {"error": f"what is at {path} is not Prefect's", "refused": False}
            return
        found = told if path == "/admin/version" and isinstance(told, str) else found
    yield {"version": found}


def hub(url: str) -> Iterator[Told]:
    """Whether anyone answers at an address."""
    try:
        ask = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "augment"})
        urllib.request.urlopen(ask, timeout=PATIENCE).close()
    except urllib.error.HTTPError as error:
        error.close()
        yield {"error": f"HTTP {error.code}"} if error.code >= 500 else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        yield {"error": str(getattr(error, "reason", None) or error)}
    else:
        yield {}


ASKED: dict[str, Callable[[Any], Iterator[Told]]] = {
    each.__name__: each for each in (imports, gpus, store, llm, prefect, hub)
}


def main() -> None:
    """Answer what the command line asks."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        for told in ASKED[sys.argv[1]](json.loads(sys.argv[2])):
            out.write(json.dumps(told) + "\n")
            out.flush()
        sys.stdout.flush()
        out.flush()
        os._exit(0)  # nothing that was imported may fail, or wait for its threads, on the way out


if __name__ == "__main__":
    main()
