"""`--allocate adaptive`: spend the requests on the generators whose variants are kept and say something new.

A bandit with Thompson sampling (Thompson 1933). Requests go out in waves; after each wave a generator's reward is, for
every candidate, 0 where it was not kept, else the share of its character trigrams that no kept row had before. What it
earned is compared per token. The next wave is shared out by how likely each generator is the best, from `DRAWS` draws
of its Beta posterior, with rewards in units of the best; none gets less than `LEAST`, so that a poor start can be made
good, and what was learnt long ago counts less, since what is new wears off.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.records import seed_for

DRAWS = 2000
LEAST = 0.1
"""Of an equal share, what each generator gets in any case."""
MEMORY = 0.7
"""What of a wave counts one wave later."""
BITS = 22
"""Trigrams are remembered by so many bits of their hash: a few of a million are taken for known."""


@dataclass
class Bandit:
    """What generators earned so far. `told` has a line a wave: who was asked how often, and what came of it."""

    names: tuple[str, ...]
    seed: int
    earned: NDArray[np.float64] = field(init=False)
    asked: NDArray[np.float64] = field(init=False)
    tokens: NDArray[np.float64] = field(init=False)
    told: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.earned, self.asked, self.tokens = (np.zeros(len(self.names)) for _ in range(3))
        self._known = np.zeros(1 << BITS, dtype=np.bool_)
        self._wave: dict[str, list[float]] = {}

    def know(self, texts: Sequence[str]) -> None:
        """Texts that are there already: what they say is not new."""
        for text in texts:
            self._known[_trigrams(text)] = True

    def shares(self) -> NDArray[np.float64]:
        """Each generator's share of the next wave, adding up to 1."""
        count = len(self.names)
        if not self.asked.any():
            return np.full(count, 1 / count)
        rng = np.random.default_rng(seed_for("bandit", "+".join(self.names), len(self.told), self.seed))
        # what matters is who earns more: in units of the best, or where little is new all would be taken for lucky
        best_yet = (self.earned / np.maximum(self.asked, 1e-9)).max() or 1.0
        earned = np.minimum(self.earned / best_yet, self.asked)
        drawn = rng.beta(1 + earned, 1 + self.asked - earned, size=(DRAWS, count))
        price = np.where(self.asked > 0, self.tokens / np.maximum(self.asked, 1e-9), 0)
        if price.any():
            price[price == 0] = price[price > 0].mean()
            drawn /= price / price.mean()
        best = np.bincount(drawn.argmax(axis=1), minlength=count) / DRAWS
        least = LEAST / count
        found: NDArray[np.float64] = least + (1 - LEAST) * best
        return found

    def turns(self, size: int) -> NDArray[np.int64]:
        """Who has each of a wave's `size` turns, by the generators' places: as often as their shares, evenly spread."""
        exact = self.shares() * size
        counts = np.floor(exact).astype(np.int64)
        for place in np.argsort(counts - exact, kind="stable")[: size - counts.sum()]:
            counts[place] += 1
        at = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
        who = np.repeat(np.arange(len(counts)), counts)
        found: NDArray[np.int64] = who[np.lexsort((who, at))]
        return found

    def add(self, sifted: pl.DataFrame) -> None:
        """Count some of a wave's candidates, in order."""
        columns = ("generator", "dropped_by", "prompt", "response", "tokens_in", "tokens_out")
        for generator, dropped_by, prompt, response, tokens_in, tokens_out in sifted.select(columns).iter_rows():
            if generator not in self.names:
                continue
            reward = 0.0
            if dropped_by is None:
                grams = _trigrams("\n".join(filter(None, (prompt, response))))
                reward = float((~self._known[grams]).mean()) if len(grams) else 0.0
                self._known[grams] = True
            sums = self._wave.setdefault(generator, [0.0, 0.0, 0.0, 0.0])
            for at, value in enumerate((1, dropped_by is None, reward, (tokens_in or 0) + (tokens_out or 0))):
                sums[at] += value

    def close(self) -> None:
        """The wave is over: what it taught counts for the next, and what was before counts less."""
        if not self._wave:
            return
        for sums in (self.earned, self.asked, self.tokens):
            sums *= MEMORY
        lines = {}
        for place, name in enumerate(self.names):
            asked, kept, reward, tokens = self._wave.get(name, [0.0] * 4)
            self.asked[place] += asked
            self.earned[place] += reward
            self.tokens[place] += tokens
            lines[name] = {
                "asked": int(asked),
                "kept": int(kept),
                "new": round(reward / kept, 4) if kept else 0.0,
                "tokens": int(tokens),
            }
        self.told.append(lines)
        self._wave = {}


def allocated(waves: Sequence[dict[str, Any]]) -> str:
    """Who was asked how often in the first wave and after it, for people."""
    parts = []
    for name in waves[0]:
        first, after = (
            sum(wave[name]["asked"] for wave in some)
            / max(1, sum(each["asked"] for wave in some for each in wave.values()))
            for some in (waves[:1], waves[1:])
        )
        parts.append(f"{name} {first:.0%}, then {after:.0%}")
    return f"requests, over {len(waves)} waves: {'; '.join(parts)}"


def _trigrams(text: str) -> NDArray[np.int64]:
    """The distinct trigrams of a text, hashed."""
    data = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(data) < 3:
        short = [zlib.crc32(text.encode("utf-8", "surrogatepass")) >> (32 - BITS)] if text else []
        return np.array(short, dtype=np.int64)
    mixed = (data[:-2] * np.uint64(0x9E3779B97F4A7C15)) ^ (data[1:-1] * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed = (mixed ^ (data[2:] * np.uint64(0x165667B19E3779F9))) * np.uint64(0xD6E8FEB86659FD93)
    found: NDArray[np.int64] = np.unique(mixed >> np.uint64(64 - BITS)).astype(np.int64)
    return found
