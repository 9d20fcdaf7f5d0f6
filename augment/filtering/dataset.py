"""What is sifted: rows in blocks, with all that filters may look at besides them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import RecipeError
from augment.records import VERDICT
from augment.registry import closest
from augment.review.guard import prevailing
from filters import Context, cost_of, limits_of
from filters.chain import Chain, chain_of, chain_of_record
from filters.made_with import WHAT, made_with

BEFORE = "_before"
BLOCK = 50_000
"""Rows that are in memory at once."""


@dataclass(frozen=True)
class Dataset:
    """Rows to sift, and where they come from. `digest` is the identity of their content.

    `blocks` gives the rows in order, with the columns of the dataset, of `POSITION` and of `VERDICT`; a row that has
    a verdict of `settled` keeps it. `lost` are rows that never were candidates. `seeds` are published before their
    candidates; `positions` says how many places there are in `_position`. `scored` is the record of the chain that gave
    the rows the scores that they have, with what it made them with. `columns` are published besides those of every
    dataset and the scores; `renamed` says what columns were called in the file that they come from, where that is not
    what they are called here; `manifest` and `summary` are of the run `folder` that the rows were published in before,
    if they were, and `owners` the ids of its seeds, place by place.
    """

    name: str
    digest: str
    blocks: Callable[[], Iterator[pl.DataFrame]]
    context: Callable[[], Context]
    settled: Callable[[], pl.Expr]
    positions: int
    seeds: pl.DataFrame
    lost: pl.DataFrame
    columns: dict[str, Any]
    renamed: Mapping[str, str] = field(default_factory=dict)
    scored: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    owners: pl.Series | None = None

    def chain(self, names: Sequence[str] | None, settings: Mapping[str, Mapping[str, Any]]) -> Chain:
        """The chain that is called for; without names the one that the rows went through.

        A filter that both have keeps the settings it had, where no other are given.

        Raises:
            RecipeError: as `filters.chain.chain_of`.
        """
        had = {each["name"]: each["settings"] for each in self.scored}
        if names is None and self.scored:
            return chain_of_record(self.scored, settings)
        kept = {name: had[name] for name in names or () if name in had}
        given = {name: {**kept.get(name, {}), **settings.get(name, {})} for name in (*kept, *settings)}
        wanted = chain_of(names or ["default"], given)
        record = [{**each, "settings": had.get(each["name"], each["settings"])} for each in wanted.record]
        return chain_of_record(record, settings)

    def held(self, chain: Chain, context: Context) -> frozenset[str]:
        """The filters whose scores are those that they gave the rows before: only their limits may be others.

        Where a setting, the exam, the seeds or the filter's code is another (`filters.made_with`), or nobody knows,
        rows are scored anew.
        """
        return frozenset(name for name in self._same(chain) if not self._changed(name, chain, context))

    def stale(self, chain: Chain, context: Context) -> list[str]:
        """A line for each filter that scores rows anew though its settings would let it read the scores they have."""
        kept = {each.name for each in chain.filters if cost_of(each) in ("row", "model")}
        found = {name: self._changed(name, chain, context) for name in self._same(chain) if name in kept}
        known = {each["name"] for each in self.scored if each.get("made_with")}
        lines = [
            f"{name} scores every row anew: the {' and the '.join(WHAT[each] for each in why)} changed since"
            for name, why in found.items()
            if why and name in known
        ]
        unknown = [name for name, why in found.items() if why and name not in known]
        told = [f"scored anew, for the run does not say what made the scores it has: {', '.join(unknown)}"]
        return lines + (told if unknown else [])

    def _same(self, chain: Chain) -> list[str]:
        """The filters with the settings that decided the scores that the rows have."""
        had = {each["name"]: each["settings"] for each in self.scored}
        found = []
        for told, each in zip(chain.record, chain.filters, strict=True):
            name, now = told["name"], orjson.loads(orjson.dumps(told["settings"]))  # as a manifest has it: no tuples
            decisive = now.keys() - {limit.split()[-1] for limits in limits_of(each).values() for limit in limits}
            if name in had and all(had[name].get(key, _NOTHING) == now[key] for key in decisive):
                found.append(name)
        return found

    def _changed(self, name: str, chain: Chain, context: Context) -> list[str]:
        """What is not as it was, or not known to be, when the filter scored the rows."""
        had = next(each.get("made_with") or {} for each in self.scored if each["name"] == name)
        now = made_with(next(each for each in chain.filters if each.name == name), context)
        return [part for part, digest in now.items() if not digest or had.get(part) != digest]


_NOTHING = object()


def sifted(dataset: Dataset, chain: Chain, context: Context) -> Iterator[pl.DataFrame]:
    """The blocks as the chain leaves them, before its selections; what has its scores already is not scored again.

    They have the column `BEFORE` besides: whether the row was kept until now.
    """
    held = dataset.held(chain, context)
    for candidates in dataset.blocks():
        block = candidates
        if BEFORE not in block.columns:
            block = candidates.with_columns(pl.col("dropped_by").is_null().alias(BEFORE))
        settled = block.select(dataset.settled()).to_series()
        fixed, rows = block.filter(settled), block.filter(~settled)
        out = chain.sift(rows.drop(VERDICT), context, held)
        if "reviewed" in out.columns:
            out = prevailing(out, context.exam, context.seeds)
        yield pl.concat([out, fixed], how="diagonal")


def setting_of(chain: Chain, path: str) -> tuple[str, str]:
    """The filter and its setting that `near_dup.threshold` names.

    Raises:
        RecipeError: the chain has no such filter, or the filter no such setting.
    """
    name, dot, key = path.partition(".")
    known = {each["name"]: sorted(each["settings"]) for each in chain.record}
    if not dot or not key:
        raise RecipeError(f"'{path}' is not FILTER.SETTING, for example near_dup.threshold")
    if name not in known:
        raise RecipeError(f"filter '{name}' is not in the chain; {closest(name, sorted(known))}")
    if key not in known[name]:
        raise RecipeError(f"filter '{name}' has no setting '{key}'; known: {', '.join(known[name]) or 'none'}")
    return name, key
