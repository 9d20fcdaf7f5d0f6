"""New files in a folder or under a bucket's prefix, told to Prefect as events that automations can act on."""

from __future__ import annotations

import logging
import threading
from typing import Any

import fsspec
from prefect.events import emit_event

from augment.errors import SourceError
from augment.records import fingerprint

log = logging.getLogger(__name__)

EVENT = "augment.source.changed"


def resource(place: str) -> str:
    """The id under which the events about `place` are known."""
    return f"augment.source.{fingerprint(place)[:16]}"


def tell(place: str) -> None:
    """Say that the files of `place` have changed; what `augment serve` does, and any process may."""
    emit_event(EVENT, resource={"prefect.resource.id": resource(place), "prefect.resource.name": place})


def listing(place: str) -> str:
    """A fingerprint of the names, sizes and times of the files under a folder or a URL that fsspec opens; "" for none.

    Raises:
        SourceError: the URL's protocol is unknown, or its package is not installed.
    """
    try:
        system, path = fsspec.core.url_to_fs(place)
    except (ValueError, ImportError) as error:
        raise SourceError(f"cannot watch {place}: {error}") from None
    system.invalidate_cache()
    try:
        files: dict[str, dict[str, Any]] = system.find(path, detail=True)
    except FileNotFoundError:
        return ""
    if not files:
        return ""
    marks = ("size", "mtime", "LastModified", "last_modified", "updated", "ETag", "etag", "created")
    return fingerprint(sorted((name, [str(each.get(mark)) for mark in marks]) for name, each in files.items()))


class Watch(threading.Thread):
    """Looks at a place every so many seconds until it is told to end, and tells when its files have changed.

    A change is told once the place has been the same for two looks, so that no half-written file starts a run; what
    came before the watch began is told at once.
    """

    def __init__(self, place: str, every: float) -> None:
        super().__init__(name=f"watch {place}", daemon=True)
        self._place = place
        self._every = every
        self._over = threading.Event()

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def run(self) -> None:
        told = seen = ""
        while not self._over.wait(self._every):
            try:
                found = listing(self._place)
            except OSError as error:
                log.warning("cannot look at %s (%s); trying again in %g s", self._place, error, self._every)
                continue
            if found == seen and found not in ("", told):
                log.info("new files in %s", self._place)
                tell(self._place)
                told = found
            seen = found
