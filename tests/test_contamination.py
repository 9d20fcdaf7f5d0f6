from __future__ import annotations

import random

import polars as pl
import pytest

from filters.contamination import Contamination
from filters.fold import fold
from filters.similarity import similarity
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
    assert out.select(list(Contamination.scores)).row(0) == (None,) * 7


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


SHORT = "孕妇能吃螃蟹吗谢谢医生"
CHANGED = "an exam question with some characters changed"


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("孕妇能吃虾蟹吗谢谢医生", CHANGED),
        ("孕妇能不能吃螃蟹吗谢医生", CHANGED),
        ("孕妇能吃西瓜么谢谢大夫", None),
        ("想问一下各位：孕妇到底能吃虾蟹吗？提前谢谢各位医生了", None),
    ],
)
def test_a_short_question_with_one_character_changed_is_found_as_a_whole(prompt, reason):
    context = context_of(exam=[("头疼怎么缓解比较好呢", "休息。"), (SHORT, None)])
    out = scored(Contamination(), rows(context, (None, prompt, None)), context)
    assert out["reason"].to_list() == [reason]
    if reason:
        assert out["contamination_of"].to_list() == ["e1"] and out["contamination_text"].to_list() == [prompt]
        assert out["contamination_question"][0] < 0.5


def test_every_reworded_question_of_enough_likeness_is_found_and_its_likeness_is_exact():
    chance = random.Random(3)
    questions = [question for question, _ in sample() if len(question) > 12]
    letters = "".join(questions)
    edited = []
    for question in questions * 6:
        text = list(question)
        for _ in range(chance.randrange(1, 5)):
            text[chance.randrange(len(text))] = chance.choice(letters)
        edited.append("".join(text))
    context = context_of(exam=[(question, None) for question in questions])
    out = scored(Contamination(), rows(context, *((None, text, None) for text in edited)), context)
    keys, known = fold(pl.Series(edited)), fold(pl.Series(questions))
    nearest = [similarity(pl.Series([key] * len(known)), known).max() for key in keys]
    found = out["contamination_reworded"].to_list()
    assert 50 < sum(alike < 0.7 for alike in nearest) < len(nearest) - 50
    assert all(alike == told for alike, told in zip(nearest, found, strict=True) if alike >= 0.7)
    assert all(told < 0.7 for alike, told in zip(nearest, found, strict=True) if alike < 0.7)


def test_traditional_characters_and_other_punctuation_change_nothing():
    context = context_of(exam=[("糖尿病人能吃荔枝吗？会不会升血糖", "可以少吃，注意监测血糖变化。")])
    frame = rows(context, (None, "【糖尿病人能吃荔枝嗎】會不會……升血糖", None))
    out = scored(Contamination(), frame, context)
    assert out["reason"].to_list() == [ASKED] and out["contamination_question"][0] == 1.0


def test_what_is_told_is_the_rows_own_text_as_it_stands_there():
    context = context_of(exam=[(QUESTION, ANSWER)])
    piece = "孩子能吃能玩、尿量正常——可以在家觀察，適當補水；體溫"
    said = "先说结论。" + piece + "到了再说别的"
    out = scored(Contamination(), rows(context, (None, OTHER, said)), context)
    assert out["contamination_text"].to_list() == [piece] and out["contamination_of"].to_list() == ["e0"]


def test_nothing_is_told_of_a_row_that_shares_little():
    context = context_of(exam=[(QUESTION, ANSWER)])
    out = scored(Contamination(), rows(context, (None, OTHER, "您先看精神状态：孩子能吃就行。")), context)
    assert 0 < out["contamination_span"][0] < 15 and out["contamination_text"].to_list() == [None]


def test_the_strongest_match_does_not_depend_on_the_thresholds():
    context = context_of(exam=[(QUESTION, None), (OTHER, ANSWER)])
    frame = rows(context, (None, QUESTION, ANSWER), (None, QUESTION[:20], ANSWER[30:70]), (None, SHORT, ANSWER[:20]))
    strict, lax = Contamination(), Contamination(question=1.0, answer=0.9, span=400, reworded=1.0, similarity=1.0)
    assert strict.score(frame, context).equals(lax.score(frame, context))


def test_without_an_embedder_nothing_is_compared_by_meaning():
    context = context_of(exam=[(QUESTION, ANSWER)])
    out = scored(Contamination(), rows(context, (None, QUESTION, ANSWER)), context)
    assert out["contamination_similarity"].to_list() == [None]


def test_with_an_embedder_a_question_in_other_words_is_found_and_named():
    asked = "宝宝晚上总是睡不踏实，翻来覆去地哭闹怎么办"
    said = "宝宝夜里老是睡不踏实，翻来翻去哭闹该如何是好"
    context = context_of(exam=[(QUESTION, ANSWER), (asked, None)])
    frame = rows(context, (None, OTHER, None), (None, said, None), (None, "", None))
    assert reasons(Contamination(), frame, context) == [None, None, None]
    again = context_of(exam=[(QUESTION, ANSWER), (asked, None)])
    out = scored(Contamination(embedder="ngrams", similarity=0.4), frame, again)
    assert out["reason"].to_list() == [None, "an exam question in other words", None]
    assert out["contamination_of"][1] == "e1" and out["contamination_text"][1] == said
    assert 0.4 < out["contamination_similarity"][1] < 0.7 and out["contamination_similarity"][2] is None


def test_what_an_embedder_finds_does_not_depend_on_batch_sizes():
    texts = sample()
    whole, parts = context_of(exam=texts[:40]), context_of(exam=texts[:40])
    frame, each = rows(whole, *((None, *row) for row in texts[20:])), Contamination(embedder="ngrams")
    cut = [scored(each, frame[at : at + 7], parts) for at in range(0, frame.height, 7)]
    assert pl.concat(cut).equals(scored(each, frame, whole))


def test_rows_in_one_form_of_words_are_no_rewordings_of_each_other():
    def asked(what):
        return f"请判断下面这句话说的是好心情还是坏心情，只回答一个词：{what}"

    texts = ("今天真开心", "雨下了三天", "他又迟到了", "终于放假了", "饭菜凉透了")
    pair = [(asked(each), None) for each in texts[:2]]
    other = rows(context_of(), (None, asked(texts[2]), None))
    alone = scored(Contamination(question=1.0), other, context_of(exam=pair[:1]))
    assert alone["reason"].to_list() == ["an exam question with some characters changed"]
    with_seeds = context_of([(asked(each), None) for each in texts[3:]], exam=pair[:1])
    for context in (context_of(exam=pair), with_seeds):
        assert scored(Contamination(question=1.0), other, context)["reason"].to_list() == [None]
