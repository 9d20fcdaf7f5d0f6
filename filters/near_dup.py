"""Rows that are nearly the same text as a seed or an earlier row.

A threshold of .7 on character 5-grams lets a fluent edit of a short question pass, since one changed
character costs five n-grams; what it catches is the same sentence with a comma or a particle moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from augment.language import language_expr
from filters import Context
from filters.exact_dup import seed_texts
from filters.fold import fold
from filters.minhash import NearIndex

_DENSE = ("zh", "ja", "ko")  # one character carries about as much as a short word


@dataclass(frozen=True)
class NearDup:
    """Drops rows whose changed text is nearly that of a seed or an earlier row.

    `n` characters for Chinese, Japanese and Korean, `n_letters` for other scripts; each has its own index.
    """

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    n: Annotated[int, Field(ge=1, le=64)] = 5
    n_letters: Annotated[int, Field(ge=1, le=64)] = 9
    name: ClassVar[str] = "near_dup"
    scores: ClassVar[dict[str, Any]] = {"near_dup_jaccard": pl.Float64, "near_dup_of": pl.String}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        indexes: dict[tuple[str, bool], _Seen] = context.memory.setdefault(self.name, {})
        rows = _keyed(frame, "changed", "changed_fields").with_row_index("row")
        rows = rows.filter((pl.col("key") != "") & ~pl.col("id").is_in(context.seeds["id"].implode()))
        scored = [pl.DataFrame(schema={"row": pl.get_index_type(), **self.scores})]
        for (fields, dense), part in rows.group_by("changed_fields", "dense", maintain_order=True):
            kind = (str(fields), bool(dense))
            if kind not in indexes:
                index = NearIndex(self.threshold, self.n if dense else self.n_letters)
                indexes[kind] = _Seen(index, [])
                seeds = _keyed(seed_texts(context.seeds, kind[0]), "text")
                indexes[kind].add(seeds.filter(pl.col("dense") == dense, pl.col("key") != ""), keep_all=True)
            scored.append(part.select("row", *indexes[kind].add(part)))
        every = pl.select(row=pl.int_range(frame.height, dtype=pl.get_index_type()))
        joined = every.join(pl.concat(scored), on="row", how="left", maintain_order="left")
        return frame.with_columns(joined.drop("row").get_columns())

    def verdict(self) -> pl.Expr:
        return pl.when(pl.col("near_dup_jaccard") >= self.threshold).then(pl.lit("nearly the text of an earlier row"))


@dataclass(frozen=True)
class _Seen:
    index: NearIndex
    ids: list[str]

    def add(self, rows: pl.DataFrame, keep_all: bool = False) -> list[pl.Series]:
        position, alike = self.index.match(rows["key"], keep_all)
        self.ids.extend(rows["id"])
        owner = [self.ids[each] if each >= 0 else None for each in position.tolist()]
        return [
            pl.Series("near_dup_jaccard", alike, dtype=pl.Float64),
            pl.Series("near_dup_of", owner, dtype=pl.String),
        ]


def _keyed(frame: pl.DataFrame, text: str, *columns: str) -> pl.DataFrame:
    dense = language_expr(pl.col(text)).is_in(_DENSE).alias("dense")
    return frame.select("id", *columns, dense, fold(frame[text]).fill_null("").alias("key"))
