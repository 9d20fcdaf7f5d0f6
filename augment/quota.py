"""Who is still short: how many candidates each seed has had, how many were kept, and what to ask next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.allocate import Bandit
from augment.balance import balanced, even, labelled
from augment.generators import EXHAUSTED, answers_itself
from augment.plan import PICTURE_SHARD, SHARD, Plan, Shard

WAVES = 8
"""Rounds, at least, in which variants are asked for where what is kept decides who is asked next."""
FEW, MANY = 64, 2**31
"""Candidates of a seed in one round: few where generators answer themselves and may run out of variants."""


@dataclass(frozen=True)
class Round:
    """Some requests for what is still missing: `size` in all, in shards."""

    size: int
    shards: Iterator[Shard]


@dataclass
class Quota:
    """One entry a seed, in the plan's order; `cap` bounds the candidates of each seed.

    `groups` are numbers: what a seed cannot give is passed on within its group; None where each answers for itself.
    `labels` names the groups where they are the seeds' labels, which shall come out equally many. With a `bandit`
    rounds are small, and it says who has which turn.
    """

    ids: pl.Series
    share: NDArray[np.int64]
    cap: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    at_once: int = MANY
    shard: int = SHARD
    bandit: Bandit | None = None
    labels: tuple[str, ...] = ()
    target: NDArray[np.int64] = field(init=False)
    asked: NDArray[np.int64] = field(init=False)
    kept: NDArray[np.int64] = field(init=False)
    spent: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.target = self.share.copy()
        self.asked = np.zeros_like(self.share)
        self.kept = np.zeros_like(self.share)
        self.spent = np.zeros(len(self.share), dtype=np.bool_)
        self.used = np.zeros((len(self.share), len(self.bandit.names) if self.bandit else 0), dtype=np.int64)

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The shares of a plan: n for each seed, or the total spread evenly, the first seeds one more.

        Rows to be labelled get one each, those of a label with an n of its own that many. Where labels shall come out
        equally many, each label has a share of its own, spread evenly over its seeds.
        """
        seeds = len(plan.seeds)
        labels: tuple[str, ...] = ()
        at_once = FEW if all(answers_itself(each) for each in plan.generators) else MANY
        shard = PICTURE_SHARD if plan.pictured else SHARD
        groups: NDArray[np.int64] | None = None
        if plan.recipe.balance is not None:
            labels, groups = labelled(plan.seeds["label"])
            share, cap = balanced(groups, len(labels), plan.total, plan.recipe.max_attempts)
        else:
            asked = plan.seeds["label"].is_null().to_numpy() if plan.annotates else np.ones(seeds, dtype=np.bool_)
            share = np.zeros(seeds, dtype=np.int64)
            share[asked] = plan.per_seed or even(plan.total, int(asked.sum()))
            cap = np.where(asked, plan.cap, 0).astype(np.int64)
            groups = np.zeros(seeds, dtype=np.int64) if plan.per_seed is None else None
            for label, times in plan.recipe.n_by_label.items():
                own = (plan.seeds["label"] == label).fill_null(False).to_numpy()
                share[own] = int(times[:-1])
                cap[own] = max(1, round(int(times[:-1]) * plan.recipe.max_attempts))
        bandit = None
        if plan.recipe.allocate == "adaptive":
            bandit = Bandit(tuple(each.name for each in plan.generators), plan.recipe.seed)
            texts = plan.seeds.select(pl.concat_str("prompt", "response", separator="\n", ignore_nulls=True))
            bandit.know(texts.to_series().to_list())
        return cls(plan.seeds["id"], share, cap, groups, at_once, shard, bandit, labels)

    def next_round(self, number: int) -> Round | None:
        """The next round: what each seed lacks, within its cap; None when all is done."""
        if self.groups is not None:
            for group in range(int(self.groups.max()) + 1):
                self._pass_on(self.groups == group)
        at_once = self.at_once
        if self.bandit:
            self.bandit.close()
            at_once = max(1, int(self.share.max()) // WAVES)
        want = np.clip(np.minimum(self.target - self.kept, self.cap - self.asked), 0, at_once)
        want[self.spent] = 0
        if not want.any():
            return None
        asked = self.asked
        self.asked = asked + want
        shards = _shards(number, asked, want, self.shard)
        return Round(int(want.sum()), self._allotted(shards, int(want.sum())) if self.bandit else shards)

    def _allotted(self, shards: Iterator[Shard], size: int) -> Iterator[Shard]:
        """The shards of a round with the turns that the bandit gives."""
        assert self.bandit is not None
        turns = iter(self.bandit.turns(size).tolist())
        for shard in shards:
            told = []
            for position, _, count in shard.asks:
                for _ in range(count):
                    which = next(turns)
                    told.append((which, int(self.used[position, which])))
                    self.used[position, which] += 1
            yield replace(shard, turns=tuple(told))

    def _pass_on(self, group: NDArray[np.bool_]) -> None:
        """Give what spent seeds of a group can no longer deliver to those that still can, one each in turn."""
        spent = group & (self.spent | (self.asked >= self.cap))
        missing = int(np.clip(self.target - self.kept, 0, None)[spent].sum())
        self.target = np.where(spent, np.minimum(self.target, self.kept), self.target)
        while missing > 0:
            room = np.flatnonzero(group & ~spent & (self.target - self.kept < self.cap - self.asked))[:missing]
            if not len(room):
                return  # nobody can: `short` says who gave less than their share
            self.target[room] += 1
            missing -= len(room)

    def add(self, sifted: pl.DataFrame) -> None:
        """Count what a shard's candidates gave (columns `_position` and `dropped_by`)."""
        kept = sifted.filter(pl.col("dropped_by").is_null())["_position"].to_numpy()
        np.add.at(self.kept, kept, 1)
        if self.bandit:
            self.bandit.add(sifted)
        if self.at_once == FEW:  # nobody else is asked: a seed without further variants is done
            done = sifted.filter(pl.col("reason") == EXHAUSTED)["_position"].unique().to_numpy()
            self.spent[done] = True

    def carry(self, sifted: pl.DataFrame) -> None:
        """Count variants that a parent run brought; their seeds go on with the candidates after those."""
        self.add(sifted)
        np.maximum.at(self.asked, sifted["_position"].to_numpy(), sifted["_candidate"].to_numpy() + 1)

    def short(self) -> pl.DataFrame:
        """The seeds that gave less than their share, unless their group met its total all the same.

        Columns id, target, kept, candidates.
        """
        counts = {"id": self.ids, "target": self.share, "kept": self.kept, "candidates": self.asked}
        met = np.zeros(len(self.share), dtype=np.bool_)
        if self.groups is not None and len(self.groups):
            wanted, got = (self._by_group(each) for each in (self.share, self.kept))
            met = (got >= wanted)[self.groups]
        return pl.DataFrame(counts).filter(~pl.Series(met) & (pl.col("kept") < pl.col("target")))

    def balance(self) -> list[dict[str, Any]]:
        """Of each label its seeds, the variants wanted of it, and those kept; [] where labels are not balanced."""
        if not self.labels:
            return []
        seeds, wanted, got = (self._by_group(each) for each in (np.ones_like(self.kept), self.share, self.kept))
        return [
            {"label": label, "seeds": int(seeds[at]), "target": int(wanted[at]), "kept": int(got[at])}
            for at, label in enumerate(self.labels)
        ]

    def _by_group(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        assert self.groups is not None
        found = np.zeros(int(self.groups.max()) + 1, dtype=np.int64)
        np.add.at(found, self.groups, counts)
        return found


def _shards(round: int, asked: NDArray[np.int64], want: NDArray[np.int64], most: int) -> Iterator[Shard]:
    asks: list[tuple[int, int, int]] = []
    size = index = 0
    for position in np.flatnonzero(want).tolist():
        for first in range(0, int(want[position]), most):  # a seed that wants very many fills shards of its own
            asks.append((position, int(asked[position]) + first, min(most, int(want[position]) - first)))
            size += asks[-1][2]
            if size >= most:
                yield Shard(round, index, tuple(asks))
                asks, size, index = [], 0, index + 1
    if asks:
        yield Shard(round, index, tuple(asks))
