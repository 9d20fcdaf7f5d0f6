"""Texts that are symbols more than words: rulers of dashes, rows of emoji, characters that no font shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from filters import Context
from filters.characters import Characters, characters

_SHORT = 20
"""A text of fewer characters counts as so long: "疼？！" is no line of symbols."""


@dataclass(frozen=True)
class SpecialChars:
    """Drops texts with too large a share of special characters, or with characters that say nothing.

    Kinds are Unicode's classes, not a list. Special are punctuation, symbols (emoji among them), control characters,
    private use and what is unassigned; shares are of all characters but blanks. `max_odd` are control, private use
    and replacement characters beyond the parent's. A parent that is over a limit itself may have a rewrite like it.
    Real rows of CHBench and the sample reach a share of .25 and .04 of symbols.
    """

    max_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_symbols: Annotated[float, Field(ge=0, le=1)] = 0.3
    max_odd: Annotated[int, Field(ge=0)] = 0
    name: ClassVar[str] = "special_chars"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "special_chars_share": ("<= max_share",),
        "special_chars_symbols": ("<= max_symbols",),
        "special_chars_odd": ("<= max_odd",),
    }
    scores: ClassVar[dict[str, Any]] = {
        "special_chars_share": pl.Float64,
        "special_chars_symbols": pl.Float64,
        "special_chars_odd": pl.Int64,
        "special_chars_parent_share": pl.Float64,
        "special_chars_parent_symbols": pl.Float64,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        known = frame["parent_changed"].is_not_null()
        here, parent = (characters(frame[name], context.memory) for name in ("changed", "parent_changed"))
        added = np.maximum(here.group("odd") - parent.group("odd"), 0)
        found = [*_shares(here), pl.Series(added, dtype=pl.Int64), *_shares(parent)]
        named = [each.alias(name) for each, name in zip(found, self.scores, strict=True)]
        frame = frame.with_columns(named)
        return frame.with_columns(pl.when(known).then(each.name).alias(each.name) for each in named[3:])

    def verdict(self) -> pl.Expr:
        share, symbols, odd, parent_share, parent_symbols = map(pl.col, self.scores)
        return (
            pl.when(odd > self.max_odd)
            .then(pl.lit("control or private-use characters"))
            .when((symbols > self.max_symbols) & (symbols > parent_symbols.fill_null(0)))
            .then(pl.lit("too many symbols"))
            .when((share > self.max_share) & (share > parent_share.fill_null(0)))
            .then(pl.lit("too many special characters"))
        )


def _shares(found: Characters) -> tuple[pl.Series, pl.Series]:
    """Shares of special characters and of symbols among all but blanks."""
    symbols = found.group("symbol", "format", "odd", "other")
    special = symbols + found.group("punctuation")
    whole = np.maximum(special + found.group("letter", "mark", "number"), _SHORT)
    return pl.Series(special / whole), pl.Series(symbols / whole)
