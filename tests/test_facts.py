from __future__ import annotations

import re
import unicodedata

import pytest

from filters.facts import Facts
from filters.negation import flips
from filters.quantities import _QUANTITY, _REWORDED, _REWORDED_EN, quantities
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

LOST = "a number or unit of the parent is lost"
ADDED = "a number its parent does not have"
NO_LONGER = NOW_NOT = TURNED = "says the opposite of its parent"
DRUG_LOST, DRUG_ADDED = "a drug of the parent is lost", "a drug its parent does not have"


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
    ("text", "names"),
    [
        ("缺维生素B12", ["b12"]),
        ("维生素B6片", ["b6"]),
        ("Covid-19", ["covid19"]),
        ("ALT82", ["alt82"]),
        ("EF45%", ["45%"]),
        ("T39℃", ["39度"]),
        ("INR3.8", ["3.8"]),
        ("500 mg x7 days", ["500mg", "7天"]),
        ("q8h", ["480分钟"]),
    ],
)
def test_letters_and_a_number_are_a_name_unless_a_unit_follows(text, names):
    assert stated(text) == names


@pytest.mark.parametrize(
    ("parent", "child", "reason"),
    [
        ("谷丙转氨酶ALT82，要紧吗", "ALT 82，严重不", None),
        ("T39了要吃药吗", "39度了，需要吃药吗", None),
        ("VB12怎么补", "维生素B12怎样补充", None),
        ("维生素B6片能天天吃吗", "维生素B6可以一直吃吗", None),
        ("维生素D3怎么补", "维生素K3怎么补", LOST),
        ("得过H1N1还会得吗", "得过H5N1还会再得吗", LOST),
    ],
)
def test_a_name_is_the_same_by_its_last_letter_and_number(parent, child, reason):
    context = context_of([(parent, None)])
    assert reasons(Facts(), rows(context, ("s0", child, None)), context) == [reason]


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("不能吃辣的", "能吃辣的"),
        ("没有发烧", "发烧了"),
        ("感冒三天，没发烧", "感冒三天，还发着烧"),
        ("猫打过疫苗，还用打吗", "猫没打过疫苗，还用打吗"),
        ("水泡不要挑破", "水泡可以挑破"),
        ("会传染给家里人", "不会传染给家里人"),
        ("我不抽烟", "我抽烟"),
        ("对青霉素过敏", "对青霉素不过敏"),
        ("早上空腹吃药", "早上不要空腹吃药"),
        ("不要停药、减量", "可以减量"),
        ("I don't smoke and sleep well", "I smoke and sleep well"),
        ("Don't stop the tablets suddenly", "You can stop the tablets suddenly"),
    ],
)
def test_what_is_denied_on_one_side_and_affirmed_on_the_other_is_flipped(parent, child):
    assert flips(parent, child) and flips(child, parent)


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("能不能喝酒", "可以喝酒吗"),
        ("胆囊息肉要手术吗", "胆囊息肉不手术行吗"),
        ("是否需要吃药", "需不需要吃药"),
        ("晚上睡不着", "夜里失眠"),
        ("不舒服好几天了", "难受好几天了"),
        ("空腹血糖高", "没吃饭测的血糖高"),
        ("不仅疼，还肿", "又疼又肿"),
        ("特别疼", "非常疼"),
        ("吃药了没有？", "吃药了吗"),
        ("别人都能喝酒", "大家都能喝酒"),
        ("没有发热、咳嗽", "不发热，也不咳嗽"),
        ("不要自己停药", "自己停药不可取，别停药"),
        ("避免熬夜", "不要熬夜"),
        ("is it safe or not", "is it safe"),
        ("no fever or vomiting", "neither fever nor vomiting"),
        ("I don't feel sad, just flat", "I'm not sad, only flat"),
    ],
)
def test_another_way_to_deny_or_to_ask_is_not_flipped(parent, child):
    assert flips(parent, child) == flips(child, parent) == []


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("一岁半", "18个月"),
        ("一个月", "30天"),
        ("37度8", "37.8"),
        ("24小时", "一天"),
        ("twenty-four hours", "a day"),
        ("30 weeks", "the 30th week"),
        ("a fortnight", "两周"),
        ("一刻钟", "15 minutes"),
        ("晚上10点", "22:00"),
        ("1 a.m.", "one in the morning"),
        ("1米65", "165cm"),
        ("体重60公斤", "体重60"),
        ("1/2片", "半片"),
    ],
)
def test_what_people_say_for_a_quantity_tells_it(left, right):
    context = context_of([(f"这样 {left} 了，怎么办", None)])
    assert reasons(Facts(), rows(context, ("s0", f"已经 {right} ，如何是好", None)), context) == [None]


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
        ("布洛芬吃几天", "芬必得能吃多少天", None),
        ("Can I take Tylenol with wine?", "Is paracetamol safe with wine?", None),
        ("吃了头孢克洛能喝酒吗", "吃了头孢以后能不能喝酒", None),
        ("布洛芬吃几天", "对乙酰氨基酚吃几天", DRUG_LOST),
        ("退烧药吃几天", "布洛芬吃几天", DRUG_ADDED),
        ("我在吃匹伐他汀，能喝酒吗", "我在吃药，能喝酒吗", DRUG_LOST),
        ("左膝盖疼，要手术吗", "右膝盖疼，需要做手术吗", TURNED),
        ("左氧氟沙星一天吃几次", "每天吃几回左氧氟沙星", None),
        ("药要饭前吃吗", "这药要饭后吃吗", TURNED),
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


def test_of_an_answer_only_numbers_that_replace_others_and_opposites_count():
    before = "先用流动清水冲洗15分钟，水泡不要挑破，再去医院；每天换药1次。"
    context = context_of([("烫伤怎么办", before)])
    answers = {
        "用流动清水冲洗15分钟，水泡别挑破，然后去医院。": None,
        "用流动清水冲洗，马上去医院，一般2周左右长好。": None,
        "先用流动清水冲洗5分钟，水泡不要挑破，再去医院。": LOST,
        "先用流动清水冲洗15分钟，水泡可以挑破，再去医院。": TURNED,
    }
    frame = rows(context, *(("s0", "烫伤怎么办", each) for each in answers), (None, "吃3天", "好"))
    assert reasons(Facts(), frame, context) == [*answers.values(), None]
    assert reasons(Facts(fields=("prompt",)), frame, context) == [None] * 5


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("四种药一起吃14天，再复查。", "四种药一起吃4天，再复查。", LOST),
        ("Take both for 14 days. There are 4 kinds.", "Take both for 4 days. There are 4 kinds.", LOST),
        ("血压150，吃14天，再复查。", "高压150mmHg，吃14天，再复查。", None),
        ("4种药一起吃14天。", "四药一起吃14天。", None),
    ],
)
def test_a_count_of_things_tells_no_days(before, after, reason):
    context = context_of([("怎么治", before)])
    assert reasons(Facts(), rows(context, ("s0", "怎么治", after)), context) == [reason]


def test_an_answer_of_one_number_may_not_have_another():
    context = context_of([("能吃几天", "3天。")])
    assert reasons(Facts(), rows(context, ("s0", "能吃几天", "5天。")), context) == [LOST]


def test_what_changed_is_told_in_words():
    context = context_of([("布洛芬2片，胃疼，不能喝酒吗，一天三次", None)])
    out = scored(Facts(), rows(context, ("s0", "吃3片，胃疼，能喝酒吗，一天三次", None)), context)
    assert out["facts_changes"][0] == "2片 → 3片; 不能喝酒 → 能喝酒; 布洛芬 gone"


def test_a_name_is_told_whole():
    context = context_of([("缺维生素B12怎么补", None)])
    assert scored(Facts(), rows(context, ("s0", "缺维生素B6怎么补", None)), context)["facts_changes"][0] == "b12 → b6"


def test_drugs_and_opposites_are_not_looked_at_when_told_not_to():
    context = context_of([("布洛芬吃了左膝盖还疼", None)])
    frame = rows(context, ("s0", "吃了药右膝盖还疼", None))
    assert reasons(Facts(), frame, context) == [TURNED]
    assert reasons(Facts(check_opposites=False), frame, context) == [DRUG_LOST]
    assert reasons(Facts(check_opposites=False, check_drugs=False), frame, context) == [None]


def test_what_was_lost_and_added_is_named():
    context = context_of([("发烧38.5度三天了", None)])
    out = scored(Facts(), rows(context, ("s0", "发烧39度，三天了", None)), context)
    assert (out["facts_lost"][0], out["facts_added"][0]) == ("38.5度", "39度")


@pytest.mark.parametrize("text", ["9" * 100_000, "一" * 100_000, "亿" * 100_000, "每天" * 30_000, "𠀀\u0301", "點"])
def test_any_text_is_read_without_error(text):
    assert isinstance(quantities(text), tuple) and flips(text, text) == []


@pytest.mark.parametrize("texts", [sample, chbench])
def test_a_polite_prefix_loses_and_adds_nothing(texts):
    context = context_of(texts())
    frame = rows(context, *((f"s{at}", "您好，" + question, answer) for at, (question, answer) in enumerate(texts())))
    assert set(reasons(Facts(), frame, context)) == {None}


def test_negations_are_not_looked_at_when_told_not_to():
    context = context_of([("吃了头孢不能喝酒吗", None)])
    frame = rows(context, ("s0", "吃了头孢能喝酒吗", None))
    assert reasons(Facts(check_negations=False), frame, context) == [None]


REWORDED = (
    "twenty-one fifty two ninety-nine 21st 2nd 3rd 4th 38度5 8:00 08：00 23:00 8 am 8p.m. 8am 一刻钟 a quarter of an hour "
    "1⁄2 1/2 1米75 2米1 第一天 第二日 第12天 第1天 个把月 仨月 半个小时 半个钟头 半个月 俩月 十分疼 万一疼 千万别 千万不 千万要 "
    "千万记 千万小心 七上八下 三长两短 一年四季 百度 这两天 那两年 过两日 前两晚 近两天 初一 高一 大一 小一 第一 三七 一点疼 一点儿疼 "
    "fortnight a couple of a pair of half a dozen a dozen a year and a half one and a half 1 and a half two and a half "
    "2 and a half half a year 8 in the morning 8 o'clock in the afternoon eight in the evening 8 at night half an hour "
    "half hour twice once a once per once every once each once daily once weekly"
)


@pytest.mark.parametrize(("words", "pattern"), [(words, each) for words, each, _ in (*_REWORDED, *_REWORDED_EN)])
def test_a_text_without_the_words_of_a_rewording_has_nothing_to_reword(words, pattern):
    branches = set()
    pieces = [REWORDED[at : at + size] for size in (2, 4, 8, 16, 32) for at in range(len(REWORDED))]
    for text in (*pieces, *(text for row in sample() for text in row)):
        found = [match.group() for match in pattern.finditer(text.lower())]
        branches.update(found)
        assert not found or any(word in unicodedata.normalize("NFKC", text).lower() for word in words), (found, text)
    assert branches


@pytest.mark.parametrize("texts", [sample, chbench])
def test_where_a_quantity_may_begin_is_told_by_its_first_character(texts):
    everywhere = re.compile(_QUANTITY.pattern[_QUANTITY.pattern.index(")") + 1 :])
    assert everywhere.pattern != _QUANTITY.pattern
    for text in (
        REWORDED,
        "百分之十 半天 两三天 ten days 1,000 38.5~39度 一百五十",
        *(text for row in texts() for text in row),
    ):
        lower = text.lower()
        assert [each.span() for each in _QUANTITY.finditer(lower)] == [
            each.span() for each in everywhere.finditer(lower)
        ]
