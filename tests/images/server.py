"""A server of OpenAI's images API that misbehaves on demand: `python -m tests.images.server --port 0`.

For tests and benchmarks, on loopback only. What is drawn, and what goes wrong, depends on nothing but what is asked
(prompt, seed, pictures). `/stats` counts, `/log` lists every call, `/asked` the fields and pictures of each.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import io
import os
import time
from collections import Counter
from typing import Any

import orjson
import uvloop
from aiohttp import web
from PIL import Image

from augment.engines.noise import draw
from augment.images.canvas import Canvas
from augment.images.inputs import Inputs
from tests.server import listen

EVERY = ("model", "prompt", "n", "size", "response_format", "output_format", "seed", "mask_image")


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=0)
    add("--latency", type=float, default=0.0, help="seconds that a picture takes")
    add("--fail-400-share", type=float, default=0.0, help="share of requests that are refused for good")
    add("--transient-share", type=float, default=0.0, help="share that fails once (500 or 429) first")
    add("--retry-after", default="0")
    add("--key", default="", help="the API key to insist on")
    add("--models", default="test-painter", help="comma separated; '-': there is no list")
    add("--root", default="")
    add("--refuse", default="", help="comma separated fields that are refused with a 400")
    add("--pydantic", action="store_true", help="refuse them as FastAPI does")
    add("--sizes", default="", help="comma separated sizes ('64x64'); any other is refused with a 400")
    add("--ignore", default="", help="comma separated fields that are read over without a word")
    add("--declare", default="", help="comma separated fields that /openapi.json lists")
    add("--draws", default="", help="the size of every picture, whatever is asked for")
    add("--broken-share", type=float, default=0.0, help="share of 200s without a picture that can be used")
    add("--black-share", type=float, default=0.0, help="share of pictures that come black")
    add("--policy-share", type=float, default=0.0, help="share that is refused for what would be seen")
    add("--policy-code", default="content_policy_violation")
    add("--url", choices=("", "own", "absolute", "data", "redirect", "elsewhere"), default="")
    add("--revise", action="store_true", help="draw from another prompt, and say so")
    add("--no-edits", action="store_true", help="there is no /images/edits")
    add("--fatal-after", type=int, default=-1)
    add("--fatal-status", type=int, default=401)
    add("--error-200", default="")
    return parser


class Painter:
    """The server's memory and its one handler."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.log: list[tuple[str, float, float, int]] = []
        self.asked: list[dict[str, Any]] = []
        self.failed: Counter[str] = Counter()
        self.kept: dict[str, bytes] = {}
        self.host = ""  # how it is called
        self.flying = self.most = self.calls = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        args, path = self.args, request.path
        self.host = request.headers.get("Host", "")
        if path in ("/stats", "/log", "/asked"):
            return _json(200, {"/stats": self.stats(), "/log": self.log, "/asked": self.asked}[path])
        if path == "/openapi.json" and args.declare:
            return _json(200, self.description())
        if args.key and request.headers.get("Authorization") != f"Bearer {args.key}":
            return _error(401, f"Incorrect API key provided: {request.headers.get('Authorization', '')}")
        if path == "/v1/models" and args.models != "-":
            root = {"root": args.root} if args.root else {}
            return _json(200, {"data": [{"id": name, **root} for name in args.models.split(",")]})
        if path.startswith("/v1/images/kept/"):
            if args.url == "redirect":
                return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"})
            return web.Response(body=self.kept[path.rpartition("/")[2]], content_type="image/png")
        if path != "/v1/images/generations" and (path != "/v1/images/edits" or args.no_edits):
            return _error(404, f"no route {path}")
        raw = await request.read()
        begun = time.monotonic()
        self.calls += 1
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            fields, files = _form(raw, request.content_type, request.headers.get("Content-Type", ""))
            key = _content(fields, files)
            self.asked.append({"path": path, "key": key, "fields": fields, "files": _told(files)})
            response = await self.paint(fields, files, key)
        finally:
            self.flying -= 1
        self.log.append((key, begun, time.monotonic(), response.status))
        return response

    async def paint(self, fields: dict[str, Any], files: dict[str, bytes], key: str) -> web.Response:
        args = self.args
        if 0 <= args.fatal_after < self.calls:
            return _error(args.fatal_status, "no more pictures for you")
        for name in filter(None, args.refuse.split(",")):
            if name in fields:
                if args.pydantic:
                    detail = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
                    return _json(422, {"detail": [detail]})
                return _error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        if args.sizes and fields.get("size", "auto") not in (*args.sizes.split(","), "auto"):
            listed = ", ".join(f"'{each}'" for each in args.sizes.split(","))
            message = f"Invalid value: '{fields['size']}'. Supported values are: {listed}."
            return _error(400, message, param="size", code="invalid_value")
        if _share(key, "400") < args.fail_400_share:
            return _error(400, "This prompt\n  is longer than 77 tokens")
        if _share(key, "policy") < args.policy_share:
            return _error(400, "Your request was rejected by our safety system.", code=args.policy_code)
        if _share(key, "transient") < args.transient_share and not self.failed[key]:
            self.failed[key] += 1
            if _share(key, "kind") < 0.5:
                return _error(500, "Internal error")
            return _error(429, "Slow down", headers={"Retry-After": args.retry_after})
        if args.error_200:
            return _json(200, {"error": args.error_200})
        if args.latency:
            await asyncio.sleep(args.latency)
        return self.answer(fields, files, key)

    def answer(self, fields: dict[str, Any], files: dict[str, bytes], key: str) -> web.Response:
        args = self.args
        ignored = args.ignore.split(",")
        seed = int(fields["seed"]) if "seed" in fields and "seed" not in ignored else int.from_bytes(os.urandom(4))
        image = Image.open(io.BytesIO(files["image"])).convert("RGB") if "image" in files else None
        size = args.draws or fields.get("size", "")
        width, height = map(int, size.split("x")) if "x" in size else image.size if image is not None else (96, 96)
        prompt = fields["prompt"] + (", in detail" if args.revise else "")
        if image is None:
            picture = draw(Inputs("text", _plain(width, height)), prompt, seed)
        else:
            inputs = Inputs("image", _plain(*image.size), image)
            picture = draw(inputs, prompt, seed, float(fields.get("strength", 0.8))).resize((width, height))
        if _share(key, "black") < args.black_share:
            picture = Image.new("RGB", picture.size)
        file = io.BytesIO()
        picture.save(file, fields.get("output_format", "jpeg"))
        raw = file.getvalue()
        data: dict[str, Any] = {"revised_prompt": prompt if args.revise else None}
        if _share(key, "broken") < args.broken_share:
            how = int(_share(key, "how") * 5)
            if how == 4:
                return web.Response(body=b'{"data": [{"b64', content_type="application/json")
            raw = (raw[: len(raw) // 2], b"", b"<svg/>", b"GIF89a")[how]
        if args.url:
            self.kept[key] = raw
            address = {
                "own": f"/v1/images/kept/{key}",
                "redirect": f"/v1/images/kept/{key}",
                "absolute": f"http://{self.host}/v1/images/kept/{key}",
                "data": "data:image/png;base64," + base64.b64encode(raw).decode(),
                "elsewhere": f"http://pictures.example.com/{key}",
            }
            data["url"] = address[args.url]
        else:
            data["b64_json"] = base64.b64encode(raw).decode()
        return _json(200, {"created": 0, "data": [data], "usage": {"input_tokens": 7, "output_tokens": 100}})

    def description(self) -> dict[str, Any]:
        """What FastAPI says of the two routes: a schema by reference, and one in place."""
        schema = {"type": "object", "properties": {name: {} for name in (*EVERY, *self.args.declare.split(","))}}
        body = {"application/json": {"schema": {"$ref": "#/components/schemas/Asked"}}}
        return {
            "paths": {
                "/v1/images/generations": {"post": {"requestBody": {"content": body}}},
                "/v1/images/edits": {"post": {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}},
            },
            "components": {"schemas": {"Asked": schema}},
        }

    def stats(self) -> dict[str, Any]:
        finished = [key for key, _, _, status in self.log if status == 200]
        statuses = {str(each): count for each, count in Counter(status for *_, status in self.log).items()}
        counts = {"calls": self.calls, "finished": len(finished), "max_in_flight": self.most}
        return {**counts, "by_key": Counter(finished), "statuses": statuses}


def _form(raw: bytes, kind: str, header: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields and files of a JSON body or a multipart form."""
    if kind == "application/json":
        return orjson.loads(raw), {}
    boundary = header.partition("boundary=")[2].encode()
    fields: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for part in raw.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        content = content.removesuffix(b"\r\n")
        if b"filename=" in head:
            files[name] = content
        else:
            fields[name] = content.decode()
    return fields, files


def _told(files: dict[str, bytes]) -> dict[str, Any]:
    """The pictures of a form: size, mode, digest of the colours, and the share of white and of clear pixels."""
    told = {}
    for name, raw in files.items():
        with Image.open(io.BytesIO(raw)) as found:
            colours = found.convert("RGB")
            clear = found.getchannel("A").histogram()[0] if "A" in found.getbands() else 0
            told[name] = {
                "size": found.size,
                "mode": found.mode,
                "digest": hashlib.blake2b(colours.tobytes(), digest_size=8).hexdigest(),
                "white": colours.convert("L").histogram()[255] / (found.width * found.height),
                "clear": clear / (found.width * found.height),
            }
    return told


def _content(fields: dict[str, Any], files: dict[str, bytes]) -> str:
    """Identity of what is asked, however it is asked: 16 hex digits."""
    parts = [fields["prompt"], str(fields.get("seed")), *(files[name].hex() for name in sorted(files))]
    return hashlib.blake2b(orjson.dumps(parts), digest_size=8).hexdigest()


def _plain(width: int, height: int) -> Canvas:
    return Canvas(width, height, (width, height), 0, 0)


def _share(key: str, purpose: str) -> float:
    """A number in [0, 1) that depends on the request and the purpose only."""
    return int(hashlib.blake2b(f"{key}{purpose}".encode(), digest_size=4).hexdigest(), 16) / 2**32


def _json(status: int, data: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json", headers=headers)


def _error(status: int, message: str, headers: dict[str, str] | None = None, **more: str) -> web.Response:
    return _json(status, {"error": {"message": message, "type": "invalid_request_error", **more}}, headers)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        given = options().parse_args()
        uvloop.run(listen(Painter(given).handle, given.port))
