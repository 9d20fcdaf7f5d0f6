"""Rows that are nearly the same text as a seed or an earlier row.

A threshold of .7 on character 5-grams lets a fluent edit of a short question pass, since one changed
character costs five n-grams; what it catches is the same sentence with a comma or a particle moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.exact_dup import SLICE, group_expr, hashed, seed_texts
from filters.fold import fold
from filters.minhash import Groups, NearIndex
from filters.text_rows import TextRows

_DENSE = r"[\x{2E80}-\x{10FFFF}]"  # Chinese, Japanese, Korean: one character carries about as much as a short word
_RARE = r"[\x{0800}-\x{2E7F}]"  # three bytes in UTF-8, as dense ones have
_WEIGHT = 4  # of such a character beside a letter, as in augment.language


@dataclass(frozen=True)
class NearDup:
    """Drops rows whose changed text is nearly that of a seed or an earlier row.

    `groups` says among which rows: "both" (all), "within" (a seed and its variants), "across" (those of other seeds).
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
        return frame.with_columns(pl.concat([empty, *parts]).get_columns())

    def verdict(self) -> pl.Expr:
        return pl.when(pl.col("near_dup_jaccard") >= self.threshold).then(pl.lit("nearly the text of an earlier row"))

    def _scored(
        self, frame: pl.DataFrame, all_seeds: pl.DataFrame, seeds: frozenset[str], seen: _Indexes
    ) -> pl.DataFrame:
        """The score columns of a slice; a seed among its rows is not compared with itself."""
        variant = pl.Series([id not in seeds for id in frame["id"].to_list()], dtype=pl.Boolean)
        keyed = _keyed(frame, "changed", group_expr(frame), "changed_fields").with_row_index("row")
        rows = keyed.filter((pl.col("key") != "") & variant)
        scored = [pl.DataFrame(schema={"row": pl.get_index_type(), **self.scores})]
        for (fields, dense), part in rows.group_by("changed_fields", "dense", maintain_order=True):
            kind = (str(fields), bool(dense))
            if kind not in seen:
                n, encoding = (self.n, "utf-16-le") if dense else (self.n_letters, "utf-8")
                seen[kind] = _Seen(NearIndex(self.threshold, n, self.groups, encoding), TextRows())
                for texts in seed_texts(all_seeds, kind[0]):
                    keys = _keyed(texts, "text", pl.col("id"))
                    seen[kind].add(keys.filter(pl.col("dense") == dense, pl.col("key") != ""), keep_all=True)
            scored.append(part.select("row", *seen[kind].add(part)))
        every = pl.select(row=pl.int_range(frame.height, dtype=pl.get_index_type()))
        return every.join(pl.concat(scored), on="row", how="left", maintain_order="left").drop("row")


@dataclass(frozen=True)
class _Seen:
    index: NearIndex
    ids: TextRows

    def add(self, rows: pl.DataFrame, keep_all: bool = False) -> list[pl.Series]:
        group = hashed(rows["group"]) if self.index.groups != "both" else None
        position, alike = self.index.match(rows["key"], keep_all, group)
        self.ids.extend(rows["id"].to_list())
        owner = [self.ids[each] if each >= 0 else None for each in position.tolist()]
        return [
            pl.Series("near_dup_jaccard", alike, dtype=pl.Float64),
            pl.Series("near_dup_of", owner, dtype=pl.String),
        ]


_Indexes = dict[tuple[str, bool], _Seen]
"""By changed fields, and whether the script is dense."""


def _keyed(frame: pl.DataFrame, text: str, group: pl.Expr, *columns: str) -> pl.DataFrame:
    key = fold(frame[text]).fill_null("").alias("key")
    return frame.select("id", *columns, group.alias("group"), key, dense(key))


def dense(keys: pl.Series) -> pl.Series:
    """Whether a text is mostly Chinese, Japanese or Korean.

    Bytes in UTF-8 settle it for all but mixed texts and rare scripts: dense characters take three or four, letters one
    or two. With d dense ones of n characters, bytes are at least n + 2d and at most 2n + 2d.
    """
    bytes, length = keys.str.len_bytes().cast(pl.Int64), keys.str.len_chars().cast(pl.Int64)
    most, least = bytes - length, bytes - 2 * length  # of 2d
    mostly = _WEIGHT * least > 2 * length - least
    unsure = ((_WEIGHT * most > 2 * length - most) & (~mostly | keys.str.contains(_RARE))).arg_true()
    counted = keys.gather(unsure)
    return mostly.scatter(unsure, counted.str.count_matches(_DENSE) * (_WEIGHT + 1) > counted.str.len_chars()).alias(
        "dense"
    )
