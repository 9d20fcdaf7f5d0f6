from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from filters.buckets import BUCKET, Buckets

BANDS = 5


def keys_of(count: int, unlike: int, seed: int = 0) -> NDArray[np.uint64]:
    """Keys whose leading half takes `unlike` values in each band, every fortieth row without any."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(BANDS * unlike).astype(np.uint64) * np.uint64(0x9E3779B1) << np.uint64(32)
    keys = values[rng.integers(0, unlike, (count, BANDS)) * BANDS + np.arange(BANDS)] | rng.integers(
        1, 1 << 32, (count, BANDS), dtype=np.uint64
    )
    keys[::40] = 0
    return keys


def by_hand(keys: NDArray[np.uint64]) -> set[tuple[int, int]]:
    """Each row beside the first rows of its buckets."""
    buckets: dict[int, list[int]] = {}
    pairs = set()
    for row, some in enumerate((keys >> np.uint64(32)).tolist()):
        for key in some if any(some) else ():
            rows = buckets.setdefault(key, [])
            pairs |= {(row, earlier) for earlier in rows[:BUCKET] if earlier < row}
            rows.append(row)
    return pairs


def matched(keys: NDArray[np.uint64], size: int) -> list[tuple[int, int]]:
    buckets, found = Buckets(), []
    for base in range(0, len(keys), size):
        new, old = buckets.match(keys[base : base + size], base)
        found += list(zip(new.tolist(), old.tolist(), strict=True))
    return found


@pytest.mark.parametrize("size", [37, 1000, 12_000])
@pytest.mark.parametrize("unlike", [40, 20_000])
def test_rows_meet_the_first_rows_of_their_buckets_whatever_the_batch_size(size, unlike):
    keys = keys_of(12_000 if unlike > 1000 else 1500, unlike)
    found = matched(keys, size)
    assert found == sorted(by_hand(keys))


def test_marks_grow_with_what_is_held_and_forget_nothing():
    buckets, keys = Buckets(), keys_of(20_000, 1 << 20)
    small = len(buckets._marks)
    for base in range(0, len(keys), 1000):
        buckets.match(keys[base : base + 1000], base)
    assert len(buckets._marks) > small
    new, old = buckets.match(keys, len(keys))
    assert set(range(len(keys))) - set(range(0, len(keys), 40)) <= set(
        (new[new - len(keys) == old] - len(keys)).tolist()
    )


def test_a_batch_without_keys_finds_nothing_and_leaves_nothing():
    buckets = Buckets()
    for _ in range(2):
        new, old = buckets.match(np.zeros((3, BANDS), dtype=np.uint64), 0)
        assert not len(new) and not len(old)
    new, _ = buckets.match(np.zeros((0, BANDS), dtype=np.uint64), 6)
    assert not len(new)
