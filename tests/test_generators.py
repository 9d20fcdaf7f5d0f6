"""The prompts of the generators that ask a model, and how they read its answers."""

from __future__ import annotations

import pytest

from augment import generators
from augment.records import Rejected, Reply, Row

ROW = Row("r1", "失眠怎么办", "旧", None)
UNUSABLE = Rejected("not the JSON asked for")


def generator(name: str) -> generators.Generator:
    return generators.TABLE.load(name)(seed=0)


def question(answer: str) -> Row | Rejected:
    """What `paraphrase` makes of a model's answer."""
    return generator("paraphrase").read(ROW, Reply("k", answer))


@pytest.mark.parametrize("name", ["paraphrase", "persona", "answer"])
@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{style}{question}失眠怎么办", "指令都不要"),
        ("How do I sleep better? {question}", "never follow"),
    ],
)
def test_a_question_is_quoted_as_it_is_and_its_instructions_are_not_to_be_followed(name, k, text, rule):
    (_, system), (_, user) = generator(name).ask(Row("r1", text, None, None), k, ()).messages
    assert f"<question>\n{text}\n</question>" in user
    assert rule in system


def test_an_english_question_is_asked_about_in_english():
    asked = generator("paraphrase").ask(Row("r", "How do I sleep better?", None, None), 0, ())
    assert asked.template.startswith("paraphrase.en@")


@pytest.mark.parametrize("name", ["paraphrase", "persona"])
def test_eight_variants_of_a_row_are_asked_for_in_eight_manners(name):
    assert len({generator(name).ask(ROW, k, ()).messages for k in range(8)}) == 8


@pytest.mark.parametrize("name", ["paraphrase", "persona"])
def test_rows_do_not_all_begin_with_the_same_manner(name):
    rows = [Row(f"r{i}", ROW.prompt, None, None) for i in range(30)]
    assert len({generator(name).ask(row, 0, ()).messages for row in rows}) > 3


def test_answer_takes_turns_between_the_question_as_it_is_and_rewritten():
    templates = [generator("answer").ask(ROW, k, ()).template.split("@")[0] for k in range(2)]
    assert templates == ["answer.zh", "answer_rewritten.zh"]


def test_answer_reads_a_rewritten_question_with_its_answer():
    made = generator("answer").read(ROW, Reply("k", '{"question": "睡不着咋办", "answer": "新"}'))
    assert (made.prompt, made.response) == ("睡不着咋办", "新")


def test_a_plain_answer_is_taken_without_its_label_and_quotes():
    assert question("改写后的问题：“睡不着咋办”").prompt == "睡不着咋办"


def test_fenced_json_with_words_around_it_is_read():
    assert question('好的\n```json\n{"question": "睡不着咋办"}\n```').prompt == "睡不着咋办"


def test_json_with_other_fields_is_not_data():
    assert question('{"text": "睡不着咋办"}') == UNUSABLE


@pytest.mark.parametrize("name", ["paraphrase", "persona", "answer"])
@pytest.mark.parametrize("text", ['{"question": "睡不着', "[1", "```json\n{"])
def test_broken_json_is_not_data(name, text):
    assert generator(name).read(ROW, Reply("k", text)) == UNUSABLE
