from __future__ import annotations

import json

import pytest

from augment.errors import FinetuneError, RunError
from finetune.rows import open_rows


def write(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def chat(*contents):
    return [{"role": ("user", "assistant")[n % 2], "content": each} for n, each in enumerate(contents)]


def test_a_run_gives_its_rows_and_families(augment, place):
    augment("text", "--source", "sample", "--n", "2x", "--out", "run")
    rows = open_rows("run")
    assert len(rows.items) == 128 * 3
    assert rows.task == "chat"
    assert rows.manifest
    families = {item.family for item in rows.items}
    assert len(families) == 128
    made = [item for item in rows.items if item.made]
    assert len(made) == 256
    assert all(item.turns[0][0] == "user" and item.turns[1][0] == "assistant" for item in rows.items)


def test_without_its_seeds_a_run_has_the_same_families(augment, place):
    augment("text", "--source", "sample", "--n", "2x", "--without-seeds", "--out", "run")
    rows = open_rows("run")
    assert len(rows.items) == 256
    assert len({item.family for item in rows.items}) == 128


def test_the_exam_of_a_card_stays_out(place):
    rows = open_rows("sample")
    assert len(rows.items) == 128
    assert any("32 rows are its exam" in note for note in rows.notes)


@pytest.mark.parametrize("format", ["alpaca", "sharegpt", "chatml"])
def test_what_export_writes_is_read_as_the_run_itself(augment, place, format):
    augment("text", "--source", "sample", "--n", "1x", "--out", "run")
    augment("export", "run", "--format", format, "--out", "out")
    file = next(each for each in (place / "out").iterdir() if each.name != "dataset_info.json")
    assert sorted(item.turns for item in open_rows(str(file)).items) == sorted(i.turns for i in open_rows("run").items)


def test_alpaca_s_input_belongs_to_the_question(tmp_path):
    file = write(
        tmp_path / "a.jsonl",
        {"instruction": "Translate.", "input": "水", "output": "water"},
        {"instruction": "Name a drug.", "input": "", "output": "aspirin"},
    )
    assert [item.turns[0][1] for item in open_rows(file).items] == ["Translate.\n\n水", "Name a drug."]


def test_conversations_of_several_turns_and_a_system(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, *chat("a", "b", "c", "d", "e")]
    (item,) = open_rows(write(tmp_path / "a.jsonl", {"messages": turns})).items
    assert [role for role, _ in item.turns] == ["system", "user", "assistant", "user", "assistant"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": chat("a")}, "no answer to a question"),
        ({"messages": "text"}, "no list of messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "a message of no known role"),
        ({"messages": chat("a", " ")}, "a message without text"),
        ({"messages": ["a", "b"]}, "a message of no known role"),
    ],
)
def test_a_bad_conversation_costs_itself(tmp_path, row, reason):
    rows = open_rows(write(tmp_path / "a.jsonl", {"messages": chat("q", "a")}, row))
    assert len(rows.items) == 1
    assert rows.rejected == {reason: 1}


def test_the_same_question_makes_a_family_whatever_its_answer_and_form(tmp_path):
    file = write(
        tmp_path / "a.jsonl",
        {"question": "头疼怎么办？", "answer": "休息"},
        {"question": "头疼怎么办?", "answer": "多喝水"},
        {"question": "咳嗽怎么办", "answer": "喝水"},
    )
    first, second, third = open_rows(file).items
    assert first.family == second.family != third.family
    talks = write(
        tmp_path / "b.jsonl",
        {"messages": chat("头疼怎么办？", "休息")},
        {"messages": chat("头疼怎么办?", "多喝水")},
        {"messages": chat("咳嗽怎么办", "喝水")},
    )
    first, second, third = open_rows(talks).items
    assert first.family == second.family != third.family


def test_labels_are_learned_where_there_are_no_answers(tmp_path):
    file = write(tmp_path / "a.jsonl", {"text": "a", "label": "x"}, {"text": "b", "label": "y"}, {"text": "c"})
    rows = open_rows(file)
    assert rows.task == "classify"
    assert [item.label for item in rows.items] == ["x", "y"]
    assert rows.rejected == {"no label": 1}
    assert open_rows("sample").task == "chat"
    assert open_rows("sample", "classify").task == "classify"


def test_rows_without_an_answer_are_counted(tmp_path):
    rows = open_rows(write(tmp_path / "a.jsonl", {"question": "a", "answer": "b"}, {"question": "c", "answer": ""}))
    assert (len(rows.items), rows.rejected) == (1, {"no response": 1})


def test_identity_is_the_rows_alone(tmp_path):
    one = open_rows(write(tmp_path / "a.jsonl", {"question": "a", "answer": "b"}))
    same = open_rows(write(tmp_path / "b.jsonl", {"question": "a", "answer": "b"}))
    other = open_rows(write(tmp_path / "c.jsonl", {"question": "a", "answer": "c"}))
    assert one.identity == same.identity != other.identity


def test_nothing_to_train_on_is_one_line(tmp_path):
    with pytest.raises(FinetuneError, match=r"no row of .* has a response to learn; name its column"):
        open_rows(write(tmp_path / "a.jsonl", {"question": "a"}))
    with pytest.raises(FinetuneError, match=r"has a label to learn; name its column with --map label=COLUMN"):
        open_rows(write(tmp_path / "b.jsonl", {"question": "a", "answer": "b"}), "classify")
    with pytest.raises(FinetuneError, match=r"can be trained on \(1 no answer to a question\)"):
        open_rows(write(tmp_path / "c.jsonl", {"messages": chat("a")}))
    with pytest.raises(FinetuneError, match="conversations, which have no label"):
        open_rows(write(tmp_path / "d.jsonl", {"messages": chat("a", "b")}), "classify")
    (tmp_path / "half" / "curated").mkdir(parents=True)
    with pytest.raises(RunError, match="no finished run"):
        open_rows(str(tmp_path / "half"))
