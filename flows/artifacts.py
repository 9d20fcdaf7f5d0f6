"""What a run shows in Prefect: artifacts, which an API that is away may lose without harm."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
from prefect.artifacts import create_link_artifact
from prefect.exceptions import PrefectException

from augment.records import fingerprint

log = logging.getLogger(__name__)


def artifact_key(name: str) -> str:
    """`name` as Prefect wants keys: small letters, digits and dashes; one key a recipe, so that runs line up."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if plain == name.lower() else f"{plain or 'run'}-{fingerprint(name)[:6]}"


def shown(publish: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call one of Prefect's artifact functions; an API that is away costs the artifact, not the run."""
    try:
        return cast("Any", publish(*args, **kwargs))
    except (httpx.HTTPError, OSError, PrefectException) as error:
        log.warning("the Prefect API did not take an artifact (%s); the run goes on", type(error).__name__)
        return None


def linked(folder: Path, page: Path, key: str, described: str) -> None:
    """Links to what a run has written: its folder, and the page that tells of it."""
    folder, page = folder.resolve(), page.resolve()
    shown(create_link_artifact, folder.as_uri(), "Run folder", f"{key}-run", description=str(folder))
    shown(create_link_artifact, page.as_uri(), page.name, f"{key}-report", description=described)
