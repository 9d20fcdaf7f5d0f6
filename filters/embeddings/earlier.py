"""The changed texts of rows beside those of seeds and of earlier rows, as vectors: what two filters look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters import Context
from filters.embeddings import embed
from filters.embeddings.nearest import Nearest
from filters.exact_dup import SLICE, group_expr, seed_texts
from filters.minhash import Groups


@dataclass(frozen=True)
class Earlier:
    """Of each row of a frame the nearest earlier kept row of its own group and of others: ids and cosines, or None."""

    own_of: list[str | None]
    own: NDArray[np.float64]
    other_of: list[str | None]
    other: NDArray[np.float64]

    @property
    def nearest(self) -> NDArray[np.float64]:
        """The larger cosine, NaN where there is none."""
        return np.fmax(self.own, self.other)

    @property
    def nearest_of(self) -> list[str | None]:
        """Whose it is; of equals the group's own."""
        here = np.nan_to_num(self.own, nan=-2) >= np.nan_to_num(self.other, nan=-2)
        return [own if ours else other for ours, own, other in zip(here, self.own_of, self.other_of, strict=True)]


@dataclass
class _Index:
    """Rows whose changed fields are the same go against each other, and the same fields of the seeds."""

    nearest: Nearest
    ids: list[str]

    def add(self, rows: pl.DataFrame, texts: Any, keep_all: bool = False) -> tuple[Any, Any]:
        self.ids.extend(rows["id"])
        return self.nearest.match(texts(rows["text"]), rows["group"].to_list(), keep_all)


def earlier(
    frame: pl.DataFrame,
    context: Context,
    name: str,
    near: Callable[[float], bool],
    groups: Groups,
    embedder: str,
    base_url: str,
) -> Earlier:
    """The nearest earlier rows of all rows of `frame`, which join those that later rows go against.

    `name` is the filter's, under which `context.memory` has what was seen. A row is not kept when `near` says
    so of its cosine with one that counts. A group is a seed and its variants.
    """
    indexes: dict[str, _Index] = context.memory.setdefault(name, {})
    group = group_expr(frame).alias("group")
    rows = frame.select("id", "changed_fields", pl.col("changed").alias("text"), group)
    rows = rows.with_row_index("row")
    own, other = np.full(len(frame), np.nan), np.full(len(frame), np.nan)
    own_of: list[str | None] = [None] * len(frame)
    other_of: list[str | None] = [None] * len(frame)

    def vectors(texts: pl.Series) -> Any:
        return embed(texts, embedder, base_url, context, f"{name}.embedder")

    fresh = rows.filter((pl.col("changed_fields") != "") & ~pl.col("id").is_in(context.seeds["id"].implode()))
    for (fields,), kind in fresh.group_by("changed_fields", maintain_order=True):
        if fields not in indexes:
            indexes[str(fields)] = _Index(Nearest(near, groups), [])
            for part in seed_texts(context.seeds, str(fields)):
                indexes[str(fields)].add(part.with_columns(pl.col("id").alias("group")), vectors, keep_all=True)
        index = indexes[str(fields)]
        for part in kind.iter_slices(SLICE):
            places = part["row"].to_numpy()
            found = index.add(part, vectors)
            for (numbers, alike), scores, names in zip(found, (own, other), (own_of, other_of), strict=True):
                scores[places] = alike
                for place, number in zip(places, numbers.tolist(), strict=True):
                    names[place] = index.ids[number] if number >= 0 else None
    return Earlier(own_of, own, other_of, other)
