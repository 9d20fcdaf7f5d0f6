"""`augment review` in a process of its own, as a shell starts it, and requests to its page."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Page:
    """A review that is served. `said` are its lines on standard output."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]
    cookie: str = field(default="")

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.url).query)["token"][0]

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, cookie: bool = True
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """A request as a browser would send it: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {"Host": f"127.0.0.1:{self.port}"}
        if cookie:
            given["Cookie"] = self.cookie or self.enter()
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            given["Content-Type"] = "application/json"
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**given, **(headers or {})}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def enter(self) -> str:
        """The cookie that the address with its token gives."""
        status, headers, _ = self.send("GET", f"/?token={self.token}", cookie=False)
        assert status == 200
        self.cookie = headers["Set-Cookie"].partition(";")[0]
        return self.cookie

    def ask(self, path: str) -> Any:
        status, _, body = self.send("GET", path)
        assert status == 200, body
        return json.loads(body)

    def decide(self, id: str, verdict: str, **more: str) -> tuple[int, Any]:
        status, _, body = self.send("POST", f"/rows/{id}", {"verdict": verdict, **more})
        return status, json.loads(body)

    def end(self, with_signal: int = signal.SIGINT) -> tuple[int, str, str]:
        """Ctrl-C: the exit code, and what it said at the end on both streams."""
        self.process.send_signal(with_signal)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@contextmanager
def review(place: Path, *words: object, browser: Path | None = None) -> Iterator[Page]:
    """The command with these words, once its page answers; it opens `browser`, if any."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "BROWSER": f"{browser} %s"}
    command = [sys.executable, "-m", "augment", "review", *map(str, words), *([] if browser else ["--no-browser"])]
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said = []
        for line in process.stdout:
            said.append(line.rstrip())
            if line.startswith("http"):
                break
        else:
            raise AssertionError(f"no page: {said} {process.stderr.read()}")
        yield Page(process, said[-1], said)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
