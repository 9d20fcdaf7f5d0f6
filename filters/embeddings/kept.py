"""The vector store: what a model or a server made of a text, by content, so that none is computed or paid for twice.

One SQLite file beside the reply store, written batch by batch as vectors arrive: what is committed survives the death
of the process. Vectors are kept as they came, in float32; what filters round them to may change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augment.records import fingerprint
from augment.store import Store

_TABLE = "create table if not exists vectors (key blob primary key, vector blob not null) without rowid"


class VectorStore(Store):
    """Vectors of one embedder, by text. Safe to use from several threads and several processes at once."""

    def __init__(self, path: Path, identity: Sequence[str]) -> None:
        """Open or create the store.

        Raises:
            RunError: the file is not writable or not a store.
        """
        self._whose = fingerprint("vector", *identity).encode()
        super().__init__(path, _TABLE, "vector store")

    def put(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep the vectors (texts, width) for good; the first of a text stays.

        Raises:
            RunError: the disk is full, or the store is gone.
        """
        rows = [(self._key(text), each.astype("<f4").tobytes()) for text, each in zip(texts, vectors, strict=True)]
        with self.writing(whole=True) as db:
            db.executemany("insert or ignore into vectors values (?, ?)", rows)

    def known(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of those texts that have one.

        Raises:
            RunError: the store is gone.
        """
        by_key = {self._key(text): text for text in texts}
        vectors = dict(self.among("select key, vector from vectors", list(by_key)))
        at = {by_key[key]: np.frombuffer(raw, dtype="<f4") for key, raw in vectors.items()}
        return {text: at[text] for text in by_key.values() if text in at}

    def _key(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._whose).digest()
