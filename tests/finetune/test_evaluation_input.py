"""What `augment evaluate` refuses, and the folders that it takes, keeps and leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.finetune.evaluations import QUESTIONS, record_in


def test_a_folder_is_taken_over_only_if_an_evaluation_was_begun_in_it(augment, answers, place):
    words = ["evaluate", "chbench", "--answers", answers, "--out"]
    for name, file, text in (("mine", "README.md", "dear"), ("odd", "evaluation.json", "[]")):
        (place / name).mkdir()
        (place / name / file).write_text(text)
        ran = augment(*words, name)
        assert ran.code == 2 and "holds no evaluation" in ran.err
        assert (place / name / file).read_text() == text
    (place / "begun").mkdir()
    (place / "begun/.evaluation.json.part").write_text("{")  # what a kill at the worst moment leaves
    assert augment(*words, "begun").code == 0


def test_a_plot_of_the_judge_does_not_outlive_its_evaluation(judging, answers, place):
    words = ["evaluate", "chbench", "--answers", answers, "--out", "found"]
    judging(*words, "--judge", "judging")
    assert (place / "found/judge.svg").exists()
    judging(*words, "--overwrite")
    assert not (place / "found/judge.svg").exists()


def test_a_finished_evaluation_is_not_done_again_nor_written_over(augment, answers, place):
    first = augment("evaluate", "chbench", "--answers", answers, "--out", "found")
    before = (place / "found/manifest.json").stat().st_mtime_ns
    again = augment("evaluate", "chbench", "--answers", answers, "--out", "found")
    assert again.code == 0 and "it was evaluated before" in again.out
    assert again.out.splitlines()[1:] == first.out.splitlines()
    assert (place / "found/manifest.json").stat().st_mtime_ns == before
    other = augment("evaluate", "chbench", "--answers", answers, "--limit", 5, "--out", "found")
    assert other.code == 2 and "holds another evaluation" in other.err
    assert record_in(place / "found")["exam"]["rows"] == QUESTIONS
    forced = augment("evaluate", "chbench", "--answers", answers, "--limit", 5, "--out", "found", "--overwrite")
    assert forced.code == 0 and record_in(place / "found")["exam"]["rows"] == 5


def test_somebodys_folder_is_left_alone(augment, answers, place):
    (place / "mine").mkdir()
    (place / "mine/letter.txt").write_text("dear")
    ran = augment("evaluate", "chbench", "--answers", answers, "--out", "mine")
    assert ran.code == 2 and "holds no evaluation" in ran.err
    assert (place / "mine/letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no exam given; try augment evaluate chbench"),
        (["sample"], "nobody to take the exam; add --base MODEL"),
        (["smaple", "--llm", "echo"], "no exam called 'smaple'; did you mean sample?"),
        (["sample", "--llm", "ecoh"], "no engine called 'ecoh'"),
        (["sample", "--base", "nowhere/at/all"], "no model folder nowhere/at/all"),
        (["sample", "--adapter", "nowhere"], "nowhere is not an adapter"),
        (["--exam", "nothing.csv", "--llm", "echo"], "no file or folder nothing.csv"),
        (["--answers", "nothing.csv"], "no file or folder nothing.csv"),
        (["--answers", "nothing.csv", "--llm", "echo"], "leave out --exam, --base, --adapter and --llm"),
        (["--answers", "a.csv", "--map", "prompt=q"], "--answers holds the exam and its answers; leave out --map"),
        (
            ["judge", "--answers", "a.csv"],
            "scores answers that have scores; give those with --exam; leave out --answers",
        ),
        (["sample", "--llm", "echo", "--judge-sees", "all"], "judge-sees: input should be 'answer' or 'question'"),
        (["sample", "--llm", "echo", "--votes", "0"], "votes: input should be greater than or equal to 1"),
        (["sample", "--llm", "echo", "--holdout", "x%"], "holdout: 'x%' is no share"),
        (["sample", "--llm", "echo", "--map", "promt=query"], "--map has no column 'promt'"),
    ],
)
def test_wrong_input_is_one_line(augment, words, said):
    ran = augment("evaluate", *words)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1, ran.err


def test_a_judge_without_dimensions_is_refused_before_anything_is_asked(judging, answers, tmp_path):
    ran = judging("evaluate", "--answers", answers, "--judge", "judging")
    assert ran.code == 2 and "--judge needs dimensions, and no card was given" in ran.err
    assert not (tmp_path / "judged.log").exists()


def test_the_harness_is_where_the_command_says(augment):
    ran = augment("evaluate", "harness")
    assert (Path(ran.out.strip()) / "chbench.yaml").is_file()
