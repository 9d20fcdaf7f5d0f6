"""The vector store: what a model or a server made of a text, by content, so that none is computed or paid for twice.

One SQLite file beside the reply store, written batch by batch as vectors arrive: what is committed survives the death
of the process. Vectors are kept as they came, in float32; what filters round them to may change.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from augment.errors import RunError
from augment.records import fingerprint

_TABLE = "create table if not exists vectors (key blob primary key, vector blob not null) without rowid"
_ASKED = 500


class VectorStore:
    """Vectors of one embedder, by text. Safe to use from several threads and several processes at once."""

    def __init__(self, path: Path, identity: Sequence[str]) -> None:
        """Open or create the store.

        Raises:
            RunError: the file is not writable or not a store.
        """
        self._whose = fingerprint("vector", *identity).encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=normal")
            self._db.execute(_TABLE)
        except (sqlite3.Error, OSError) as error:
            raise RunError(f"cannot open the vector store {path}: {error}; set AUGMENT_HOME elsewhere") from None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()

    def put(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep the vectors (texts, width) for good; the first of a text stays.

        Raises:
            RunError: the disk is full, or the store is gone.
        """
        rows = [(self._key(text), each.astype("<f4").tobytes()) for text, each in zip(texts, vectors, strict=True)]
        try:
            with self._lock:
                self._db.execute("begin immediate")
                try:
                    self._db.executemany("insert or ignore into vectors values (?, ?)", rows)
                    self._db.execute("commit")
                except BaseException:
                    self._db.execute("rollback")
                    raise
        except sqlite3.Error as error:
            raise RunError(f"cannot write to the vector store: {error}; make room, then run again") from None

    def known(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of those texts that have one.

        Raises:
            RunError: the store is gone.
        """
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(texts), _ASKED):
            by_key = {self._key(text): text for text in texts[start : start + _ASKED]}
            query = f"select key, vector from vectors where key in ({','.join('?' * len(by_key))})"
            try:
                with self._lock:
                    rows = self._db.execute(query, list(by_key)).fetchall()
            except sqlite3.Error as error:
                raise RunError(f"cannot read the vector store: {error}; set AUGMENT_HOME elsewhere") from None
            at = {by_key[key]: np.frombuffer(raw, dtype="<f4") for key, raw in rows}
            found |= {text: at[text] for text in by_key.values() if text in at}
        return found

    def _key(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._whose).digest()
