from __future__ import annotations

import random

import polars as pl
import pytest

from filters.code_points import CodePoints
from filters.near_dup import NearDup, dense
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

QUESTION = "感冒后干咳两周还没好，晚上躺下咳得更厉害，正常吗"
NEAR = "nearly the text of an earlier row"


def test_a_question_with_only_a_particle_added_is_dropped_and_names_its_seed():
    context = context_of([(QUESTION, None)])
    out = scored(NearDup(), rows(context, ("s0", QUESTION + "呢", None)), context)
    assert out["near_dup_of"].to_list() == ["s0"] and out["reason"].to_list() == [NEAR]
    assert 0.9 < out["near_dup_jaccard"][0] < 1


def test_a_fluent_edit_of_a_short_question_passes():
    context = context_of([(QUESTION, None)])
    edits = ("感冒后干咳半个月还不好，夜里躺下咳得更凶，正常吗", "感冒以后一直干咳，两周了没好，晚上更严重，要紧吗")
    assert reasons(NearDup(), rows(context, *(("s0", each, None) for each in edits)), context) == [None, None]


def test_one_replaced_word_in_a_short_question_passes():
    context = context_of([("饭后总反酸烧心怎么办", None)])
    assert reasons(NearDup(), rows(context, ("s0", "饭后老反酸烧心怎么办", None)), context) == [None]


def test_a_row_near_a_kept_variant_of_another_batch_is_dropped():
    context = context_of([("失眠怎么办", None)])
    frame = rows(context, ("s0", QUESTION, None), ("s0", QUESTION + "呀", None))
    each = NearDup()
    assert reasons(each, frame[:1], context) + reasons(each, frame[1:], context) == [None, NEAR]


def test_changed_prompts_go_against_prompts_only():
    context = context_of([("失眠怎么办", QUESTION)])
    assert reasons(NearDup(), rows(context, ("s0", QUESTION, QUESTION)), context) == [None]


@pytest.mark.parametrize("size", [1, 13])
def test_scores_do_not_depend_on_batch_sizes(size):
    chance = random.Random(0)
    texts = []
    for question, _ in sample():
        for _ in range(3):
            letters = list(question)
            for _ in range(chance.randrange(4)):
                letters[chance.randrange(len(letters))] = chance.choice("的了吗呢abc")
            texts.append((None, "".join(letters), None))
    whole, parts = context_of(sample()[:20]), context_of(sample()[:20])
    frame = rows(whole, *texts)
    each = NearDup()
    cut = [scored(each, frame[at : at + size], parts) for at in range(0, len(texts), size)]
    assert pl.concat(cut).equals(scored(each, frame, whole))


def test_a_seed_scored_as_a_row_is_not_its_own_duplicate():
    context = context_of([(QUESTION, None)])
    frame = rows(context, (None, QUESTION, None)).with_columns(pl.lit("s0").alias("id"))
    assert reasons(NearDup(), frame, context) == [None]


def test_an_empty_frame_keeps_the_declared_types():
    context = context_of([(QUESTION, None)])
    assert scored(NearDup(), rows(context), context).height == 0


def test_no_two_sample_rows_are_near_duplicates():
    context = context_of()
    assert set(reasons(NearDup(), rows(context, *((None, *each) for each in sample())), context)) == {None}


def test_no_two_chbench_rows_are_near_duplicates():
    context = context_of()
    assert set(reasons(NearDup(), rows(context, *((None, *each) for each in chbench())), context)) == {None}


def test_a_dropped_row_does_not_stand_in_the_way_of_a_later_one():
    seed = "".join(chr(0x4E00 + i) for i in range(51))
    near = seed + "请问医生这要紧吗"
    further = near + "我最近比较担心想听听您的看法"
    context = context_of([(seed, None)])
    assert reasons(NearDup(), rows(context, ("s0", near, None), ("s0", further, None)), context) == [NEAR, None]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [("both", [NEAR] * 3), ("within", [NEAR, None, NEAR]), ("across", [None, NEAR, NEAR])],
)
def test_groups_say_whether_a_seeds_own_variants_or_other_seeds_rows_count(groups, expected):
    context = context_of([(QUESTION, None), ("失眠怎么办", None)])
    frame = rows(context, *((seed, QUESTION + end, None) for seed, end in (("s0", "呢"), ("s1", "呀"), ("s1", "啊"))))
    assert reasons(NearDup(groups=groups), frame, context) == expected


@pytest.mark.parametrize("groups", ["both", "within", "across"])
@pytest.mark.parametrize("size", [1, 17])
def test_groups_are_kept_apart_whatever_the_batch_size(groups, size):
    chance = random.Random(1)
    seeds, texts = sample()[:12], []
    for _ in range(200):
        letters = list(seeds[chance.randrange(12)][0])
        for _ in range(chance.randrange(3)):
            letters[chance.randrange(len(letters))] = chance.choice("的了吗呢")
        texts.append((f"s{chance.randrange(12)}", "".join(letters), None))
    whole, parts = context_of(seeds), context_of(seeds)
    frame, each = rows(whole, *texts), NearDup(groups=groups)
    expected = scored(each, frame, whole)
    cut = [scored(each, frame[at : at + size], parts) for at in range(0, frame.height, size)]
    assert pl.concat(cut).equals(expected)
    parents = dict(zip(frame["id"], (seed for seed, *_ in texts), strict=True))
    same = {
        parents.get(of, of) == parents[row]
        for row, of, why in expected.select("id", "near_dup_of", "reason").iter_rows()
        if why
    }
    assert same == {"both": {True, False}, "within": {True}, "across": {False}}[groups]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("感冒了吃aspirin", True),
        ("感冒abcdefg", True),
        ("感冒abcdefgh", False),
        ("take aspirin 感冒", False),
        ("кашель", False),
        ("ไข้หวัด", False),
        ("𠮷野家", True),
    ],
)
def test_a_text_is_dense_when_most_of_it_is_chinese_japanese_or_korean(text, expected):
    assert dense(CodePoints.of(pl.Series([text, "", "かぜ", "감기"]))).tolist() == [expected, False, True, True]


def test_boilerplate_of_other_seeds_does_not_crowd_out_a_seeds_own_variants():
    context = context_of([(QUESTION + end, None) for end in "甲乙丙丁戊己庚辛壬癸" * 9])
    assert reasons(NearDup(groups="within"), rows(context, ("s89", QUESTION + "呢", None)), context) == [NEAR]
