from __future__ import annotations

import pytest

from filters.facts import Facts
from filters.quantities import negations, quantities
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

LOST = "a number or unit of the parent is lost"
ADDED = "a number its parent does not have"
NO_LONGER = "a negation of the parent is lost"
NOW_NOT = "a negation its parent does not have"


def stated(text: str) -> list[str]:
    return [str(each) for each in quantities(text) if each.firm]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("半小时", "30分钟"),
        ("半个小时", "half an hour"),
        ("一个半小时", "90 minutes"),
        ("两周", "14天"),
        ("三个月", "3个月"),
        ("半年", "六个月"),
        ("三年半", "3.5年"),
        ("38.5℃", "38.5度"),
        ("38.5°C", "３８．５摄氏度"),
        ("500毫克", "0.5 g"),
        ("2斤", "1公斤"),
        ("一天两次", "每天2次"),
        ("每周锻炼三次", "3 times a week"),
        ("twice daily", "一日两次"),
        ("三十五岁", "35 years old"),
        ("两三天", "2-3天"),
        ("百分之三十", "30%"),
        ("二点五毫克", "2.5mg"),
        ("一百五十步", "150步"),
        ("四万元", "4万块"),
        ("二〇二三年", "2023年"),
        ("胆囊息肉6mm", "胆囊息肉0.6厘米"),
    ],
)
def test_two_ways_of_writing_one_quantity_are_equal(left, right):
    assert stated(left) == stated(right) != []


@pytest.mark.parametrize(
    "text",
    [
        "看一下",
        "一直不好",
        "一些",
        "十分难受",
        "万一",
        "有一点疼",
        "第一次",
        "七上八下",
        "三高人群",
        "千万别",
        "二甲双胍",
        "这两天",
    ],
)
def test_numerals_of_speech_are_not_facts(text):
    assert stated(text) == []


@pytest.mark.parametrize(
    "text", ["不能吃", "没有发烧", "未见异常", "别喝酒", "无法入睡", "I can’t sleep", "no fever", "never smoked"]
)
def test_negations_that_state_something_count(text):
    assert negations(text)[0] == 1


@pytest.mark.parametrize(
    "text",
    [
        "能不能吃",
        "有没有事",
        "是不是",
        "要不要",
        "可不可以",
        "好不好",
        "不错",
        "不好意思",
        "不仅疼",
        "不过",
        "差不多",
        "不舒服",
        "睡不着",
        "特别疼",
        "别人",
        "吃药了没有？",
        "not only that",
        "is it safe or not",
    ],
)
def test_questions_and_words_with_a_negation_in_them_do_not(text):
    assert negations(text) == (0, 0)


@pytest.mark.parametrize(
    ("parent", "child", "reason"),
    [
        ("孩子发烧38.5度要吃退烧药吗", "宝宝体温到了38.5℃，需不需要喂退热药", None),
        ("孩子发烧38.5度要吃退烧药吗", "宝宝体温到了38度，需不需要喂退热药", LOST),
        ("感冒后干咳两周还没好，正常吗", "感冒以后干咳14天了还不见好，正常么", None),
        ("感冒后干咳两周还没好，正常吗", "感冒以后一直干咳，还不见好，正常么", LOST),
        ("布洛芬400mg一天两次能吃几天", "每天吃2次布洛芬、每次400毫克，可以吃多久", None),
        ("布洛芬400mg一天两次能吃几天", "布洛芬400mg一天三次能吃多久", LOST),
        ("布洛芬400mg一天两次能吃几天", "布洛芬400mg一周两次能吃多久", LOST),
        ("布洛芬400mg能吃几天", "布洛芬400克能吃多久", LOST),
        ("缺维生素B12怎么补", "缺维生素B6怎么补", LOST),
        ("血压150/95mmHg要马上吃药吗", "高压150低压95，需要立刻吃药吗", None),
        ("我妈总怀疑自己得了癌", "我妈70岁，总怀疑自己得了癌", ADDED),
        ("吃了头孢不能喝酒吗", "吃了头孢能喝酒吗", NO_LONGER),
        ("没有发烧，嗓子疼", "发烧，嗓子疼", NO_LONGER),
        ("高血压能喝酒吗", "高血压不能喝酒吗", NOW_NOT),
        ("高血压能不能喝酒", "高血压可以喝酒吗", None),
        ("空腹血糖高算糖尿病吗", "没吃饭测的血糖高，是得糖尿病了吗", None),
        ("I take metformin 500 mg twice a day", "I'm on 500mg metformin, 2 times a day", None),
        ("I take metformin 500 mg twice a day", "I'm on metformin 850 mg twice a day", LOST),
        ("dry cough for three weeks, no fever", "a 3-week dry cough with fever", NO_LONGER),
    ],
)
def test_facts_of_a_question_survive_its_rewriting(parent, child, reason):
    context = context_of([(parent, None)])
    assert reasons(Facts(), rows(context, ("s0", child, None)), context) == [reason]


def test_a_generator_that_adds_facts_may_add_but_not_lose():
    context = context_of([("血糖6.8要吃药吗", None)], adds_facts=frozenset({"persona"}))
    texts = ("s0", "我今年52岁，不能运动，血糖6.8要吃药吗", None), ("s0", "我今年52岁，要吃药吗", None)
    assert reasons(Facts(), rows(context, *texts, generator="persona"), context) == [None, LOST]
    assert reasons(Facts(), rows(context, *texts), context) == [ADDED, LOST]


def test_a_changed_response_alone_is_not_looked_at():
    context = context_of([("能吃几天", "3天。")])
    out = scored(Facts(), rows(context, ("s0", "能吃几天", "5天。"), (None, "吃3天", None)), context)
    assert out["facts_lost"].to_list() == [None, None] and out["reason"].to_list() == [None, None]


def test_responses_are_looked_at_when_asked():
    context = context_of([("能吃几天", "3天。")])
    assert reasons(Facts(fields=("response",)), rows(context, ("s0", "能吃几天", "5天。")), context) == [LOST]


def test_what_was_lost_and_added_is_named():
    context = context_of([("发烧38.5度三天了", None)])
    out = scored(Facts(), rows(context, ("s0", "发烧39度，三天了", None)), context)
    assert (out["facts_lost"][0], out["facts_added"][0]) == ("38.5度", "39度")


@pytest.mark.parametrize("text", ["9" * 100_000, "一" * 100_000, "亿" * 100_000, "每天" * 30_000, "𠀀\u0301", "點"])
def test_any_text_is_read_without_error(text):
    assert isinstance(quantities(text), tuple) and negations(text) == (0, 0)


@pytest.mark.parametrize("texts", [sample, chbench])
def test_a_polite_prefix_loses_and_adds_nothing(texts):
    context = context_of(texts())
    frame = rows(context, *((f"s{at}", "您好，" + question, answer) for at, (question, answer) in enumerate(texts())))
    assert set(reasons(Facts(), frame, context)) == {None}


def test_negations_are_not_looked_at_when_told_not_to():
    context = context_of([("吃了头孢不能喝酒吗", None)])
    frame = rows(context, ("s0", "吃了头孢能喝酒吗", None))
    assert reasons(Facts(check_negations=False), frame, context) == [None]
