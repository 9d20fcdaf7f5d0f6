"""Numbers, units, doses, drugs and negations of a health text survive its rewriting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from re import Pattern
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from augment.places import data_dir
from filters import Context
from filters.drugs import drugs, same
from filters.negation import flips
from filters.quantities import Quantity, quantities


@dataclass(frozen=True)
class Facts:
    """Drops rewrites that lose, add or change a number, a unit or a drug, or say the opposite.

    `fields` are those looked at where they changed. A question states what it is about, so that a number or a drug
    that is lost or added counts. Generators in the context's `adds_facts` (personas, say) may add, but not lose. An
    answer may be told shorter or at more length; there only a number counts that stands in the place of another. The
    opposite is what `filters.negation` calls flipped (`check_negations`), and one of the pairs in
    `data/opposites.txt` for the other (`check_opposites`). `facts_changes` tells all of it in words:
    "2片 → 3片; 不能喝酒 → 能喝酒; 布洛芬 gone".
    """

    fields: Annotated[tuple[Literal["prompt", "response"], ...], Field(min_length=1)] = ("prompt", "response")
    check_negations: bool = True
    check_drugs: bool = True
    check_opposites: bool = True
    name: ClassVar[str] = "facts"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "facts_flips": ("check_negations",),
        "facts_drugs_lost": ("check_drugs",),
        "facts_drugs_added": ("check_drugs",),
        "facts_opposites": ("check_opposites",),
    }
    scores: ClassVar[dict[str, Any]] = {
        "facts_changes": pl.String,
        "facts_lost": pl.String,
        "facts_added": pl.String,
        "facts_drugs_lost": pl.String,
        "facts_drugs_added": pl.String,
        "facts_flips": pl.String,
        "facts_opposites": pl.String,
        "facts_may_add": pl.Boolean,
    }

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        has_parent = pl.col("parent_prompt").is_not_null()
        changed = {
            field: has_parent
            & pl.col("changed_fields").str.contains(field, literal=True)
            & pl.lit(field in self.fields)
            for field in ("prompt", "response")
        }
        known = pl.concat_str("parent_prompt", "parent_response", separator="\n", ignore_nulls=True)
        looked = pl.any_horizontal(*changed.values())
        texts = frame.select(
            pl.when(changed["prompt"]).then("parent_prompt").alias("before"),
            pl.when(changed["prompt"]).then("prompt").alias("after"),
            pl.when(changed["response"]).then("parent_response").alias("answer_before"),
            pl.when(changed["response"]).then("response").alias("answer"),
            pl.when(looked).then(known).alias("known"),
            pl.when(looked).then("prompt").alias("asked"),
        ).select(pl.all().str.normalize("NFKC"))
        named = (drugs(texts[name]) for name in ("before", "after", "known"))
        none = (None,) * (len(self.scores) - 1)
        found = [
            none if row[4] is None else _changes(*row, *medicines)
            for row, *medicines in zip(texts.iter_rows(), *named, strict=True)
        ]
        names = list(self.scores)[:-1]
        scores = pl.DataFrame(found, schema={name: self.scores[name] for name in names}, orient="row")
        may_add = pl.col("generator").is_in(sorted(context.adds_facts)).fill_null(False)
        return frame.with_columns(*scores.get_columns(), may_add.alias("facts_may_add"))

    def verdict(self) -> pl.Expr:
        may_add = pl.col("facts_may_add")

        def when(name: str, why: str, checked: bool = True, unless: pl.Expr | None = None) -> pl.Expr:
            told = (pl.col(name) != "") & pl.lit(checked)
            return pl.when(told & ~unless if unless is not None else told).then(pl.lit(why))

        return pl.coalesce(
            when("facts_lost", "a number or unit of the parent is lost"),
            when("facts_added", "a number its parent does not have", unless=may_add),
            when("facts_flips", "says the opposite of its parent", self.check_negations),
            when("facts_opposites", "says the opposite of its parent", self.check_opposites),
            when("facts_drugs_lost", "a drug of the parent is lost", self.check_drugs),
            when("facts_drugs_added", "a drug its parent does not have", self.check_drugs, unless=may_add),
        )


def _changes(
    before: str | None,
    after: str | None,
    answer_before: str | None,
    answer: str | None,
    known: str,
    asked: str | None,
    drugs_before: frozenset[str],
    drugs_after: frozenset[str],
    drugs_known: frozenset[str],
) -> tuple[str, ...]:
    """The score columns but the last: first all changes in words, then each kind."""
    lost: list[Quantity] = []
    added: list[Quantity] = []
    gone: list[str] = []
    new: list[str] = []
    flipped: list[str] = []
    turned: list[str] = []
    if after is not None:
        had, has = quantities(before or ""), quantities(after)
        lost, added = _untold(had, has, after), _untold(has, had, before or "")
        gone = sorted(each for each in drugs_before if not same(each, drugs_after))
        new = sorted(each for each in drugs_after if not same(each, drugs_known))
    if answer is not None and answer_before is not None:
        pairs = _replaced(answer_before, answer, known, f"{asked or ''}\n{answer}")
        lost, added = lost + [one for one, _ in pairs], added + [other for _, other in pairs]
    for one, other in ((before, after), (answer_before, answer)):
        if one is not None and other is not None:
            flipped += flips(one, other)
            turned += _turned(one, other)
    drugs_told = [each.rstrip("*") for each in gone], [each.rstrip("*") for each in new]
    told = [*_in_words([str(each) for each in lost], [str(each) for each in added]), *flipped, *turned]
    told += _in_words(*drugs_told)
    numbers = (" ".join(dict.fromkeys(str(each) for each in each_side)) for each_side in (lost, added))
    return (
        "; ".join(dict.fromkeys(told)),
        *numbers,
        *(" ".join(each) for each in drugs_told),
        "; ".join(flipped),
        "; ".join(turned),
    )


def _in_words(lost: list[str], added: list[str]) -> list[str]:
    """ "2片 → 3片" for what was replaced by its like, "2片 gone" and "3片 new" for the rest."""
    lost, added = list(dict.fromkeys(lost)), list(dict.fromkeys(added))
    told = []
    for one in lost:
        unit = one.lstrip("0123456789./")
        like = next((other for other in added if other.lstrip("0123456789./") == unit or unit == one), None)
        if like is not None:
            added.remove(like)
        told.append(f"{one} → {like}" if like is not None else f"{one} gone")
    return told + [f"{other} new" for other in added]


def _untold(stated: Sequence[Quantity], other: Sequence[Quantity], text: str) -> list[Quantity]:
    """The firm quantities that the other text does not tell."""
    return [
        each for each in stated if each.firm and not each.told_in(text) and not any(each.told_by(one) for one in other)
    ]


def _replaced(before: str, after: str, known: str, whole: str) -> list[tuple[Quantity, Quantity]]:
    """Pairs of a quantity and of another of its kind that stands between the same characters in its stead.

    The first is nowhere in the `whole` new row, the second nowhere in what the parent is `known` to say.
    """
    lost = _untold(quantities(before), quantities(whole), whole)
    if not lost:
        return []
    added = _untold(quantities(after), quantities(known), known)
    return [
        (one, other)
        for one in lost
        for other in added
        if one.like(other) and ((_alone(one) and _alone(other)) or _shared(one.around, other.around))
    ]


def _alone(quantity: Quantity) -> bool:
    """Whether a quantity is all that is said."""
    return not re.search(r"\w", "".join(quantity.around))


def _shared(left: tuple[str, str], right: tuple[str, str]) -> bool:
    """Whether two quantities stand behind the same two characters, or before the same two."""
    behind = len(left[0]) > 1 and left[0][-2:] == right[0][-2:]
    return behind or (len(left[1]) > 1 and left[1][:2] == right[1][:2])


def _turned(before: str, after: str) -> list[str]:
    """Opposites of which the first text has only one and the second only the other: "左膝 → 右膝"."""
    other = after.lower()
    return [
        f"{said} → {has.group()}"
        for said, own, opposite in _sides(before)
        if (has := opposite.search(other)) and not own.search(other)
    ]


@lru_cache(maxsize=1 << 14)  # a parent's text is read for each of its variants
def _sides(text: str) -> tuple[tuple[str, Pattern[str], Pattern[str]], ...]:
    """What a text says of which there is an opposite that it does not say, with the patterns of both."""
    lower = text.lower()
    found = []
    for left, right in _opposites():
        one, other = left.search(lower), right.search(lower)
        if one and not other:
            found.append((one.group(), left, right))
        elif other and not one:
            found.append((other.group(), right, left))
    return tuple(found)


@cache
def _opposites() -> tuple[tuple[Pattern[str], Pattern[str]], ...]:
    lines = (data_dir() / "opposites.txt").read_text("utf-8").splitlines()
    pairs = (line.split(" | ") for line in lines if line and not line.startswith("#"))
    return tuple((re.compile(left), re.compile(right)) for left, right in pairs)
