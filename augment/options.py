"""What several verbs share: flags of the form NAME=VALUE, and JSON on standard output."""

from __future__ import annotations

from typing import Any

from augment.errors import RecipeError


def pairs(values: list[str] | None, flag: str) -> dict[str, str] | None:
    """`a=b,c=d`, repeatable, as a dict."""
    if not values:
        return None
    found = {}
    for each in ",".join(values).split(","):
        key, equals, value = each.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise RecipeError(f"{flag} '{each}' is not NAME=VALUE")
        found[key.strip()] = value.strip()
    return found


def settings(values: list[str] | None) -> dict[str, dict[str, Any]] | None:
    """`near_dup.threshold=0.8`, repeatable, as {"near_dup": {"threshold": 0.8}}."""
    import tomllib

    found: dict[str, dict[str, Any]] = {}
    for each in values or []:
        path, equals, value = each.partition("=")
        name, dot, key = path.partition(".")
        if not (equals and dot and name and key):
            raise RecipeError(f"--set '{each}' is not FILTER.SETTING=VALUE, for example near_dup.threshold=0.8")
        try:
            found.setdefault(name, {})[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found.setdefault(name, {})[key] = value
    return found or None


def print_json(value: Any) -> None:
    import re

    import orjson
    import typer

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
    typer.echo(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text))  # they would drive a terminal
