"""How hard each filter of a chain sifts: what it saw, what it dropped, and what others would have dropped as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from filters import cost_of
from filters.chain import Chain

HARSH, FEW = 0.5, 20
"""The share of what it saw that a filter may drop without a word, and how many rows are too few to tell."""


@dataclass
class Sieve:
    """Counts of rows, by filter: `dropped` first by it; that it `would` drop; and that it `alone` would.

    `together` counts pairs: rows that the first dropped and the second would have dropped too.
    """

    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    would: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    together: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, chain: Chain, sifted: pl.DataFrame) -> None:
        """Count some rows as the chain left them: kept (`dropped_by` null) or dropped by one of its filters."""
        names = [each.name for each in chain.filters]
        out = sifted.filter(pl.col("dropped_by").is_in(names))
        self.rows += len(out) + sifted["dropped_by"].null_count()
        if out.is_empty():
            return
        filters = pl.element().str.splitn(": ", 2).struct.field("field_0")
        told = out.select("dropped_by", chain.reasons(out).list.eval(filters).alias("by"))
        for first, by, count in told.group_by("dropped_by", "by").len().iter_rows():
            every = dict.fromkeys([first, *by])
            self.dropped[first] += count
            self.would.update(dict.fromkeys(every, count))
            self.together.update({(first, other): count for other in every if other != first})
            if len(every) == 1:
                self.alone[first] += count

    def put_out(self, chain: Chain, chosen: pl.DataFrame) -> None:
        """Count, of kept rows that were counted before, those that a selection dropped."""
        self.add(chain, chosen)
        self.rows -= len(chosen)

    def told(self, chain: Chain) -> list[dict[str, Any]]:
        """A line a filter in the order of the chain: filter, saw, dropped, would_drop, alone, also (by filter).

        A selection `chooses` besides: it was told how much to drop.
        """
        left, lines = self.rows, []
        for each in chain.filters:
            name = each.name
            also = {other: count for (first, other), count in sorted(self.together.items()) if first == name}
            line = {"filter": name, "saw": left, "dropped": self.dropped[name], "would_drop": self.would[name]}
            chooses = {"chooses": True} if cost_of(each) == "selection" else {}
            lines.append({**line, "alone": self.alone[name], "also": also, **chooses})
            left -= self.dropped[name]
        return lines


def harsh(told: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each filter, but those that choose, that dropped more than half of what it saw."""
    return [
        f"{each['filter']} dropped {each['dropped']:,} of the {each['saw']:,} rows that it saw "
        f"({each['dropped'] / each['saw']:.0%}); look at some before you trust it"
        for each in told
        if not each.get("chooses") and each["saw"] >= FEW and each["dropped"] > HARSH * each["saw"]
    ]
