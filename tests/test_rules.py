"""`rules`: what it rewrites, what it leaves alone, and that its variants differ enough to be kept."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from augment.generators import answers_itself
from augment.generators.edits import spliced
from augment.generators.lexicon import lexicon_for
from augment.generators.rules import GRAM, Rules, _grams, _likeness, _plain, variants_of
from augment.language import language_of
from augment.places import data_dir
from augment.records import Rejected, Reply, Row

RULES = Rules()
ASK = re.compile(r"请问|请教|想问|求教|咨询|想打听|想了解")
QUESTIONS = (
    "孩子发烧怎么办？",
    "经常失眠，白天没精神，需要去医院吗？",
    "大蒜和生姜有什么区别？",
    "为什么睡前看手机会影响睡眠？",
    "我妈最近老是头疼，可是不肯看医生，该怎么劝？",
)


def row(prompt: str, record: str = "r0") -> Row:
    return Row(id=record, prompt=prompt, response="答案不变。", label="a")


def kept(prompt: str, threshold: float = 0.65) -> int:
    """How many variants, taken in order, are unlike the prompt and all that were kept before."""
    language = language_of(prompt)
    seen = [_grams(_plain(prompt, language), GRAM[language])]
    for text in variants_of(prompt, "r0"):
        grams = _grams(_plain(text, language), GRAM[language])
        if all(_likeness(grams, other) < threshold for other in seen):
            seen.append(grams)
    return len(seen) - 1


# ---- the contract ---------------------------------------------------------------------------------------------------


def test_it_answers_its_own_requests_and_keeps_the_response():
    assert answers_itself(RULES)
    record = row("孩子发烧怎么办？")
    request = RULES.ask(record, 3, ())
    assert (request.engine, request.model, request.template) == ("rules", Rules.version, f"rules@{Rules.version}")
    made = RULES.read(record, RULES.answer(request))
    assert isinstance(made, Row)
    assert made.prompt != record.prompt
    assert (made.response, made.label) == (record.response, record.label)


def test_no_further_variant_is_data_not_an_exception():
    record = row("孩子发烧怎么办？")
    reply = RULES.answer(RULES.ask(record, 10_000, ()))
    assert (reply.text, reply.finish) == ("", "exhausted")
    assert RULES.read(record, reply) == Rejected("no further variant")
    assert RULES.read(record, Reply("key", " \n")) == Rejected("no further variant")


@pytest.mark.parametrize("prompt", QUESTIONS)
def test_the_kth_variant_does_not_depend_on_how_many_are_asked(prompt):
    record = row(prompt)
    late = RULES.answer(RULES.ask(record, 5, ())).text
    variants_of.cache_clear()
    early = [RULES.answer(RULES.ask(record, k, ())).text for k in range(8)]
    assert early[5] == late
    assert len(set(early)) == 8


def test_another_process_gives_the_same_variants():
    code = (
        "from augment.generators.rules import variants_of;"
        "import sys; sys.stdout.buffer.write('\\n'.join(variants_of('孩子发烧怎么办？', 'r0')).encode())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert told.stdout.decode() == "\n".join(variants_of("孩子发烧怎么办？", "r0"))


def test_the_seed_and_the_record_change_the_order():
    prompt = QUESTIONS[1]
    assert variants_of(prompt, "r0", 0) != variants_of(prompt, "r0", 1)
    assert variants_of(prompt, "r0", 0) != variants_of(prompt, "r1", 0)
    record = row(prompt)
    other = Rules(seed=1)
    assert RULES.ask(record, 0, ()).key != other.ask(record, 0, ()).key
    assert [RULES.answer(RULES.ask(record, k, ())).text for k in range(6)] != [
        other.answer(other.ask(record, k, ())).text for k in range(6)
    ]


def test_the_segmenter_is_imported_only_for_chinese():
    code = (
        "import sys; from augment.generators.rules import variants_of\n"
        "assert variants_of('How long does a cold last?', 'r')\n"
        "assert 'rjieba' not in sys.modules\n"
        "assert variants_of('感冒多久能好？', 'r')\n"
        "assert 'rjieba' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ---- what is left alone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "fixed"),
    [
        ("布洛芬每次0.5g，一天3次，饭后吃可以吗？", ["布洛芬", "每次0.5g", "一天3次"]),
        ("空腹血糖6.8 mmol/L需要吃药吗？", ["6.8 mmol/L"]),
        ("孩子高烧39.5℃，已经2天了，怎么办？", ["39.5℃", "2天"]),
        ("血压一直150/95，可以不吃药吗？", ["150/95", "不吃药"]),
        ("吃了止咳糖浆和感冒灵颗粒还是咳嗽，怎么办？", ["止咳糖浆", "感冒灵颗粒"]),
        ("做了MRI和HbA1c检查，医生说没事，还需要复查吗？", ["MRI", "HbA1c"]),
        ("老公总说“没事，老毛病，经常这样”，我很担心，怎么劝他？", ["“没事，老毛病，经常这样”"]),
        ("「经常熬夜不要紧」这种说法对吗？", ["「经常熬夜不要紧」"]),
        ("如何评价“资本不会犯错、权力才会？”？", ["“资本不会犯错、权力才会？”"]),
        ("Can I take ibuprofen 400 mg with warfarin 2.5 mg every day?", ["ibuprofen 400 mg", "warfarin 2.5 mg"]),
        ("Mum said 'just take a tablet', but I'm worried. Should I call a doctor?", ["'just take a tablet'"]),
    ],
)
def test_numbers_units_drugs_quotations_and_latin_words_stay(prompt, fixed):
    made = variants_of(prompt, "r0")
    assert len(made) >= 5
    for text in made:
        assert all(part in text for part in fixed), text


@pytest.mark.parametrize(
    ("prompt", "fixed"),
    [
        ("医生说不可以经常吃止疼药，是不是真的？", "不可以经常吃"),
        ("最近没有发烧，还需要去医院吗？", "没有发烧"),
        ("孩子不喜欢喝水，该怎么办？", "不喜欢喝水"),
        ("I do not usually sleep well. Should I see a doctor?", "not usually"),
    ],
)
def test_what_a_negation_governs_stays(prompt, fixed):
    made = variants_of(prompt, "r0")
    assert made
    assert all(fixed in text for text in made)


def test_part_of_a_longer_word_is_not_a_word():
    for prompt, whole in (
        ("老人家住得远，怎么照顾？", "老人家"),
        ("最近的医院在哪里？", "最近的医院"),
        ("性功能障碍会影响怀孕吗？", "功能"),
        ("不可能每天都头疼吧，这正常吗？", "不可能"),
    ):
        assert all(whole in text for text in variants_of(prompt, "r0")), prompt


def test_openers_and_closers_state_no_number_and_no_negation():
    for language, negation in (("zh", r"[不没别无未0-9]"), ("en", r"\bno\b|\bnot\b|n't|never|\d")):
        forms = tomllib.loads((data_dir() / "rules" / f"{language}_questions.toml").read_text("utf-8"))
        said = [text for place in ("openers", "closers") for texts in forms[place].values() for text in texts]
        assert [text for text in said if re.search(negation, text)] == []


# ---- how it reads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt", ["请问孩子发烧怎么办？", "想请教一下，腰疼应该挂哪个科？", "大家好，血压高能喝酒吗？谢谢！"]
)
def test_a_question_that_asks_politely_is_not_asked_twice(prompt):
    made = variants_of(prompt, "r0")
    assert made
    for text in made:
        assert len(ASK.findall(text)) <= 1, text
        assert text.count("谢") <= max(2, prompt.count("谢")), text
        assert text.count("大家好") <= 1, text


@pytest.mark.parametrize("prompt", QUESTIONS)
def test_nothing_is_said_twice_in_a_row(prompt):
    for text in variants_of(prompt, "r0"):
        for first, second in pairwise(re.split(r"[，：。？]", text)):
            assert not first or first != second, text
        assert not re.search(r"该该|是是|吗吗|么么|怎怎|不不|的的|[，：。？][，：。？]", text), text
        assert not (ASK.search(text) and len(ASK.findall(text)) > 1), text


def test_a_seam_that_doubles_a_word_is_refused():
    assert spliced("孩子怎么办", [(2, 2, "该"), (2, 5, "该怎么办")]) is None
    assert spliced("孩子怎么办", [(2, 5, "该怎么办")]) == "孩子该怎么办"
    assert spliced("it is so so bad", [(0, 2, "that")]) == "that is so so bad"
    assert spliced("take it now", [(5, 7, "take")]) is None
    assert spliced("头疼", [(0, 2, "头痛"), (1, 2, "晕")]) is None  # overlapping


def test_question_forms_change_not_only_the_frame():
    forms = {re.sub(r"[，：。？]", "", text) for text in variants_of("褪黑素可以长期天天吃吗？", "r0")}
    assert {"褪黑素能不能长期天天吃", "褪黑素可不可以长期天天吃", "褪黑素是否可以长期天天吃"} & forms
    said = " ".join(variants_of("焦虑症和普通紧张有什么区别？", "r0"))
    assert "该怎么区分" in said and "区别在哪里" in said
    assert "这是什么原因" in " ".join(variants_of("为什么喝咖啡以后心慌手抖？", "r0"))


def test_a_question_is_asked_once_by_each_variant():
    for text in variants_of("第二次面试会对我有偏见吗？", "r0"):
        question = text.split("？")[0] + "？"
        assert len(re.findall(r"是不是|是否|会不会|有没有|有无|吗？|能不能", question)) == 1, text


def test_a_greeting_stays_first():
    for text in variants_of("医生，我的血脂有点高，要一直吃药吗？", "r0"):
        assert re.match(r"(医生|大夫)，", text), text


def test_a_form_inside_another_is_not_rewritten_alone():
    made = variants_of("最近压力很大，有没有什么办法可以放松一下？", "r0")
    assert any("怎么做才能放松一下" in text for text in made)
    assert not any(re.search("有没[^有]", text) for text in made)


def test_you_is_addressed_as_the_question_does():
    for text in variants_of("你认为中药有用吗？为什么？", "r0"):
        assert "您" not in text


def test_english_keeps_its_articles_and_its_sentences():
    made = variants_of("I've had a headache every day lately. Should I see a doctor?", "r0")
    assert len(made) >= 20
    for text in made:
        assert not re.search(r"\ba [aeio]|\ban [^aeiou]", text), text
        assert re.search(r"(^|[.?:] )[a-z]", text) is None, text
        assert "  " not in text


# ---- odd input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt", ["", " \n ", "？？？", "。", "😀😀", "123", "頭が痛いです。どうすればいいですか", "¿Ñ?", "Что делать?"]
)
def test_what_is_neither_chinese_nor_english_words_is_exhausted_or_left_whole(prompt):
    for text in variants_of(prompt, "r0"):
        assert prompt.strip("？?") in text
    if language_of(prompt) not in ("zh", "en"):
        assert variants_of(prompt, "r0") == ()


@pytest.mark.parametrize(
    "prompt",
    [
        "头痛",
        "怎么办",
        "孩子发烧怎么办😭😭",
        "　ＡＢＣ　孩子发烧３９．５℃怎么办？？？！！！",
        "my 孩子 has 发烧, what should I do怎么办?",
        "“" * 40 + "怎么办",
        "最近总是头疼，没精神，睡得也不好。",
        "孩子发烧怎么办？" * 700,
        "\u200b孩子\x00发烧\n怎么办\r\n？",
    ],
)
def test_odd_input_gives_variants_or_none_but_no_exception(prompt):
    made = variants_of(prompt, "r0")
    assert len(made) == len(set(made))
    assert prompt not in made


def test_a_statement_is_not_turned_into_a_question():
    made = variants_of("最近总是头疼，没精神，睡得也很差。", "r0")
    assert len(made) >= 6
    assert not any("？" in text or "请问" in text for text in made)


# ---- enough of them -------------------------------------------------------------------------------------------------


def test_the_first_variants_are_the_ones_that_differ():
    for prompt in QUESTIONS:
        language = language_of(prompt)
        grams = [_grams(_plain(text, language), 5) for text in (prompt, *variants_of(prompt, "r0")[:6])]
        assert all(_likeness(a, b) < 0.65 for at, a in enumerate(grams) for b in grams[:at]), prompt


def test_nine_of_ten_bundled_questions_have_six_different_variants():
    lines = [line for path in sorted((data_dir() / "sample").glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    enough = [kept(json.loads(line)["question"]) >= 6 for line in lines]
    assert len(enough) >= 100
    assert sum(enough) / len(enough) >= 0.9


@pytest.mark.skipif("AUGMENT_CHBENCH_DIR" not in os.environ, reason="AUGMENT_CHBENCH_DIR names no copy of CHBench")
def test_nine_of_ten_chbench_questions_have_six_different_variants():
    paths = sorted(Path(os.environ["AUGMENT_CHBENCH_DIR"]).glob("*.csv"))
    questions = [line["query"] for path in paths for line in csv.DictReader(path.open(encoding="utf-8-sig"))]
    assert len(questions) >= 100
    assert sum(kept(question) >= 6 for question in questions) / len(questions) >= 0.9


# ---- the data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "least"), [("zh", 250), ("en", 120)])
def test_the_lexicon_is_large_and_no_word_replaces_itself(language, least):
    lexicon = lexicon_for(language)
    assert len(lexicon.words) >= least
    for word, entries in lexicon.words.items():
        for entry in entries:
            assert entry.others, word
            assert word not in entry.others
            assert all(other.strip() == other and other for other in entry.others)
