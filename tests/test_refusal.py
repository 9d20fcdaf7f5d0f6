from __future__ import annotations

import random
import unicodedata

import polars as pl
import pytest

from augment.language import SCRIPTS
from filters.fold import fold
from filters.refusal import Refusal
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

QUESTION, ANSWER = "感冒了怎么办？", "多喝水，多休息。"


def why(prompt: str, response: str | None) -> str | None:
    context = context_of([(QUESTION, ANSWER)])
    return reasons(Refusal(), rows(context, ("s0", prompt, response)), context)[0]


@pytest.mark.parametrize(
    "text",
    [
        "作为一个AI语言模型，我无法提供医疗建议。",
        "很抱歉，我无法回答这个问题。",
        "非常抱歉，作为人工智能，我不具备开药的能力。",
        "我是一个人工智能助手，不能代替医生给出诊断。",
        "我无法回答这个问题。",
        "抱歉，我帮不了您。",
        "非常抱歉，我无法判断您得的是什么病。",
        "这个问题暂时没有办法为您解答哦。",
        "对此类传言，我不予置评。",
        "Giving doses goes against my safety guidelines.",
        "I understand, but I won't be able to help with this one.",
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot assist with this request.",
        "As an AI language model, I cannot diagnose.",
        "Unfortunately, I'm unable to help with that.",
    ],
)
def test_a_refused_answer_is_dropped(text):
    assert why(QUESTION, text) == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "抱歉让您久等了，感冒多喝水。",
        "对不起，让您难受了。感冒多数一周内自己好。",
        "不能吃，头孢遇酒会出现严重反应。",
        "很遗憾听到您失去亲人，请允许自己悲伤。",
        "I'm sorry you're feeling this way. Rest and drink.",
        "As an AI engineer you sit all day; stand up every hour.",
        "AI助手不能代替医生，但感冒通常多休息就行。",
    ],
)
def test_an_apology_or_a_no_is_not_a_refusal(text):
    assert why(QUESTION, text) is None


@pytest.mark.parametrize(
    "question",
    [
        "怎么拒绝别人的要求？",
        "AI看病靠谱吗？",
        "抱歉我没法满足婆婆的要求，怎么办？",
        "作为一个AI工程师，我经常熬夜，怎么办？",
        "问题孩子怎么教育",
        "Sorry to ask, but I can't stop crying. Is it normal?",
    ],
)
def test_questions_about_refusing_or_ai_stay(question):
    assert why(question, ANSWER) is None


@pytest.mark.parametrize(
    "question",
    [
        "改写后的问题：感冒怎么办？",
        "好的，以下是改写：感冒怎么办",
        "问题：感冒怎么办？",
        "版本一：感冒怎么办？版本二：着凉怎么办？",
        "感冒怎么办？（注：已保留原文的意思）",
        "请把下面的提问换一种说法",
        "Sure! Here's a rewritten version: what now?",
        "Paraphrased question: how?",
    ],
)
def test_talk_about_the_rewriting_is_dropped(question):
    assert why(question, ANSWER) == "talks about the rewriting"


@pytest.mark.parametrize("text", ["好的<|im_end|>", "assistant: 多喝水", '{"answer": "多喝水"}', "<think>嗯</think>好"])
def test_tokens_of_a_chat_template_are_dropped(text):
    assert why(QUESTION, text) == "has tokens of a chat template"


@pytest.mark.parametrize("question", ["感冒了好几天，而且", "感冒了，想问", "Can I stop the tablets before I"])
def test_a_question_that_breaks_off_is_cut_off(question):
    assert why(question, ANSWER) == ("cut off" if question != "感冒了，想问" else None)


@pytest.mark.parametrize("text", ["", "……", "\u0301"])
def test_a_text_without_letters_is_empty(text):
    assert why(QUESTION, text) == "empty"


@pytest.mark.parametrize("text", ["感冒了怎么办", "问：感冒了，怎么办？"])
def test_a_response_that_repeats_the_question_is_dropped(text):
    assert why(QUESTION, text) == "repeats the question"


LONG = "多喝水，多休息，注意保暖，同时也要注意以下几点：一是清淡饮食，二是每天保证充足的睡眠"


@pytest.mark.parametrize("end", ["，", "和", "如果出现持续高", "（", ""])
def test_a_response_without_an_end_is_cut_off(end):
    assert why(QUESTION, LONG + end) == "cut off"


@pytest.mark.parametrize("end", ["。", "！”", "。\n\n1. 多喝水\n2. 多休息", "…", "🙂", "。）"])
def test_a_response_with_an_end_is_not(end):
    assert why(QUESTION, LONG + end) is None


def test_cut_off_answers_are_kept_when_asked():
    context = context_of([(QUESTION, ANSWER)])
    frame = rows(context, ("s0", QUESTION, LONG), ("s0", "感冒了好几天，而且", ANSWER))
    assert reasons(Refusal(cut_off=False), frame, context) == [None, None]


def test_the_parents_own_response_is_not_looked_at():
    context = context_of([(QUESTION, LONG)])
    assert reasons(Refusal(), rows(context, ("s0", "着凉了怎么办？", LONG)), context) == [None]


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_is_dropped(texts):
    context = context_of()
    assert set(reasons(Refusal(), rows(context, *((None, *each) for each in texts())), context)) == {None}


@pytest.mark.parametrize(("parent", "dropped"), [("喝完量一下血压。", True), ("少喝咖啡少熬夜保持规律作息", False)])
def test_an_answer_must_end_like_a_sentence_when_its_parents_does(parent, dropped):
    context = context_of([(QUESTION, parent)])
    answer = "每天不超过一杯，如果明显升高就停掉并且告诉医"
    assert reasons(Refusal(), rows(context, ("s0", QUESTION, answer)), context) == ["cut off" if dropped else None]


def plain_echo(prompt: str, response: str) -> bool:
    """Whether an answer is its question folded, with 8 characters more at most, by the definition."""
    asked, said = fold(pl.Series([prompt, response])).to_list()
    return asked in said and len(said) <= len(asked) + 8


def test_echoes_are_what_their_definition_says():
    rng = random.Random(4)
    letters = "感冒了怎么办abÀ×÷é\u0301\u0338ŉǆİſK㎎①？！ \n。、😀𠮷頭髮한ﷺ1"
    texts = []
    for _ in range(2000):
        prompt, more = ("".join(rng.choices(letters, k=rng.choice((0, 1, 4, 12, 30)))) for _ in range(2))
        texts.append((None, prompt, rng.choice((more, prompt, prompt + more, more[:5] + prompt, prompt * 2))))
    out = scored(Refusal(), rows(context := context_of(), *texts), context)
    for (_, prompt, said), found in zip(texts, out["refusal_response"], strict=True):
        wordless = not any(unicodedata.category(char)[0] in "LN" for char in said)
        assert found == ("empty" if wordless else "echo" if plain_echo(prompt, said) else None), (prompt, said)


@pytest.mark.parametrize("script", ["zh", "en"])
def test_folding_keeps_the_letters_by_which_long_answers_are_no_echoes(script):
    letters = SCRIPTS[script].findall("".join(chr(code) for code in range(0x32400) if not 0xD800 <= code < 0xE000))
    for text in ("{0}", "{0}{0}", "{0}\u0301", "a{0}\u0338", "感{0} {0}"):
        folded = fold(pl.Series([text.format(each) for each in letters]))
        others = len(SCRIPTS[script].findall(text))
        assert folded.str.len_chars().min() >= text.count("{0}") + others
