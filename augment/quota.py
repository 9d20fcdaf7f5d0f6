"""Who is still short: how many candidates each seed has had, how many were kept, and what to ask next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.plan import SHARD, Plan, Shard


@dataclass
class Quota:
    """One entry a seed, in the plan's order; `cap` bounds the candidates of each seed."""

    ids: pl.Series
    target: NDArray[np.int64]
    asked: NDArray[np.int64]
    kept: NDArray[np.int64]
    cap: int
    shared: bool

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The targets of a plan: n for each seed, or the total spread evenly, the first seeds one more."""
        seeds = len(plan.seeds)
        if plan.per_seed is not None:
            target = np.full(seeds, plan.per_seed, dtype=np.int64)
        else:
            target = plan.total // seeds + (np.arange(seeds) < plan.total % seeds).astype(np.int64)
        zeros = np.zeros(seeds, dtype=np.int64)
        return cls(plan.seeds["id"], target, zeros, zeros.copy(), plan.cap, shared=plan.per_seed is None)

    def next_round(self, round: int) -> list[Shard]:
        """The shards of the next round: what each seed lacks, within its cap; empty when all is done."""
        if self.shared:
            self._pass_on()
        want = np.clip(np.minimum(self.target - self.kept, self.cap - self.asked), 0, None)
        shards = list(self._shards(round, want))
        self.asked = self.asked + want
        return shards

    def _pass_on(self) -> None:
        """Give what capped seeds can no longer deliver to those that still can, one each in turn."""
        spent = self.asked >= self.cap
        missing = int(np.clip(self.target - self.kept, 0, None)[spent].sum())
        self.target = np.where(spent, np.minimum(self.target, self.kept), self.target)
        while missing > 0:
            room = np.flatnonzero(~spent & (self.target - self.kept < self.cap - self.asked))[:missing]
            if not len(room):
                spare = np.flatnonzero(spent)[:1]
                self.target[spare] += missing  # nobody can: the shortfall stays visible on one seed
                return
            self.target[room] += 1
            missing -= len(room)

    def _shards(self, round: int, want: NDArray[np.int64]) -> Iterator[Shard]:
        asks: list[tuple[int, int, int]] = []
        size = index = 0
        for position in np.flatnonzero(want):
            asks.append((int(position), int(self.asked[position]), int(want[position])))
            size += int(want[position])
            if size >= SHARD:
                yield Shard(round, index, tuple(asks))
                asks, size, index = [], 0, index + 1
        if asks:
            yield Shard(round, index, tuple(asks))

    def add(self, sifted: pl.DataFrame) -> None:
        """Count what a shard's candidates gave (columns `_position` and `dropped_by`)."""
        kept = sifted.filter(pl.col("dropped_by").is_null())["_position"].to_numpy()
        np.add.at(self.kept, kept, 1)

    def state(self) -> pl.DataFrame:
        """A row a seed: id, target, kept, candidates."""
        return pl.DataFrame({"id": self.ids, "target": self.target, "kept": self.kept, "candidates": self.asked})
