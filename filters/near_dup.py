"""Rows that are nearly the same text as a seed or an earlier row.

A threshold of .7 on character 5-grams lets a fluent edit of a short question pass, since one changed
character costs five n-grams; what it catches is the same sentence with a comma or a particle moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from filters import Context
from filters.code_points import CodePoints
from filters.exact_dup import SLICE, group_expr, hashed, seed_texts, unless_flipped
from filters.fold import LETTERS_END, folded
from filters.minhash import Groups, NearIndex
from filters.text_rows import TextRows

_WEIGHT = (
    4  # of a dense character, which carries about as much as a short word, beside a letter; as in augment.language
)


@dataclass(frozen=True)
class NearDup:
    """Drops rows whose changed text is nearly that of a seed or an earlier row.

    `groups` says among which rows: "both" (all), "within" (a seed and its variants), "across" (those of other seeds).
    What is meant to be its parent with a few words changed is not held against that, where nothing is nearer.
    `n` characters for Chinese, Japanese and Korean, `n_letters` for other scripts; each has its own index.
    """

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    groups: Groups = "both"
    n: Annotated[int, Field(ge=1, le=64)] = 5
    n_letters: Annotated[int, Field(ge=1, le=64)] = 9
    name: ClassVar[str] = "near_dup"
    cost: ClassVar[str] = "corpus"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"near_dup_jaccard": ("< threshold",)}
    scores: ClassVar[dict[str, Any]] = {"near_dup_jaccard": pl.Float64, "near_dup_of": pl.String}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        memory: dict[str, Any] = context.memory.setdefault(self.name, {})
        if not memory:
            memory |= {"seeds": frozenset(context.seeds["id"]), "seen": {}}
        empty = pl.DataFrame(schema=self.scores)
        parts = [self._scored(part, context.seeds, **memory) for part in frame.iter_slices(SLICE)]
        scored = frame.with_columns(pl.concat([empty, *parts]).get_columns())
        return scored.with_columns(unless_flipped(scored, context, *self.scores))

    def verdict(self) -> pl.Expr:
        return pl.when(pl.col("near_dup_jaccard") >= self.threshold).then(pl.lit("nearly the text of an earlier row"))

    def _scored(
        self, frame: pl.DataFrame, all_seeds: pl.DataFrame, seeds: frozenset[str], seen: _Indexes
    ) -> pl.DataFrame:
        """The score columns of a slice; a seed among its rows is not compared with itself."""
        variant = pl.Series([id not in seeds for id in frame["id"].to_list()], dtype=pl.Boolean)
        keys = folded(frame["changed"])
        rows = (
            frame.select("id", "changed_fields", group_expr(frame).alias("group"), dense=pl.Series(dense(keys)))
            .with_row_index("row")
            .filter(pl.Series(keys.lengths > 0) & variant)
        )
        scored = [pl.DataFrame(schema={"row": pl.get_index_type(), **self.scores})]
        for (fields, is_dense), part in rows.group_by("changed_fields", "dense", maintain_order=True):
            kind = (str(fields), bool(is_dense))
            if kind not in seen:
                n = self.n if is_dense else self.n_letters
                seen[kind] = _Seen(NearIndex(self.threshold, n, self.groups), TextRows())
                for texts in seed_texts(all_seeds, kind[0]):
                    seed_keys = folded(texts["text"])
                    at = np.flatnonzero((dense(seed_keys) == is_dense) & (seed_keys.lengths > 0))
                    own = texts.select("id", pl.col("id").alias("group"))[at]
                    seen[kind].add(own, seed_keys.take(at), keep_all=True)
            at = part["row"].to_numpy().astype(np.int64)
            scored.append(part.select("row", *seen[kind].add(part, keys if len(at) == len(keys) else keys.take(at))))
        every = pl.select(row=pl.int_range(frame.height, dtype=pl.get_index_type()))
        return every.join(pl.concat(scored), on="row", how="left", maintain_order="left").drop("row")


@dataclass(frozen=True)
class _Seen:
    index: NearIndex
    ids: TextRows

    def add(self, rows: pl.DataFrame, keys: CodePoints, keep_all: bool = False) -> list[pl.Series]:
        group = hashed(rows["group"]) if self.index.groups != "both" else None
        position, alike = self.index.match(keys, keep_all, group)
        self.ids.extend(rows["id"].to_list())
        owner = [self.ids[each] if each >= 0 else None for each in position.tolist()]
        return [
            pl.Series("near_dup_jaccard", alike, dtype=pl.Float64),
            pl.Series("near_dup_of", owner, dtype=pl.String),
        ]


_Indexes = dict[tuple[str, bool], _Seen]
"""By changed fields, and whether the script is dense."""


def dense(keys: CodePoints) -> NDArray[np.bool_]:
    """Whether a text is mostly Chinese, Japanese or Korean."""
    many, filled = np.zeros(len(keys), dtype=np.int64), keys.lengths > 0
    if filled.any():
        many[filled] = np.add.reduceat(keys.code >= LETTERS_END, keys.starts[filled], dtype=np.int64)
    mostly: NDArray[np.bool_] = many * (_WEIGHT + 1) > keys.lengths
    return mostly
