"""Numbers, units, doses and negations of a health question survive its rewriting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from filters import Context
from filters.quantities import Quantity, negations, quantities

_read = lru_cache(maxsize=1 << 14)(quantities)  # parents come back with every variant
_negations = lru_cache(maxsize=1 << 14)(negations)


@dataclass(frozen=True)
class Facts:
    """Drops rewrites that lose or add a number, a unit or a negation.

    `fields` are those looked at where they changed. Generators in the context's `adds_facts` (personas,
    say) may add, but not lose. A negation counts as lost when the rewrite has none at all, and as added when
    the parent had none and the rewrite says what cannot, must or need not be: a paraphrase may well say one
    thing twice, or 没吃饭 for 空腹.
    """

    fields: Annotated[tuple[Literal["prompt", "response"], ...], Field(min_length=1)] = ("prompt",)
    check_negations: bool = True
    name: ClassVar[str] = "facts"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"facts_negations": ("check_negations",)}
    scores: ClassVar[dict[str, Any]] = {
        "facts_lost": pl.String,
        "facts_added": pl.String,
        "facts_negations_parent": pl.Int64,
        "facts_negations": pl.Int64,
        "facts_forbids": pl.Int64,
        "facts_may_add": pl.Boolean,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        texts = [
            pl.concat_str(
                *(
                    pl.when(pl.col("changed_fields").str.contains(field, literal=True)).then(pl.col(f"{side}{field}"))
                    for field in self.fields
                ),
                separator="\n",
                ignore_nulls=True,
            ).alias(f"{side}text")
            for side in ("parent_", "")
        ]
        found: list[tuple[str | None, str | None, int | None, int | None, int | None]] = []
        orphan = pl.col("parent_prompt").is_null().alias("orphan")
        for parent, text, alone in frame.select(*texts, orphan).iter_rows():
            if alone or not text:
                found.append((None, None, None, None, None))
                continue
            before, after = _read(parent), _read(text)
            lost, added = _untold(before, after), _untold(after, before)
            found.append((lost, added, _negations(parent)[0], *_negations(text)))
        names = list(self.scores)[:5]
        scores = pl.DataFrame(found, schema={name: self.scores[name] for name in names}, orient="row")
        may_add = pl.col("generator").is_in(sorted(context.adds_facts)).fill_null(False)
        return frame.with_columns(*scores.get_columns(), may_add.alias("facts_may_add"))

    def verdict(self) -> pl.Expr:
        before, after, forbids = (pl.col(name) for name in list(self.scores)[2:5])
        may_add, checked = pl.col("facts_may_add"), pl.lit(self.check_negations)
        return (
            pl.when(pl.col("facts_lost") != "")
            .then(pl.lit("a number or unit of the parent is lost"))
            .when((pl.col("facts_added") != "") & ~may_add)
            .then(pl.lit("a number its parent does not have"))
            .when(checked & (before > 0) & (after == 0))
            .then(pl.lit("a negation of the parent is lost"))
            .when(checked & (before == 0) & (forbids > 0) & ~may_add)
            .then(pl.lit("a negation its parent does not have"))
        )


def _untold(stated: Sequence[Quantity], other: Sequence[Quantity]) -> str:
    """The firm quantities that the other text does not tell, joined by blanks."""
    missing = [str(each) for each in stated if each.firm and not any(each.told_by(one) for one in other)]
    return " ".join(dict.fromkeys(missing))
