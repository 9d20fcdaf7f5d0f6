from __future__ import annotations

import random

import polars as pl
import pytest

from filters.exact_dup import ExactDup
from tests.filter_rows import context_of, reasons, rows, scored

SEEDS = [("感冒了怎么办？", "多喝水，多休息。"), ("失眠怎么办？", "规律作息。")]


def test_a_row_that_changed_nothing_is_a_copy_of_its_parent():
    context = context_of(SEEDS)
    assert reasons(ExactDup(), rows(context, ("s0", *SEEDS[0])), context) == ["copy of its parent"]


def test_a_prompt_that_another_seed_has_is_dropped_and_names_it():
    context = context_of(SEEDS)
    out = scored(ExactDup(), rows(context, ("s0", "失眠，怎麼辦", "多喝水，多休息。")), context)
    assert out["exact_dup_of"].to_list() == ["s1"] and out["reason"].to_list() == ["same text as an earlier row"]


def test_the_second_of_two_equal_variants_is_dropped_across_batches():
    context = context_of(SEEDS)
    each = ExactDup()
    frame = rows(context, ("s0", "感冒了该咋办", "多喝水，多休息。"), ("s0", "感冒了，该咋办？", "多喝水，多休息。"))
    assert reasons(each, frame[:1], context) + reasons(each, frame[1:], context) == [
        None,
        "same text as an earlier row",
    ]


def test_the_parents_unchanged_response_does_not_count_as_a_duplicate():
    context = context_of(SEEDS)
    frame = rows(context, ("s0", "感冒该咋办", SEEDS[0][1]), ("s0", "着凉了怎么办", SEEDS[0][1]))
    assert reasons(ExactDup(), frame, context) == [None, None]


def test_an_empty_frame_keeps_the_declared_types():
    context = context_of(SEEDS)
    assert scored(ExactDup(), rows(context), context).height == 0


TWIN = "same text as an earlier row"
TAKEN = ("感冒了该咋办", None)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [("both", [None, TWIN, TWIN, TWIN]), ("within", [None, TWIN, None, TWIN]), ("across", [None, None, TWIN, TWIN])],
)
def test_groups_say_whether_a_seeds_own_variants_or_other_seeds_rows_count(groups, expected):
    context = context_of([("感冒了怎么办？", None), ("失眠怎么办？", None)])
    frame = rows(context, ("s0", *TAKEN), ("s0", *TAKEN), ("s1", *TAKEN), ("s1", *TAKEN))
    assert reasons(ExactDup(groups), frame, context) == expected


@pytest.mark.parametrize(("groups", "expected"), [("both", TWIN), ("within", None), ("across", TWIN)])
def test_a_seed_belongs_to_the_group_of_its_variants(groups, expected):
    context = context_of([*SEEDS, ("失眠怎么办？", "找医生看看。")])
    own = rows(context, ("s1", "失眠怎么办", "另一个回答，还没有人给过。"))
    of_another = rows(context, ("s0", "失眠，怎么办", SEEDS[0][1]))
    assert reasons(ExactDup(groups), of_another, context) == [expected]
    assert reasons(ExactDup(groups), own, context) == [None]


def test_two_seeds_with_one_text_stand_in_the_way_of_each_others_variants_only():
    twins = [("失眠怎么办？", "规律作息。"), ("失眠，怎么办", "找医生看看。")]
    for seed in ("s0", "s1"):
        context = context_of(twins)
        other = rows(context, (seed, "失眠怎么办!", twins[int(seed[1])][1]))
        out = scored(ExactDup("across"), other, context)
        assert out["exact_dup_of"].to_list() == ["s1" if seed == "s0" else "s0"]


@pytest.mark.parametrize("groups", ["both", "within", "across"])
@pytest.mark.parametrize("size", [1, 7])
def test_what_is_found_does_not_depend_on_batch_sizes(groups, size):
    chance = random.Random(0)
    seeds = [(f"问题{chance.randrange(40)}", "答") for _ in range(30)]
    texts = [(f"s{chance.randrange(30)}", f"问题{chance.randrange(60)}", "答") for _ in range(400)]
    whole, parts = context_of(seeds), context_of(seeds)
    frame, each = rows(whole, *texts), ExactDup(groups)
    cut = [scored(each, frame[at : at + size], parts) for at in range(0, frame.height, size)]
    expected = scored(each, frame, whole)
    assert pl.concat(cut).equals(expected)
    assert expected["reason"].to_list() == list(brute_force(groups, seeds, texts))


def brute_force(groups, seeds, texts):
    """The verdict on each row, held against every seed and every earlier row that was kept."""
    kept = [(f"s{number}", prompt) for number, (prompt, _) in enumerate(seeds)]
    for seed, prompt, _ in texts:
        if prompt == seeds[int(seed[1:])][0]:
            yield "copy of its parent"
            continue
        same = [of for of, text in kept if text == prompt]
        copy = {"both": bool(same), "within": seed in same, "across": any(of != seed for of in same)}[groups]
        if not copy:
            kept.append((seed, prompt))
        yield TWIN if copy else None


def test_two_rows_of_one_id_are_copies_and_a_seed_that_comes_again_is_none():
    context = context_of([("头疼怎么办", "多休息。")])
    twice = rows(context, (None, "失眠怎么办", "早睡。"), (None, "失眠怎么办", "早睡。"))
    same = twice.with_columns(pl.lit("v0").alias("id"))
    assert scored(ExactDup(), same, context)["exact_dup_of"].to_list() == [None, "v0"]
    seed = rows(context, (None, "头疼怎么办", "多休息。")).with_columns(pl.lit("s0").alias("id"))
    assert scored(ExactDup(), seed, context)["exact_dup_of"].to_list() == [None]
