"""An OpenAI-compatible server that misbehaves on demand: `python -m tests.server --port 0 --latency 0.2`.

For tests and benchmarks, on loopback only. What happens to a request depends on nothing but its content
(messages, seed, sampling), so that the same request always fares the same, whatever the order. `/stats`
counts (and each text that was embedded), `/log` lists every call; `serve(latency=0.2)` runs one in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import importlib
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import uvloop
from aiohttp import web

from augment.engines.echo import answer

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
ROOT = Path(__file__).resolve().parents[1]


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=0)
    add("--latency", type=float, default=0.0, help="seconds an answer takes")
    add("--tail-share", type=float, default=0.0, help="share of answers that take --tail-factor times as long")
    add("--tail-factor", type=float, default=10.0)
    add("--fail-400-share", type=float, default=0.0, help="share of requests that are refused for good")
    add("--transient-share", type=float, default=0.0, help="share that fails once or twice (500 or 429) first")
    add("--retry-after", default="1", help="seconds, or 'date' for an HTTP date two seconds ahead, or ''")
    add("--rate-limit", type=float, default=0.0, help="requests a second; 0: none")
    add("--rate-kind", choices=("bucket", "window"), default="bucket")
    add("--key", default="", help="the API key to insist on")
    add("--models", default="test-model", help="comma separated; '-': there is no list")
    add("--root", default="", help="what /models says is behind each model, as vLLM does")
    add("--no-schema", action="store_true", help="refuse response_format with a 400")
    add("--refuse", default="", help="comma separated body fields that are refused with a 400")
    add("--blind", default="", help="refuse pictures with a 400 that says this")
    add("--truncate-share", type=float, default=0.0, help="share cut off unless max_tokens >= --enough")
    add("--enough", type=int, default=4096)
    add("--garble-share", type=float, default=0.0, help="share of 200s that hold no answer")
    add("--drop-share", type=float, default=0.0, help="share of requests whose connection is always dropped")
    add("--error-200", default="", help="answer everything with a 200 that holds this error")
    add("--filter-share", type=float, default=0.0, help="share of answers withheld by a content filter")
    add("--longest", type=int, default=0, help="characters of a text that is embedded, beyond which there is a 400")
    add("--base64", action="store_true", help="embeddings in base64, and encoding_format is refused with a 400")
    add("--says", default="", help="module:function that answers instead of an echo: (messages, schema, seed) to text")
    add("--fatal-after", type=int, default=-1, help="calls after which every one gets --fatal-status")
    add("--fatal-status", type=int, default=401)
    return parser


class Chat:
    """The server's memory and its one handler."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.models = [] if args.models == "-" else args.models.split(",")
        self.refuse = [name for name in args.refuse.split(",") if name]
        module, _, name = args.says.partition(":")
        self.says = getattr(importlib.import_module(module), name) if module else answer
        self.log: list[tuple[str, float, float, int]] = []  # key, begun, ended (monotonic seconds), status
        self.flying = self.most = self.calls = 0
        self.failed: Counter[str] = Counter()
        self.embedded: Counter[str] = Counter()  # how often each text was
        self.tokens, self.filled = args.rate_limit, time.monotonic()
        self.window, self.used = -1, 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/stats":
            return _json(200, self.stats())
        if path == "/log":
            return _json(200, self.log)
        if self.args.key and request.headers.get("Authorization") != f"Bearer {self.args.key}":
            given = request.headers.get("Authorization", "")
            return _error(401, f"Incorrect API key provided: {given}")
        if path == "/v1/models" and self.models:
            root = {"root": self.args.root} if self.args.root else {}
            entries = [{"id": name, "object": "model", "created": int(time.time()), **root} for name in self.models]
            return _json(200, {"object": "list", "data": entries})
        if path not in ("/v1/chat/completions", "/v1/embeddings"):
            return _error(404, f"no route {path}")
        raw = await request.read()
        begun = time.monotonic()
        self.calls += 1
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            body = orjson.loads(raw)
            key = content(body)
            if _share(key, "drop") < self.args.drop_share and request.transport is not None:
                request.transport.close()
            response = await (self.embed(body, key) if path.endswith("/embeddings") else self.chat(body, key))
        finally:
            self.flying -= 1
        gone = request.transport is None or request.transport.is_closing()
        self.log.append((key, begun, time.monotonic(), 499 if gone else response.status))
        return response

    async def chat(self, body: dict[str, Any], key: str) -> web.Response:
        args = self.args
        if 0 <= args.fatal_after < self.calls:
            return _error(args.fatal_status, f"no more of {body['model']} for you")
        if self.limited():
            return _error(429, "Rate limit reached", self.later())
        if args.no_schema and "response_format" in body:
            return _error(400, "response_format of type json_schema is not supported")
        for name in self.refuse:
            if name in body:
                instead = ", use 'max_completion_tokens' instead" if name == "max_tokens" else ""
                return _error(400, f"Unsupported parameter: '{name}' is not supported with this model{instead}")
        if args.blind and any(isinstance(each["content"], list) for each in body["messages"]):
            return _error(400, args.blind)
        if _share(key, "400") < args.fail_400_share:
            return _error(400, "This prompt\n  is too long for the context window")
        if _share(key, "transient") < args.transient_share:
            times = 1 + (_share(key, "times") < 0.5)
            if self.failed[key] < times:
                self.failed[key] += 1
                if _share(key, "kind") < 0.5:
                    return _error(500, "Internal error")
                return _error(429, "Slow down", self.later())
        if args.error_200:
            return _json(200, {"error": args.error_200})
        slow = args.tail_factor if _share(key, "tail") < args.tail_share else 1.0
        if args.latency:
            await asyncio.sleep(args.latency * slow)
        return self.reply(body, key)

    async def embed(self, body: dict[str, Any], key: str) -> web.Response:
        args, texts = self.args, body["input"]
        if 0 <= args.fatal_after < self.calls:
            return _error(args.fatal_status, f"no more of {body['model']} for you")
        if self.limited():
            return _error(429, "Rate limit reached", self.later())
        if args.base64 and "encoding_format" in body:
            return _error(400, "Unsupported parameter: 'encoding_format'")
        if args.longest and any(len(text) > args.longest for text in texts):
            return _error(400, "This text\n  is too long for the context window")
        if _share(key, "transient") < args.transient_share and not self.failed[key]:
            self.failed[key] += 1
            return _error(500, "Internal error")
        if args.latency:
            await asyncio.sleep(args.latency)
        vectors = [embedding(text) for text in texts]
        self.embedded.update(texts)
        if _share(key, "garble") < args.garble_share:
            vectors = vectors[:-1]
        shown = [b64encode(np.asarray(each, "<f4")).decode() if args.base64 else each for each in vectors]
        data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(shown)]
        return _json(200, {"object": "list", "model": body["model"], "data": data[::-1], "usage": {}})

    def reply(self, body: dict[str, Any], key: str) -> web.Response:
        args = self.args
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        messages = [(message["role"], _words(message["content"])) for message in body["messages"]]
        text: str | None = self.says(messages, schema, body.get("seed", 0))
        finish, choices = "stop", 1
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 0
        if limit < args.enough and _share(key, "truncate") < args.truncate_share:
            text, finish = (text or "")[: len(text or "") // 2], "length"
        if _share(key, "filter") < args.filter_share:
            text, finish = None, "content_filter"
        if _share(key, "garble") < args.garble_share:
            how = int(_share(key, "how") * 4)
            if how < 2:
                return web.Response(body=(b"", b'{"choices": [{"mess')[how], content_type="application/json")
            text, choices = None, how - 2
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        usage = {"prompt_tokens": sum(len(said) for _, said in messages), "completion_tokens": len(text or "")}
        data = {"id": f"chatcmpl-{key}", "object": "chat.completion", "model": body["model"], "usage": usage}
        return _json(200, {**data, "choices": [choice] * choices})

    def limited(self) -> bool:
        """Whether this call is beyond the rate limit; counts it if not."""
        rate, now = self.args.rate_limit, time.monotonic()
        if not rate:
            return False
        if self.args.rate_kind == "bucket":
            self.tokens = min(rate, self.tokens + (now - self.filled) * rate)
            self.filled = now
            if self.tokens < 1:
                return True
            self.tokens -= 1
            return False
        if int(now) != self.window:
            self.window, self.used = int(now), 0
        self.used += self.used < rate + 1
        return self.used > rate

    def later(self) -> dict[str, str]:
        value = self.args.retry_after
        if value == "date":
            value = formatdate(time.time() + 2, usegmt=True)
        return {"Retry-After": value} if value else {}

    def stats(self) -> dict[str, Any]:
        finished = [key for key, _, _, status in self.log if status == 200]
        return {
            "calls": self.calls,
            "finished": len(finished),
            "by_key": Counter(finished),
            "statuses": {str(k): v for k, v in Counter(status for *_, status in self.log).items()},
            "max_in_flight": self.most,
            "embedded": self.embedded,
            "first": min((begun for _, begun, _, _ in self.log), default=0.0),
            "last": max((ended for _, _, ended, _ in self.log), default=0.0),
        }


def content(body: dict[str, Any]) -> str:
    """Identity of what is asked, however it is asked: 16 hex digits."""
    if "input" in body:
        return hashlib.blake2b(orjson.dumps(body["input"]), digest_size=8).hexdigest()
    parts = [body["messages"][0]["content"], len(body["messages"]), body["messages"][-1]["content"], body.get("seed")]
    return hashlib.blake2b(orjson.dumps(parts), digest_size=8).hexdigest()


def embedding(text: str) -> list[float]:
    """What this server makes of a text: how often each character is in it, in 64 buckets."""
    found = [0.0] * 64
    for char in text:
        found[ord(char) * 2654435761 % 2**32 // 2**26] += 0.125
    return found


def _words(content: str | list[dict[str, Any]]) -> str:
    """What a message says, and how many pictures it shows."""
    if isinstance(content, str):
        return content
    found = [part["text"] for part in content if part["type"] == "text"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return f"{''.join(found)} {' '.join(f'{url[:16]} {len(url)}' for url in urls)}"


def _share(key: str, purpose: str) -> float:
    """A number in [0, 1) that depends on the request and the purpose only."""
    return int(hashlib.blake2b(f"{key}{purpose}".encode(), digest_size=4).hexdigest(), 16) / 2**32


def _json(status: int, data: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json", headers=headers)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return _json(status, {"error": {"message": message, "type": "error", "code": status}}, headers)


async def listen(handle: Handle, port: int) -> None:
    runner = web.ServerRunner(web.Server(handle, access_log=None, keepalive_timeout=75))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    print(f"listening on {runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


@dataclass
class Served:
    """A running server: `url` is its base address with /v1."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
            return orjson.loads(reply.read())

    def stats(self) -> dict[str, Any]:
        """Counts since the start: calls, finished, by_key, statuses, max_in_flight, first, last (seconds)."""
        stats: dict[str, Any] = self.get("/stats")
        return stats

    def log(self) -> list[tuple[str, float, float, int]]:
        """Every call as (key, begun, ended, status), in the order they ended; 499: the client had gone."""
        return [tuple(entry) for entry in self.get("/log")]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serve(module: str = "tests.server", **settings: Any) -> Iterator[Served]:
    """A server with these options (`tail_share=0.1` is --tail-share 0.1) on a free port of its own."""
    command = [sys.executable, "-m", module]
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            command.append(flag)
        elif value is not False:
            command.append(f"{flag}={value}")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the test server did not start: {line!r}")
        yield Served(process, int(line.split()[-1]))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        given = options().parse_args()
        uvloop.run(listen(Chat(given).handle, given.port))
