"""Embeddings: the one place that vectors of texts come from.

An embedder is named as a filter's setting says: "" or "ngrams" (the default, offline: wording, not meaning),
"openai:MODEL" (a server's `/v1/embeddings`), else a folder or `owner/name` of a sentence encoder.

Vectors are whole numbers, of length `SCALE` but for rounding, so that a product of two is at most 2^24 whatever it is
made of: float32 adds it up without rounding, in any order. So cosines, and what filters decide by them, do not depend
on batches, threads or processors. Rounding moves a cosine by some 10^-4.

What a model or a server has computed is kept by content (`filters.embeddings.kept`) and never computed again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.errors import EngineError
from augment.places import home
from filters import Context

log = logging.getLogger(__name__)

SCALE = 4000
"""The length of a vector. With rounding a vector of 30,000 dimensions stays under 2^12."""
NGRAMS = frozenset(("", "ngrams"))
"""What names the embedder that needs no model."""

_BLOCK = 1 << 12  # rows that are widened at a time

Vectors = NDArray[np.int16]
"""(rows, width); a row of zeros is a text without a vector: empty, or refused by the model."""
Keep = Callable[[Sequence[str], NDArray[np.float32]], None]
"""Makes the vectors of some texts durable; called as soon as they are there."""


class Embedder(Protocol):
    """Turns texts into vectors; `identity` says which model, so that vectors of two are never mixed up."""

    @property
    def identity(self) -> tuple[str, ...]:
        """Kind, model and revision."""
        ...

    def embed(self, texts: Sequence[str], context: Context, keep: Keep) -> None:
        """Hands the vectors of the texts, none of them empty, to `keep`, batch by batch; a refused text is left out.

        Raises:
            AugmentError: no text can be embedded.
        """
        ...


def embed(texts: pl.Series, embedder: str, base_url: str, context: Context, setting: str) -> Vectors:
    """The vector of each text, with the embedder that is named; `setting` is where it was ("cluster.embedder").

    Raises:
        RecipeError: no such model, or a package for it is missing.
        EngineError: the server is not there, or refuses the key or the model.
    """
    if embedder in NGRAMS:
        from filters.embeddings.ngrams import hashed

        return hashed(texts)
    opened = _opened(embedder, base_url, context, setting)
    asked = list(dict.fromkeys(text for text in texts.to_list() if text and text.strip()))
    from filters.embeddings.kept import VectorStore

    with VectorStore(home() / "vectors.sqlite", opened.identity) as store:
        known = store.known(asked)
        missing = [text for text in asked if text not in known]
        if missing:
            opened.embed(missing, context, store.put)
            known |= store.known(missing)
    place = {text: row for row, text in enumerate(known, 1)}
    widths = {len(each) for each in known.values()}
    if len(widths) > 1:
        both = " and ".join(map(str, sorted(widths)))
        raise EngineError(
            f"{setting}: {embedder} gave vectors of {both} numbers: the model behind the name was changed; "
            f"remove {home() / 'vectors.sqlite'}"
        )
    width = widths.pop() if widths else 0
    table = whole(np.stack([np.zeros(width, dtype=np.float32), *known.values()]))
    found: Vectors = table[[place.get(text, 0) for text in texts.to_list()]]
    return found


def _opened(embedder: str, base_url: str, context: Context, setting: str) -> Embedder:
    """The embedder, opened once a run and shared by all filters."""
    held: dict[tuple[str, str], Any] = context.memory.setdefault("embeddings", {})
    if (embedder, base_url) not in held:
        if embedder.startswith("openai:"):
            from filters.embeddings.served import Served

            held[embedder, base_url] = Served.open(embedder.removeprefix("openai:"), base_url, setting)
        else:
            from filters.embeddings.encoder import Encoder

            held[embedder, base_url] = Encoder.open(embedder, setting)
    opened: Embedder = held[embedder, base_url]
    return opened


def whole(vectors: NDArray[Any]) -> Vectors:
    """Vectors of any length as whole numbers of length `SCALE`; what is zero or not finite becomes zero."""
    parts = [_whole(vectors[first : first + _BLOCK]) for first in range(0, len(vectors), _BLOCK)]
    return np.concatenate(parts) if parts else np.zeros(vectors.shape, dtype=np.int16)


def _whole(vectors: NDArray[Any]) -> Vectors:
    exact = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0).astype(np.float64)
    largest = np.abs(exact).max(axis=1, keepdims=True, initial=0)
    # to a grid first: what is squared and added up below are whole numbers, whose sum is exact in any order
    grid = np.rint(exact / np.where(largest > 0, largest, 1) * (1 << 18))
    length = np.sqrt((grid * grid).sum(axis=1, keepdims=True))
    return np.rint(grid * (SCALE / np.where(length > 0, length, 1))).astype(np.int16)


def lengths(vectors: Vectors) -> NDArray[np.float64]:
    """The length of each vector: about `SCALE`, or 0."""
    return np.sqrt(_products(vectors, vectors))


def inverse(vectors: Vectors) -> NDArray[np.float32]:
    """One over the length of each vector, 0 for one that is zero."""
    norms = lengths(vectors)
    found: NDArray[np.float32] = np.where(norms > 0, 1 / np.where(norms > 0, norms, 1), 0).astype(np.float32)
    return found


def cosines(left: Vectors, right: Vectors) -> NDArray[np.float64]:
    """(left rows, right rows) cosines, at most 1, and 1 of equals; 0 with a text that has no vector."""
    products = left.astype(np.float32) @ right.astype(np.float32).T
    scale = np.sqrt(np.outer(_products(left, left), _products(right, right)))  # of a whole number: exact of equals
    found: NDArray[np.float64] = np.where(scale > 0, products / np.where(scale > 0, scale, 1), 0)
    return found


def paired(left: Vectors, right: Vectors) -> NDArray[np.float64]:
    """The cosine of each row with the same row of `right`; NaN where one has no vector."""
    scale = np.sqrt(_products(left, left) * _products(right, right))
    found: NDArray[np.float64] = np.where(scale > 0, _products(left, right) / np.where(scale > 0, scale, 1), np.nan)
    return found


def _products(left: Vectors, right: Vectors) -> NDArray[np.float64]:
    """Row by row; whole numbers under 2^53, so exact."""
    found = np.zeros(len(left))
    for first in range(0, len(left), _BLOCK):
        rows = slice(first, first + _BLOCK)
        found[rows] = (left[rows].astype(np.int64) * right[rows]).sum(axis=1)
    return found
