"""Rows that repeat a seed or an earlier row."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters import Context
from filters.fold import fold
from filters.minhash import Groups, mixed
from filters.text_rows import TextRows

_Ints = NDArray[np.int64]
_Hashes = NDArray[np.uint64]

SLICE = 1 << 14
"""Rows that a filter works on at a time, so that its memory does not grow with the frame it is given."""


def seed_texts(seeds: pl.DataFrame, fields: str) -> Iterator[pl.DataFrame]:
    """`id` and `text` of the seeds that have all of `fields` ("prompt", "response", "prompt+response"), in slices."""
    names = [name for name in fields.split("+") if name]
    text = pl.concat_str(names, separator="\n") if names else pl.lit(None, dtype=pl.String)
    for part in seeds.iter_slices(SLICE):
        yield part.select("id", text.alias("text")).filter(pl.col("text").is_not_null())


def group_expr(frame: pl.DataFrame) -> pl.Expr:
    """The seed that a row comes from, its first parent; a row without one is a group of its own."""
    if "parents" not in frame.columns:
        return pl.col("id")
    return pl.coalesce(pl.col("parents").list.first(), pl.col("id"))


def hashed(texts: pl.Series) -> NDArray[np.uint64]:
    """64 bits that stand for each text: an answer's thousand characters need not stay in memory."""
    digests = [blake2b(text.encode(), digest_size=8).digest() for text in texts.to_list()]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


@dataclass(frozen=True)
class ExactDup:
    """Drops rows whose changed text, apart from width, script, case and punctuation, was seen before.

    `groups` says among which rows: "both" (all), "within" (a seed and its variants), "across" (those of other seeds).
    """

    groups: Groups = "both"
    name: ClassVar[str] = "exact_dup"
    cost: ClassVar[str] = "corpus"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {}
    scores: ClassVar[dict[str, Any]] = {"exact_dup_of": pl.String, "exact_dup_copy": pl.Boolean}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        memory: dict[str, _Seen] = context.memory.setdefault(self.name, {})
        found = [pl.Series("exact_dup_of", [], dtype=pl.String)]
        found += [self._owners(part, context.seeds, memory) for part in frame.iter_slices(SLICE)]
        return frame.with_columns(pl.concat(found), _copied(frame, context.seeds).alias("exact_dup_copy"))

    def verdict(self) -> pl.Expr:
        return (
            pl.when("exact_dup_copy")
            .then(pl.lit("copy of its parent"))
            .when(pl.col("exact_dup_of").is_not_null())
            .then(pl.lit("same text as an earlier row"))
        )

    def _owners(self, frame: pl.DataFrame, seeds: pl.DataFrame, memory: dict[str, _Seen]) -> pl.Series:
        keyed = frame.select(
            "id", "changed_fields", group_expr(frame).alias("group"), fold(frame["changed"]).fill_null("").alias("key")
        )
        owners: list[str | None] = [None] * frame.height
        rows = keyed.with_row_index("row").filter(pl.col("key") != "")
        for (fields,), part in rows.group_by("changed_fields", maintain_order=True):
            kind = str(fields)
            if kind not in memory:
                memory[kind] = _Seen(self.groups)
                for texts in seed_texts(seeds, kind):
                    keys = texts.select("id", pl.col("id").alias("group"), fold(texts["text"]).alias("key"))
                    memory[kind].add(keys.filter(pl.col("key") != ""), keep_all=True)
            for row, owner in zip(part["row"], memory[kind].add(part), strict=True):
                owners[row] = owner
        return pl.Series("exact_dup_of", owners, dtype=pl.String)


def unless_flipped(scored: pl.DataFrame, context: Context, how: str, of: str) -> list[pl.Expr]:
    """The columns `how` alike and `of` which row, null where that is the parent of a row that flips it."""
    if not context.flips or not {"generator", "parents"} <= set(scored.columns):
        return []
    flipped = pl.col("generator").is_in(sorted(context.flips)) & (pl.col(of) == pl.col("parents").list.first())
    return [pl.when(~flipped.fill_null(False)).then(name).alias(name) for name in (how, of)]


def _copied(frame: pl.DataFrame, seeds: pl.DataFrame) -> pl.Series:
    """Whether a row says what its parent says; one with another label says something else."""
    same = frame["changed_fields"] == ""
    if "label" not in frame.columns or "label" not in seeds.columns or not same.any():
        return same
    labels = dict(seeds.select("id", "label").iter_rows())
    told = frame.select("label", pl.col("parents").list.first()).iter_rows()
    return same & pl.Series([label == labels.get(parent, label) for label, parent in told], dtype=pl.Boolean)


@dataclass
class _Seen:
    """The first row of each text: 16 bytes a text in sorted segments, and its id; `groups` other than "both" 8 more."""

    groups: Groups
    ids: TextRows = field(default_factory=TextRows)
    segments: list[tuple[_Hashes, _Ints]] = field(default_factory=list)
    group: array[int] = field(default_factory=lambda: array("Q"))
    second: dict[int, int] = field(default_factory=dict)
    """Of seeds with one text: the first that is not of the first's group."""
    seeds: int = 0
    """How many rows were seeds: one that comes again is no copy of itself, as two rows of one file and one id are."""

    def add(self, rows: pl.DataFrame, keep_all: bool = False) -> list[str | None]:
        """The id of the earlier row that each row (columns id, group, key) repeats, or None; rows are then seen."""
        base, keys = len(self.ids), hashed(rows["key"])
        own = np.arange(base, base + len(keys))
        if self.groups != "both":
            group = hashed(rows["group"])
            self.group.frombytes(group.tobytes())
        if self.groups == "within":
            keys = mixed(keys ^ mixed(group))
        first = self._first(keys, base)
        if self.groups == "across":
            of = np.frombuffer(self.group, dtype=np.uint64)[first]
            if keep_all:
                for at in np.flatnonzero(of != group).tolist():
                    self.second.setdefault(int(keys[at]), base + at)
            for at in np.flatnonzero((of == group) & (first != own)).tolist():
                first[at] = self.second.get(int(keys[at]), base + at)
        fresh, ids = first == own, rows["id"].to_list()
        self.ids.extend(id if keep_all or new else None for id, new in zip(ids, fresh.tolist(), strict=True))
        if keep_all:
            self.seeds = len(self.ids)
        owners = [None if new else self.ids[at] for at, new in zip(first.tolist(), fresh.tolist(), strict=True)]
        themselves = [owner == id and at < self.seeds for owner, id, at in zip(owners, ids, first, strict=True)]
        return [None if itself else owner for owner, itself in zip(owners, themselves, strict=True)]

    def _first(self, keys: _Hashes, base: int) -> _Ints:
        """The position of the first row with each key."""
        unlike, at, which = np.unique(keys, return_index=True, return_inverse=True)
        position = np.full(len(unlike), -1, dtype=np.int64)
        for held, places in self.segments:
            slot = np.minimum(np.searchsorted(held, unlike), len(held) - 1)
            hit = held[slot] == unlike
            position[hit] = places[slot[hit]]
        new = position < 0
        position[new] = base + at[new]
        if new.any():
            self.segments.append((unlike[new], position[new]))
        while len(self.segments) > 1 and len(self.segments[-2][0]) <= 2 * len(self.segments[-1][0]):
            parts = self.segments[-2:]
            longer, places = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
            order = np.argsort(longer, kind="stable")  # two sorted runs: one merge
            self.segments[-2:] = [(longer[order], places[order])]
        return position[which]
