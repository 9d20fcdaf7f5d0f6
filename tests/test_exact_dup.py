from __future__ import annotations

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
