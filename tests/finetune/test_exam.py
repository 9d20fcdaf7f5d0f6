"""Exams: which rows are asked, the cards that users write, answers that exist already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from augment.errors import RecipeError, RunError, SourceError
from augment.sources import open_source
from finetune.evaluation.exam import open_exam, read_answers, read_exam_card
from finetune.evaluation.floor import REFUSAL, UNRELATED, floor

CARD = """
title = "Kitchen"
language = "en"
[[groups]]
name = "baking"
labels = ["bread", "cake"]
dimensions = [{ name = "taste", title = "Taste", definition = "it would taste good" }]
[[groups]]
name = "other"
dimensions = [{ name = "safety", title = "Safety", definition = "nobody gets hurt" }]
"""


def rows(path: Path, count: int = 12) -> Path:
    lines = [
        {"query": f"question {n}", "gold": f"the answer to number {n}", "label": ["bread", "cake", "soup"][n % 3]}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_cards_exam_is_what_its_source_holds_out():
    source = open_source("sample")
    exam = open_exam("sample")
    assert exam.rows["id"].to_list() == source.exam["id"].to_list()
    assert exam.rows["gold"].to_list() == source.exam["response"].to_list()
    assert len(open_exam("sample", everything=True).rows) == len(source.seeds) + len(source.exam)
    assert "not held out" in " ".join(open_exam("sample", everything=True).notes)


def test_any_file_is_an_exam_whole_or_by_its_held_out_share(tmp_path):
    file = rows(tmp_path / "mine.jsonl", 60)
    assert len(open_exam(file=str(file)).rows) == 60
    held = open_exam(file=str(file), holdout=0.3)
    assert held.rows["id"].to_list() == open_source(str(file), holdout=0.3).exam["id"].to_list()
    assert 5 < len(held.rows) < 30


def test_a_runs_exam_is_what_it_held_out(augment, place):
    file = rows(place / "mine.jsonl", 40)
    words = ["text", "--source", file, "--n", "1x", "--llm", "echo", "--generators", "paraphrase", "--filters", "none"]
    ran = augment(*words, "--holdout", "30%", "--out", "run")
    assert ran.code == 0, ran.err
    held = open_source(str(file), holdout=0.3).exam["id"].to_list()
    assert open_exam(file="run").rows["id"].to_list() == held != []
    file.write_text(file.read_text() + '{"query": "one more question", "gold": "yes"}\n')
    with pytest.raises(RunError, match="is not what it was when run was made from it"):
        open_exam(file="run")
    augment(*words, "--holdout", "0", "--out", "whole")
    with pytest.raises(RunError, match="whole held nothing out"):
        open_exam(file="whole")


def test_a_users_card_gives_each_label_its_dimensions(tmp_path):
    (tmp_path / "kitchen.toml").write_text(CARD)
    exam = open_exam(str(tmp_path / "kitchen.toml"), file=str(rows(tmp_path / "mine.jsonl")))
    assert exam.name == "kitchen"
    names = {label: exam.card.group_of(label).name for label in ("bread", "cake", "soup", None)}
    assert names == {"bread": "baking", "cake": "baking", "soup": "other", None: "other"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[groups]]\nname = "a"\ndimensions = []', "groups.0.dimensions"),
        (CARD.replace('"Taste"', "3"), "groups.0.dimensions.0.title"),
        (CARD.replace('labels = ["bread", "cake"]\n', ""), "both have the rows that no other group takes"),
        (CARD + '[[groups]]\nname = "again"\nlabels = ["cake"]\n' + CARD.split("\n")[6], "both have the label 'cake'"),
        ("titel = 1", "titel"),
        ("title = ", "not valid TOML"),
    ],
)
def test_a_card_that_is_wrong_is_told_where(tmp_path, text, said):
    file = tmp_path / "kitchen.toml"
    file.write_text(text)
    with pytest.raises(RecipeError) as told:
        read_exam_card(str(file))
    assert said in str(told.value) and "\n" not in str(told.value)


def test_two_dimensions_of_one_name_are_refused(tmp_path):
    file = tmp_path / "kitchen.toml"
    twice = '{ name = "taste", title = "Taste", definition = "x" }'
    file.write_text(f'[[groups]]\nname = "a"\ndimensions = [{twice}, {twice}]')
    with pytest.raises(RecipeError, match="two dimensions have the same name"):
        read_exam_card(str(file))


def test_an_unknown_exam_offers_the_known_ones():
    with pytest.raises(RecipeError, match="did you mean chbench"):
        open_exam("chbnech")


def test_a_card_without_a_source_asks_for_rows(tmp_path):
    (tmp_path / "kitchen.toml").write_text(CARD)
    with pytest.raises(RecipeError, match="add --exam FILE"):
        open_exam(str(tmp_path / "kitchen.toml"))


def test_answers_are_read_with_a_column_a_model(tmp_path):
    file = tmp_path / "answers.csv"
    file.write_text("query,gold,label,GLM,Qwen\n甲？,甲。,a,甲甲,None!\n,丢,a,x,y\n乙？,乙。,b,,乙乙\n", "utf-8")
    exam, answers = read_answers(file)
    assert exam.rows["query"].to_list() == ["甲？", "乙？"]
    assert exam.rows["label"].to_list() == ["a", "b"]
    assert answers == {"GLM": ["甲甲", None], "Qwen": ["None!", "乙乙"]}
    assert exam.notes == ("rows left out: 1 without a question",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gold,GLM\na,b\n", "no column 'query'; it has: gold, GLM"),
        ("query,GLM\na,b\n", "no column 'gold'"),
        ("query,gold\na,b\n", "no column of answers"),
    ],
)
def test_answers_without_a_column_are_refused(tmp_path, text, said):
    file = tmp_path / "answers.csv"
    file.write_text(text)
    with pytest.raises(SourceError, match=said):
        read_answers(file)


def test_the_floor_answers_each_question_with_anothers_gold_of_the_same_label(tmp_path):
    exam = open_exam(file=str(rows(tmp_path / "mine.jsonl", 30)))
    found = floor(exam)
    unrelated = found.filter(found["model"] == UNRELATED)
    label = dict(exam.rows.select("gold", "label").iter_rows())
    for row in unrelated.iter_rows(named=True):
        assert row["answer"] != row["gold"]
        assert label[row["answer"]] == row["label"]
    assert sorted(unrelated["answer"]) == sorted(exam.rows["gold"])
    assert found.equals(floor(exam))
    assert not found.equals(floor(exam, seed=1))
    assert set(found.filter(found["model"] == REFUSAL)["answer"].str.slice(0, 9)) == {"I'm sorry"}


def test_the_same_question_or_gold_again_is_not_unrelated(tmp_path):
    rows = [
        ("头疼", "多休息", "a"),
        ("头疼", "多喝水", "a"),
        ("牙疼", "多休息", "a"),
        ("失眠", "早睡", "a"),
        ("胃疼", "少吃", "a"),
    ]
    file = tmp_path / "mine.jsonl"
    lines = [dict(zip(("query", "gold", "label"), row, strict=True)) for row in rows]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = {gold: {row[0] for row in rows if row[1] == gold} for _, gold, _ in rows}
    for seed in range(20):
        found = floor(open_exam(file=str(file)), seed)
        for row in found.filter(found["model"] == UNRELATED).iter_rows(named=True):
            assert row["answer"] != row["gold"] and asked[row["answer"]] != {row["query"]}


def test_a_question_alone_in_its_label_gets_an_answer_of_another(tmp_path):
    file = tmp_path / "mine.jsonl"
    lines = [{"query": f"q{n}", "gold": f"g{n}", "label": str(min(n, 1))} for n in range(2)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert floor(open_exam(file=str(file)))["answer"].to_list()[:2] == ["g1", "g0"]
    file.write_text(json.dumps(lines[0]) + "\n")
    assert floor(open_exam(file=str(file)))["model"].to_list() == [REFUSAL]
