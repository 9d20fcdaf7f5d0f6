"""What files were already read: the digest of a file's bytes to the picture that it holds, so that it is not decoded
again.

Keyed by content, not by path and time: it is never out of date, and whoever copies the files keeps it.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple, Self

logger = logging.getLogger(__name__)

RULES = 2
"""Raised when files are made into other pictures or masks than before."""
_TABLE = (
    "create table if not exists known (file text primary key, name text not null, width integer not null, "
    "height integer not null) without rowid"
)


class Size(NamedTuple):
    """A picture in the store, and its size in pixels."""

    name: str
    width: int
    height: int


class Known:
    """The pictures of files by the files' digests. Safe to use from several threads and processes; without its file, or
    with a broken one, it knows nothing."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._new: list[tuple[str, str, int, int]] = []
        self._db: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=10, check_same_thread=False)
            self._db.execute(_TABLE)
        except (sqlite3.Error, OSError) as error:
            logger.info("cannot remember what was read in %s: %s", path, error)
            self._db = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._db is None:
            return
        try:
            with self._db:
                self._db.executemany("insert or replace into known values (?, ?, ?, ?)", self._new)
        except sqlite3.Error as error:
            logger.info("cannot remember what was read: %s", error)
        self._db.close()

    def get(self, file: str) -> Size | None:
        """The picture of the file with that digest, if it is known."""
        if self._db is None:
            return None
        try:
            with self._lock:
                row = self._db.execute("select name, width, height from known where file = ?", (file,)).fetchone()
        except sqlite3.Error:
            return None
        return Size(*row) if row else None

    def put(self, file: str, found: Size) -> None:
        """Remember a file's picture, for good once the block ends."""
        with self._lock:
            self._new.append((file, *found))


def digest_of(raw: bytes, purpose: str) -> str:
    """The digest of a file's bytes, for a purpose ("picture", "mask"), our rules, and this version of Pillow: another
    may decode a JPEG to other pixels."""
    import PIL

    return hashlib.blake2b(
        raw, digest_size=16, person=f"{purpose[:4]}{RULES} {PIL.__version__}".encode()[:16]
    ).hexdigest()
