"""An SQLite file in WAL mode as a store: for several threads and processes at once, its failures in one line.

A commit without an fsync takes some 30 µs and survives the death of the process, which is what is promised.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from augment.errors import RunError

MARKS = 500
"""Keys that one query asks for."""


class Store:
    """What is in the file, `called` "reply store" where something is wrong with it."""

    def __init__(self, path: Path, table: str, called: str) -> None:
        """Open or create it.

        Raises:
            RunError: the file is not writable or not a store.
        """
        self._called = called
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=normal")
            self._db.execute(table)
        except (sqlite3.Error, OSError) as error:
            raise RunError(f"cannot open the {called} {path}: {error}; set AUGMENT_HOME elsewhere") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()

    @contextmanager
    def writing(self, *, whole: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection to write with, alone in this process; with `whole`, all that is written or nothing.

        Raises:
            RunError: the disk is full, or the store is gone.
        """
        try:
            with self._lock:
                if not whole:
                    yield self._db
                    return
                self._db.execute("begin immediate")
                try:
                    yield self._db
                    self._db.execute("commit")
                except BaseException:
                    self._db.execute("rollback")
                    raise
        except sqlite3.Error as error:
            raise RunError(f"cannot write to the {self._called}: {error}; make room, then run again") from None

    def rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        """What a query finds.

        Raises:
            RunError: the store is gone.
        """
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise RunError(f"cannot read the {self._called}: {error}; set AUGMENT_HOME elsewhere") from None

    def among(self, select: str, keys: Sequence[Any]) -> Iterator[Any]:
        """What `select … from …` finds under those keys, some at a time.

        Raises:
            RunError: the store is gone.
        """
        for start in range(0, len(keys), MARKS):
            some = keys[start : start + MARKS]
            yield from self.rows(f"{select} where key in ({','.join('?' * len(some))})", some)
