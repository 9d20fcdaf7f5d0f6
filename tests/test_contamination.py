from __future__ import annotations

import random

import polars as pl
import pytest

from filters.contamination import Contamination
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

QUESTION = "我家孩子三岁半，晚上突然烧到三十九度，要不要马上去医院挂急诊？"
ANSWER = (
    "先看精神状态：孩子能吃能玩、尿量正常，可以在家观察，适当补水，体温超过三十八度五并且难受时再用退烧药。"
    "如果出现抽搐、嗜睡、呼吸急促或者皮肤发花，请立即送医，不要等待，路上保持侧卧。"
)
ASKED, SAID = "contains an exam question", "contains part of an exam answer"
OTHER = "长期久坐以后腰背酸痛，有没有简单的拉伸动作可以在办公室里做？"


@pytest.mark.parametrize(
    ("prompt", "response", "reason"),
    [
        (QUESTION, None, ASKED),
        ("请问医生，" + QUESTION.replace("，", " "), None, ASKED),
        (OTHER, "您问的是：" + QUESTION + "下面逐条说明。", ASKED),
        (QUESTION[8:28], None, ASKED),
        (OTHER, ANSWER, SAID),
        (OTHER, "开头说一句别的。" + ANSWER[10:45] + "结尾也换成别的话。", SAID),
        (ANSWER, None, SAID),
        (OTHER, "久坐每小时起来走两分钟，做几次猫式伸展，疼得厉害去康复科。", None),
        ("我家孩子三岁半，晚上总踢被子，怎么办？", None, None),
        (OTHER, "不要等待，请立即送医。", None),
    ],
)
def test_what_shares_much_with_the_exam_is_dropped(prompt, response, reason):
    context = context_of(exam=[("头疼怎么缓解比较好呢", "休息。"), (QUESTION, ANSWER)])
    assert reasons(Contamination(), rows(context, (None, prompt, response)), context) == [reason]


def test_the_exam_row_is_named():
    context = context_of(exam=[("头疼怎么缓解比较好呢", "休息。"), (QUESTION, ANSWER)])
    out = scored(Contamination(), rows(context, (None, OTHER, ANSWER), (None, OTHER, None)), context)
    assert out["contamination_of"].to_list() == ["e1", None]
    assert out["contamination_answer"].to_list() == [1.0, 0.0]


def test_a_short_exam_question_counts_only_as_a_whole():
    context = context_of(exam=[("失眠怎么办", None)])
    frame = rows(context, (None, "失眠，怎么办？", None), (None, "失眠怎么办比较好", None))
    assert reasons(Contamination(), frame, context) == [ASKED, None]


def test_the_span_is_the_longest_common_piece_in_chinese_characters():
    context = context_of(exam=[(QUESTION, ANSWER)])
    piece = "孩子能吃能玩尿量正常可以在家观察"
    out = scored(Contamination(), rows(context, (None, OTHER, "甲" + piece + "乙")), context)
    assert out["contamination_span"].to_list() == [len(piece)]


def test_four_letters_of_a_span_count_as_one_character():
    answer = "call your local emergency number or go to the nearest emergency department right away. " + "x y z " * 60
    context = context_of(exam=[("What should I do about sudden chest pain?", answer)])
    out = scored(Contamination(), rows(context, (None, OTHER, "First " + answer[:86] + "Then rest.")), context)
    assert 15 < out["contamination_span"][0] < 30 and out["reason"].to_list() == [None]


def test_without_an_exam_every_score_is_null():
    context = context_of()
    out = scored(Contamination(), rows(context, (None, QUESTION, ANSWER)), context)
    assert out.select(list(Contamination.scores)).row(0) == (None, None, None, None)


def test_an_empty_frame_keeps_the_declared_types():
    context = context_of(exam=[(QUESTION, ANSWER)])
    assert scored(Contamination(), rows(context), context).height == 0


def test_boilerplate_of_the_exam_identifies_no_row():
    texts = [f"{chr(0x4E00 + at) * 12}以上内容仅供参考如有不适请及时就医祝您早日康复" for at in range(100)]
    context = context_of(exam=[(f"问题{at}" * 4, text) for at, text in enumerate(texts)])
    frame = rows(context, (None, OTHER, "多拉伸。" + texts[0][12:]))
    assert reasons(Contamination(), frame, context) == [None]


def test_scores_do_not_depend_on_batch_sizes():
    texts = sample()
    whole, parts = context_of(exam=texts[:40]), context_of(exam=texts[:40])
    frame = rows(whole, *((None, *each) for each in texts[20:]))
    cut = [scored(Contamination(), frame[at : at + 7], parts) for at in range(0, frame.height, 7)]
    assert pl.concat(cut).equals(scored(Contamination(), frame, whole))


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_is_taken_for_another_of_the_exam(texts):
    shuffled = texts()
    random.Random(0).shuffle(shuffled)
    fifth = len(shuffled) // 5
    context = context_of(exam=shuffled[:fifth])
    assert set(reasons(Contamination(), rows(context, *((None, *each) for each in shuffled[fifth:])), context)) == {
        None
    }


@pytest.mark.parametrize("texts", [sample, chbench])
def test_every_verbatim_leak_is_found(texts):
    context = context_of(exam=texts())
    prompts = rows(context, *((None, question, None) for question, _ in texts()))
    answers = rows(context, *((None, OTHER, answer) for _, answer in texts()))
    assert set(reasons(Contamination(), prompts, context)) == {ASKED}
    assert None not in reasons(Contamination(), answers, context)


def unlike_letters(count: int) -> str:
    """Text in which no letter comes twice."""
    return "".join(chr(0x4E00 + i) for i in range(count))


def test_an_exam_answer_taken_over_in_pieces_is_found():
    answer = unlike_letters(200)
    pieces = "，另外，".join(answer[at : at + 25] + chr(0x7000 + at) for at in range(0, 200, 40))
    context = context_of(exam=[(QUESTION, answer)])
    assert reasons(Contamination(), rows(context, (None, OTHER, pieces)), context) == [SAID]


def test_one_long_piece_of_a_longer_exam_answer_is_found():
    answer = unlike_letters(400)
    context = context_of(exam=[(QUESTION, answer)])
    assert reasons(Contamination(), rows(context, (None, OTHER, "好" + answer[50:85])), context) == [SAID]
