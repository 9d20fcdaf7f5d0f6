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
PATIENCE = 5.0
"""Seconds to wait for the list of models."""


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would take the key along to the other host."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Server:
    """A server's address ("http://127.0.0.1:8000/v1"), the key it is asked with, and a proxy on the way."""

    url: str
    key: str = field(default="", repr=False)

    @classmethod
    def find(cls, base_url: str | None) -> Server:
        """The server that `base_url` or OPENAI_BASE_URL names, with the key in OPENAI_API_KEY.

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
                "no server to ask; give --base-url http://HOST:PORT/v1, or set OPENAI_API_KEY for api.openai.com"
            )
        if not set("@?#").isdisjoint(unicodedata.normalize("NFKC", url)):  # "http://user:p/w@host" has no userinfo
            raise EngineError(
                "--base-url (or OPENAI_BASE_URL) holds a user name, a password or a query; "
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
            raise EngineError(f"--base-url {url!r} is no address; write http://HOST:PORT/v1, in ASCII")
        path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/") or "/v1"
        return cls(f"{parts.scheme}://{parts.netloc}{path}", key)

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
        headers = {"Accept": "application/json", "User-Agent": "augment"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        ask = urllib.request.Request(self.at("/models"), headers=headers)
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
            raise EngineError(
                f"no answer from {self.url}: {reason}; start the server there or give another --base-url"
            ) from None
        try:
            entries = [entry for entry in orjson.loads(raw)["data"] if isinstance(entry["id"], str)]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None
        return {entry["id"]: _revision(entry) for entry in entries}

    def refusal(
        self, status: int, raw: bytes, model: str = "", served: tuple[str, ...] = (), where: str = ""
    ) -> EngineError:
        """What to tell the user when the server refuses everything: its own words, and the fix."""
        words = f"(HTTP {status}: {complaint(raw, self.key)})"
        if 300 <= status < 400:
            return EngineError(f"{self.url} has moved {words}; give --base-url {where or 'its new address'}")
        if status == 401:
            what = "refuses the key" if self.key else "wants a key"
            return EngineError(f"{self.url} {what} {words}; set OPENAI_API_KEY to one it accepts")
        if status == 403:
            return EngineError(f"{self.url} forbids this {words}; check what the key in OPENAI_API_KEY may use")
        if status == 404:
            known = f"it serves: {', '.join(served)}" if served else "check the model's name and --base-url"
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


def _revision(entry: dict[str, Any]) -> str:
    root = entry.get("root")
    return root if isinstance(root, str) and root != entry["id"] else ""
