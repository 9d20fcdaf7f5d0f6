from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augment.balance import balanced, labelled, levelled
from augment.errors import RecipeError
from augment.quota import Quota
from tests.labelled import source
from tests.test_pipeline import curated, plan_of, run
from tests.test_prompts import LABELS_ZH


def quota(target: list[int], cap: int, shared: bool = False) -> Quota:
    return Quota(
        pl.Series([f"s{i}" for i in range(len(target))]),
        np.array(target),
        np.full(len(target), cap),
        np.zeros(len(target), dtype=np.int64) if shared else None,
    )


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


@pytest.mark.parametrize(
    ("have", "total", "gets"),
    [
        ([1, 3], 10, [6, 4]),
        ([10, 2, 2], 5, [0, 3, 2]),
        ([5, 5, 5], 7, [3, 2, 2]),
        ([4, 1, 9], 2, [0, 2, 0]),
        ([4, 1, 9], 3, [0, 3, 0]),
        ([4, 1, 9], 14, [6, 8, 0]),
        ([7], 3, [3]),
    ],
)
def test_a_total_goes_to_the_labels_with_fewest_rows(have, total, gets):
    assert levelled(np.array(have), total).tolist() == gets


@pytest.mark.parametrize("total", [1, 5, 60, 61, 500])
def test_levels_differ_by_one_at_most_where_anything_was_given(total):
    have = np.array([3, 40, 11, 11, 1, 27])
    gets = levelled(have, total)
    raised = (have + gets)[gets > 0]
    assert gets.sum() == total and gets.min() >= 0
    assert raised.max() - raised.min() <= 1
    assert (have[gets == 0] >= raised.max() - 1).all()


def balanced_quota(labels: list[str | None], total: int, attempts: float = 2) -> Quota:
    names, groups = labelled(pl.Series(labels, dtype=pl.String))
    share, cap = balanced(groups, len(names), total, attempts)
    return Quota(pl.Series([f"s{at}" for at in range(len(labels))]), share, cap, groups, labels=names)


def test_within_a_label_shares_are_even_and_a_row_without_one_gets_none():
    each = balanced_quota(["乙", "甲", "甲", None, "甲"], 10)
    assert each.share.tolist() == [6, 2, 1, 0, 1]
    assert each.cap.tolist() == [12, 4, 4, 0, 4]


def test_what_a_seed_cannot_give_is_passed_on_within_its_label():
    each = balanced_quota(["甲", "甲", "乙", "乙"], 4, attempts=2)
    asks(each)
    each.add(outcome((1, 1), (2, 1), (3, 1)))
    assert asks(each, 1) == [(0, 1, 1)]
    assert asks(each, 2) == [(1, 1, 1)]
    each.add(outcome((1, 1)))
    assert asks(each, 3) == []
    assert each.short().is_empty()
    assert each.balance() == [
        {"label": "乙", "seeds": 2, "target": 2, "kept": 2},
        {"label": "甲", "seeds": 2, "target": 2, "kept": 2},
    ]


def test_a_label_that_runs_dry_is_short_however_well_others_do():
    each = balanced_quota(["甲", "乙"], 4, attempts=1)
    asks(each)
    each.add(outcome((1, 2)))
    assert asks(each, 1) == []
    assert each.short().rows() == [("s0", 2, 0, 2)]


def test_a_run_comes_out_with_as_many_rows_of_each_label(place):
    rows = [*LABELS_ZH[:1], *LABELS_ZH[3:4], *LABELS_ZH[7:], LABELS_ZH[1], ("没有标签的一条", "")]
    done = run(source=source(place, rows), generators="paraphrase", n="2x", balance="label")
    counts = done.summary.counts
    assert curated(done)["label"].drop_nulls().value_counts(sort=True)["count"].to_list() == [7, 7]
    assert counts["target"] == counts["kept"] == 10
    assert [each["kept"] for each in counts["balance"]] == [6, 4]
    assert "心内科 7, 消化内科 7" in (done.path / "README.md").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"rows": [("胸闷", ""), ("反酸", "")]}, "fewer than two labels"),
        ({"generators": "mix"}, "changes labels"),
        ({"generators": "paraphrase+counterfactual"}, "changes labels"),
        ({"incremental": True}, "--incremental"),
        ({"balance": "topic"}, "balance: input should be 'label'"),
    ],
)
def test_what_cannot_be_balanced_is_refused_in_one_line(place, flags, message):
    flags = {"balance": "label", "generators": "paraphrase", **flags}
    name = source(place, flags.pop("rows", LABELS_ZH))
    with pytest.raises(RecipeError, match=message) as refused:
        plan_of(source=name, **flags)
    assert "\n" not in str(refused.value)


def test_a_recipe_without_balance_is_the_one_that_it_was(place):
    assert "balance" not in plan_of(source=source(place)).recipe.decisive()
