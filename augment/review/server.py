"""The page's server: on loopback alone, and for the browser that was given the token.

A page of another site, or another user of this machine, can reach a loopback port. So each request needs the token (in
the address that is opened, then in a cookie that scripts and other sites cannot use), must be addressed to loopback by
name (a foreign name that resolves to 127.0.0.1 is refused), and may not come from a page of another origin.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from augment.errors import RunError
from augment.review.session import Refused, Session

HOST = "127.0.0.1"
LIMIT = 4 << 20
"""Bytes of a request: two cells of 100,000 characters, escaped."""
PAGE = {"/": ("review.html", "text/html"), "/review.css": ("review.css", "text/css")} | {
    "/review.js": ("review.js", "text/javascript")
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Door:
    """Who is let in: the token of the address, and the cookie that takes its place."""

    port: int
    token: str
    pass_: str

    @property
    def cookie(self) -> str:
        """The cookie's name; cookies know no ports, and several reviews may go on at once."""
        return f"augment-review-{self.port}"

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    def refusal(self, request: web.Request) -> str | None:
        """Why a request is not let in, or None."""
        hosts = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        if request.headers.get("Host") not in hosts:
            return "this server answers to 127.0.0.1 only"
        origin = request.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            return "requests from other pages are refused"
        if not (self.invited(request) or _same(request.cookies.get(self.cookie, ""), self.pass_)):
            return "open the address that `augment review` printed; it holds a token"
        return None

    def invited(self, request: web.Request) -> bool:
        """Whether the page is opened with its token."""
        return request.path == "/" and _same(request.query.get("token", ""), self.token)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


@contextmanager
def invitation(folder: Path, door: Door) -> Iterator[str]:
    """A file that leads a browser to the page, as the address to open: other users see what a browser is started with.

    It lies in the run folder, since a browser in a sandbox may see no temporary files, and is gone afterwards.
    """
    path = folder / f"open-review-{door.port}.html"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={door.url}">\n')
    try:
        yield path.resolve().as_uri()
    finally:
        path.unlink(missing_ok=True)


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; 0 takes a free port.

    Raises:
        RunError: the port is taken or may not be used.
    """
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise RunError(
            f"cannot listen on port {port} ({error.strerror}); choose another --port, or leave it out"
        ) from None
    return listening


def door_of(listening: socket.socket) -> Door:
    """A new door for that port."""
    return Door(listening.getsockname()[1], secrets.token_urlsafe(32), secrets.token_urlsafe(32))


async def serve(session: Session, listening: socket.socket, door: Door, stop: asyncio.Event) -> None:
    """Answer the page until `stop` is set."""
    runner = web.AppRunner(_app(session, door), access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        await stop.wait()
    finally:
        await runner.cleanup()


def _app(session: Session, door: Door) -> web.Application:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        why = door.refusal(request)
        if why is not None:
            return _headed(web.json_response({"error": why}, status=403))
        try:
            answer = await handler(request)
            if door.invited(request):  # a redirect would lose the cookie where the address is opened from another page
                answer.set_cookie(door.cookie, door.pass_, httponly=True, samesite="Strict", path="/")
            return _headed(answer)
        except web.HTTPException as error:
            return _headed(_json({"error": error.reason}, status=error.status))
        except Refused as error:
            return _headed(_json({"error": str(error)}, status=422))
        except RunError as error:
            return _headed(_json({"error": str(error)}, status=507))

    async def page(request: web.Request) -> web.Response:
        name, kind = PAGE[request.path]
        content = (files("augment.review") / "page" / name).read_bytes()
        return web.Response(body=content, content_type=kind, charset="utf-8")

    async def overview(_request: web.Request) -> web.Response:
        return _json(await asyncio.to_thread(session.overview))

    async def row(request: web.Request) -> web.Response:
        return _json(await asyncio.to_thread(session.shown, request.match_info["id"]))

    async def decide(request: web.Request) -> web.Response:
        id = request.match_info["id"]
        given = await _decision(request)
        await asyncio.to_thread(session.decide, id, **given)
        shown, standing = await asyncio.to_thread(lambda: (session.shown(id), session.desk.standing()))
        return _json({"row": shown, **standing})

    app = web.Application(middlewares=[guarded], client_max_size=LIMIT)
    app.add_routes([web.get(path, page) for path in PAGE])
    app.add_routes([web.get("/rows", overview), web.get("/rows/{id}", row), web.post("/rows/{id}", decide)])
    return app


async def _decision(request: web.Request) -> dict[str, Any]:
    """The decision that a request holds, checked for form."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(reason="send JSON")
    try:
        given = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise Refused("the decision is no JSON") from None
    texts = ("prompt", "response", "note")
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("verdict"), str)
        or not given.keys() <= {"verdict", *texts}
        or not all(isinstance(given.get(name), str | None) for name in texts)
    ):
        raise Refused('a decision is {"verdict": …} with, for an edit, "prompt" and "response", and maybe a "note"')
    return given


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value, default=str), status=status, content_type="application/json")


def _headed(answer: web.StreamResponse) -> web.StreamResponse:
    answer.headers.update(HEADERS)
    answer.headers["Server"] = "augment"
    return answer
