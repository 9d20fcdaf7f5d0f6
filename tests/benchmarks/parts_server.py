"""`tests.server` that also takes a message's content as a list of parts, as Data Designer sends it.

Everybody is measured against this one. `python -m tests.benchmarks.parts_server` takes the same options.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import uvloop
from aiohttp import web

from tests import server
from tests.server import Served


class PartsChat(server.Chat):
    """Fares as if the parts had been one string; `/log` has the key of what was really sent."""

    async def chat(self, body: dict[str, Any], key: str) -> web.Response:
        parted = False
        for message in body["messages"]:
            if isinstance(message["content"], list):
                message["content"] = "".join(part["text"] for part in message["content"])
                parted = True
        return await super().chat(body, server.content(body) if parted else key)


@contextlib.contextmanager
def serve(**settings: Any) -> Iterator[Served]:
    """As `tests.server.serve`, for whole values."""
    command = [sys.executable, "-m", "tests.benchmarks.parts_server"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    # a killed client leaves a traceback for each of its requests; what matters is in the log of calls
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=server.ROOT)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server did not start: {line!r}")
        yield Served(process, int(line.split()[-1]))
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    given = server.options().parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(server.listen(PartsChat(given).handle, given.port))
