from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augment.quota import Quota


def quota(target: list[int], cap: int, shared: bool = False) -> Quota:
    return Quota(pl.Series([f"s{i}" for i in range(len(target))]), np.array(target), cap, shared)


def outcome(*kept_by_seed: tuple[int, int]) -> pl.DataFrame:
    positions = [position for position, count in kept_by_seed for _ in range(count)]
    return pl.DataFrame(
        {"_position": positions, "dropped_by": [None] * len(positions)},
        schema={"_position": pl.Int64, "dropped_by": pl.String},
    )


def asks(each: Quota, round: int = 0) -> list[tuple[int, int, int]]:
    found = each.next_round(round)
    made = [ask for shard in found.shards for ask in shard.asks] if found else []
    assert (found.size if found else 0) == sum(count for _, _, count in made)
    return made


def test_the_first_round_asks_for_exactly_what_is_wanted():
    assert asks(quota([2, 3], cap=9)) == [(0, 0, 2), (1, 0, 3)]


def test_refill_asks_for_what_is_missing_with_new_numbers():
    each = quota([2, 3], cap=9)
    asks(each)
    each.add(outcome((0, 2), (1, 1)))
    assert asks(each, 1) == [(1, 3, 2)]


def test_a_seed_gets_no_more_than_its_cap():
    each = quota([2], cap=3)
    asks(each)
    assert asks(each, 1) == [(0, 2, 1)]
    assert asks(each, 2) == []
    assert each.short().row(0) == ("s0", 2, 0, 3)


def test_rejected_candidates_do_not_count():
    each = quota([1], cap=3)
    asks(each)
    each.add(pl.DataFrame({"_position": [0], "dropped_by": ["length"]}))
    assert each.kept.tolist() == [0]


def test_a_total_passes_on_what_spent_seeds_cannot_give():
    each = quota([2, 2], cap=4, shared=True)
    asks(each)
    each.add(outcome((1, 2)))
    assert asks(each, 1) == [(0, 2, 2)]
    assert asks(each, 2) == [(1, 2, 2)]
    each.add(outcome((1, 2)))
    assert asks(each, 3) == []
    assert each.kept.sum() == 4
    assert each.short().is_empty()


def test_a_total_that_nobody_can_reach_stays_visible():
    each = quota([2, 2], cap=2, shared=True)
    asks(each)
    each.add(outcome((1, 2)))
    assert asks(each, 1) == []
    assert each.short().rows() == [("s0", 2, 0, 2)]


@pytest.mark.parametrize("size", [1, 999, 2500])
def test_shards_hold_each_seed_once_and_whole(size):
    each = quota([3] * size, cap=9)
    shards = list(each.next_round(0).shards)
    assert [ask[0] for shard in shards for ask in shard.asks] == list(range(size))
    assert [shard.index for shard in shards] == list(range(len(shards)))
