"""Where an OpenAI-compatible server is, who may ask it, and which models it serves: asked once, before a run."""

from __future__ import annotations

import http.client
import ipaddress
import os
import unicodedata
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import orjson

from augment.engines.chat import complaint
from augment.errors import EngineError

HOSTED = "https://api.openai.com/v1"
ENDINGS = ("/chat/completions", "/embeddings", "/images/generations", "/images/edits")
"""What may be written after an address, and is left out."""
PATIENCE = 5.0
"""Seconds to wait for the list of models."""


class Away(EngineError):
    """A server that cannot be reached."""


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would take the key along to the other host."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Server:
    """A server's address ("http://127.0.0.1:8000/v1"), the key it is asked with, and the flag that gave the address.

    The flag is that of a verb, or of a filter: "--set judge.base_url".
    """

    url: str
    key: str = field(default="", repr=False)
    flag: str = "--base-url"

    @classmethod
    def find(cls, base_url: str | None, flag: str = "--base-url") -> Server:
        """The server that `base_url` (given with `flag`) or OPENAI_BASE_URL names, with the key in OPENAI_API_KEY.

        Raises:
            EngineError: neither names one and there is no key for the hosted one; not an address; or one with
                a user name, password or query, which would end up in messages and manifests.
        """
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not key.isascii() or not key.isprintable():
            raise EngineError("OPENAI_API_KEY holds characters no key has; set it again")
        url = (base_url or os.environ.get("OPENAI_BASE_URL", "")).strip() or (HOSTED if key else "")
        if not url:
            raise EngineError(
                f"no server to ask; give {_given(flag, 'http://HOST:PORT/v1')}, "
                "or set OPENAI_API_KEY for api.openai.com"
            )
        if not set("@?#").isdisjoint(unicodedata.normalize("NFKC", url)):  # "http://user:p/w@host" has no userinfo
            raise EngineError(
                f"{flag} (or OPENAI_BASE_URL) holds a user name, a password or a query; "
                "put the key into OPENAI_API_KEY: nothing secret belongs in the address"
            )
        try:
            if "://" not in url:
                url = ("http://" if _local(urllib.parse.urlsplit(f"//{url}").hostname) else "https://") + url
            parts = urllib.parse.urlsplit(url)
            named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # half an IPv6 address, a port that is no number
            named = False
        if not named or not url.isascii() or not url.isprintable():
            raise EngineError(f"{_given(flag, repr(url))} is no address; write http://HOST:PORT/v1, in ASCII")
        path = parts.path.rstrip("/")
        for ending in ENDINGS:
            path = path.removesuffix(ending)
        return cls(f"{parts.scheme}://{parts.netloc}{path.rstrip('/') or '/v1'}", key, flag)

    def at(self, path: str) -> str:
        """The address of `path`."""
        return self.url + path

    @property
    def proxy(self) -> str | None:
        """The proxy that the environment names for this server."""
        parts = urllib.parse.urlsplit(self.url)
        if urllib.request.proxy_bypass(parts.hostname or ""):
            return None
        return urllib.request.getproxies().get(parts.scheme)

    def model(self, name: str, spec: str) -> tuple[str, str, tuple[str, ...]]:
        """The model to ask (none given: the only one served), its revision, and all that are served.

        Raises:
            EngineError: as `models`; not served, or none given and there are several. `spec` is how to name one.
        """
        models = self.models() or {}
        served = tuple(models)
        if not name:
            if len(served) != 1:
                known = f"it serves: {', '.join(served)}" if served else "and it lists none"
                raise EngineError(f"which model of {self.url}? write {spec}; {known}")
            name = served[0]
        elif served and name not in served:
            raise EngineError(f"{self.url} does not serve '{name}'; it serves: {', '.join(served)}")
        return name, models.get(name, ""), served

    def models(self) -> dict[str, str] | None:
        """The models it serves, each with a revision that survives a restart ("" where none does).

        None: it has no list. vLLM's `root` says which weights are behind a name; its `created` is the time
        of the last restart and says nothing.

        Raises:
            EngineError: it cannot be reached, or refuses the key.
        """
        ask = urllib.request.Request(self.at("/models"), headers=self._headers())
        try:
            with urllib.request.build_opener(_StayHere).open(ask, timeout=PATIENCE) as answer:
                raw = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (401, 403) or 300 <= error.code < 400:
                    where = error.headers.get("Location", "")
                    raise self.refusal(error.code, error.read(), where=where) from None
            return None
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a label IDNA cannot encode
            reason = getattr(error, "reason", None) or error
            raise Away(
                f"no answer from {self.url}: {reason}; start the server there or give another {self.flag}"
            ) from None
        try:
            entries = [entry for entry in orjson.loads(raw)["data"] if isinstance(entry["id"], str)]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None
        return {entry["id"]: _revision(entry) for entry in entries}

    def declared(self, *paths: str) -> dict[str, frozenset[str]]:
        """The fields that it reads at each path, where it describes itself, as servers made with FastAPI do.

        Such a server ignores a field that it does not know, so that its answers do not tell. A path of which it says
        nothing, or where it reads other fields too, is left out.
        """
        parts = urllib.parse.urlsplit(self.url)
        ask = urllib.request.Request(f"{parts.scheme}://{parts.netloc}/openapi.json", headers=self._headers())
        try:
            with urllib.request.build_opener(_StayHere).open(ask, timeout=PATIENCE) as answer:
                told = orjson.loads(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            return {}
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        found = {path: _fields(told, parts.path + path) for path in paths}
        return {path: fields for path, fields in found.items() if fields is not None}

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "augment"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return headers

    def refusal(
        self, status: int, raw: bytes, model: str = "", served: tuple[str, ...] = (), where: str = "", path: str = ""
    ) -> EngineError:
        """What to tell the user when the server refuses everything asked at `path`: its own words, and the fix."""
        words = f"(HTTP {status}: {complaint(raw, self.key)})"
        if 300 <= status < 400:
            return EngineError(f"{self.url} has moved {words}; give {_given(self.flag, where or 'its new address')}")
        if status == 401:
            what = "refuses the key" if self.key else "wants a key"
            return EngineError(f"{self.url} {what} {words}; set OPENAI_API_KEY to one it accepts")
        if status == 403:
            return EngineError(f"{self.url} forbids this {words}; check what the key in OPENAI_API_KEY may use")
        if status == 404 and path.startswith("/images"):
            return EngineError(
                f"{self.at(path)} is not there, or has no model '{model}' {words}; give a server that does this "
                f"with {self.flag}"
            )
        if status == 404:
            known = f"it serves: {', '.join(served)}" if served else f"check the model's name and {self.flag}"
            return EngineError(f"{self.url} does not know the model '{model}' {words}; {known}")
        return EngineError(f"{self.url} answers no more {words}; settle that with the server, then run again")


def _local(host: str | None) -> bool:
    """Whether `host` is this machine or an address of a private network, where servers have no certificate."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_private  # loopback and link-local included
    except ValueError:
        return False


def _fields(told: Any, path: str) -> frozenset[str] | None:
    """The fields of a body at `path` by an OpenAPI description; None: it says nothing, or more may be sent."""
    try:
        (content,) = told["paths"][path]["post"]["requestBody"]["content"].values()
        schema = content["schema"]
        if "$ref" in schema:
            schema = told["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return None if schema.get("additionalProperties") else frozenset(schema["properties"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _revision(entry: dict[str, Any]) -> str:
    root = entry.get("root")
    return root if isinstance(root, str) and root != entry["id"] else ""


def _given(flag: str, value: str) -> str:
    """The flag with its value."""
    return f"{flag}={value}" if flag.startswith("--set ") else f"{flag} {value}"
