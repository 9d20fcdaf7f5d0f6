"""`augment evaluate` as its users run it: models in this process and on a server, judged, compared, stopped, repeated."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from augment.manifest import digest_of
from tests.finetune.bases import save_base
from tests.finetune.evaluations import QUESTIONS, record_in
from tests.server import serve

ROOT = Path(__file__).parents[2]
PHYSICAL = ["accuracy", "safety", "practicality", "morality"]


def mean(record: dict, model: str, metric: str, label: str | None = None) -> float:
    (line,) = [
        each for each in record["table"] if (each["model"], each["metric"], each["label"]) == (model, metric, label)
    ]
    return line["mean"]


def difference(record: dict, model: str, metric: str, label: str | None = None) -> dict:
    (line,) = [
        each
        for each in record["differences"]
        if (each["model"], each["metric"], each["label"]) == (model, metric, label)
    ]
    return line


def test_existing_answers_are_scored_compared_and_judged(judging, answers, place):
    ran = judging("evaluate", "chbench", "--answers", answers, "--judge", "judging", "--out", "found")
    assert ran.code == 0, ran.err
    record = record_in(place / "found")
    assert record["exam"]["labels"] == {"mental": 12, "physical": 12}
    assert mean(record, "good", "cosine") > 0.9 > mean(record, "other", "cosine")
    assert mean(record, "bad", "failed") == pytest.approx(1 / 3)
    assert mean(record, "bad", "refused") == pytest.approx(1 / 2)  # of those that are answers
    assert mean(record, "good", "refused") == 0
    assert mean(record, "bad", "cosine", "mental") < 0.3
    # the judge's rule: a refusal violates every definition, 没有评审意见 gets no verdict, a failed answer is not judged
    assert mean(record, "bad", "judge") == -1
    assert mean(record, "bad", "no_verdict") == pytest.approx(1 / 2)
    assert mean(record, "bad", "judge_safety", "physical") == -1
    assert not [each for each in record["table"] if each["metric"] == "judge_safety" and each["label"] == "mental"]
    assert [each["name"] for each in record["judge"]["dimensions"]["physical"]][:2] == ["accuracy", "safety"]
    assert record["judge"]["variant"] == "sees the answer alone"
    # compared with the first model, question by question
    gain = difference(record, "good", "cosine")
    assert gain["over"] == "other" and gain["low"] > 0
    assert difference(record, "bad", "judge")["rows"] == 8  # its refusals; the others are not judged, or in vain
    assert "good against other: " in record["verdict"]
    assert "other: its cosine" in record["verdict"]
    # the floor is there: gold answers to other questions, a refusal, and what the judge makes of the gold
    floor = {(each["name"], each["metric"]): each["mean"] for each in record["floor"] if each["label"] is None}
    assert floor["unrelated answers", "cosine"] == pytest.approx(mean(record, "other", "cosine"), abs=0.1)
    assert floor["canned refusal", "refused"] == 1 and floor["canned refusal", "judge"] == -1
    # 道德 and 道德性 have one name and two definitions: the whole exam has their mean alone
    assert not [each for each in record["table"] if each["metric"] == "judge_morality" and each["label"] is None]
    assert {each["metric"]: each["mean"] for each in record["gold"] if each["label"] is None}[
        "cosine"
    ] == pytest.approx(1)


def test_models_are_compared_on_the_same_question(augment, place):
    """Two columns of the same scores in another order: no mean differs, question by question everything does."""
    gold = ["甲乙丙丁" * (n + 1) for n in range(8)]
    with (place / "answers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "gold", "one", "two"])
        for n, text in enumerate(gold):
            other = "完全无关的回答"
            writer.writerow([f"问题{n}？", text, text if n % 2 else other, other if n % 2 else text])
    augment("evaluate", "--answers", "answers.csv", "--out", "found")
    record = record_in(place / "found")
    assert mean(record, "one", "cosine") == mean(record, "two", "cosine") == 0.5
    apart = difference(record, "two", "cosine")
    assert apart["mean"] == 0 and apart["low"] == pytest.approx(-0.75) and apart["high"] == pytest.approx(0.75)


def test_the_papers_table_counts_failed_answers_in_the_first_bin(augment, answers, place):
    ran = augment("evaluate", "--answers", answers, "--out", "found")
    assert ran.code == 0, ran.err
    lines = [line.split() for line in ran.out.splitlines()]
    head = next(place for place, line in enumerate(lines) if line[:3] == ["all", "cosine", "other"])
    assert lines[head] == [
        "all",
        *(
            f"{metric} {name}".split()[place]
            for metric in ("cosine", "jaccard")
            for name in ("other", "good", "bad")
            for place in (0, 1)
        ),
    ]
    table = [line[2:] if line[0].startswith("[") else line for line in lines[head + 1 : head + 12]]
    columns = [list(map(int, column)) for column in zip(*table[:10], strict=True)]
    assert [sum(column) for column in columns] == [QUESTIONS] * 6
    assert lines[head + 11] == ["None!", "0", "0", "8", "0", "0", "8"]
    scores = pl.read_parquet(place / "found/scores.parquet").filter(pl.col("model") == "bad")
    assert columns[2][0] == sum(score < 0.1 for score in scores["cosine"]) >= 8


def test_the_folder_holds_everything_and_its_hashes(judging, answers, place):
    judging("evaluate", "chbench", "--answers", answers, "--judge", "judging", "--votes", "3", "--out", "found")
    manifest = json.loads((place / "found/manifest.json").read_text())
    names = {"evaluation.json", "scores.parquet", "similarity.svg", "rates.svg", "judge.svg", "README.md"}
    assert set(manifest["files"]) == names
    for name in names:
        assert manifest["files"][name] == digest_of(place / "found" / name)
    card = (place / "found/README.md").read_text()
    assert record_in(place / "found")["verdict"] in card
    assert "3 vote(s) at temperature 0.7" in card and "| mental |" in card
    told = [line.split(" | ")[0].removeprefix("| judge: ") for line in card.partition("| physical |")[2].splitlines()]
    assert [each for each in told if each in PHYSICAL][:4] == PHYSICAL
    scores = pl.read_parquet(place / "found/scores.parquet")
    assert len(scores) == QUESTIONS * (3 + 2 + 1)
    assert {"model", "id", "query", "gold", "answer", "cosine", "jaccard", "refused", "judge_care"} <= set(
        scores.columns
    )
    assert (place / "found/judge.svg").read_text().count("practicality") >= 2


def test_the_command_in_the_card_makes_the_evaluation_again(augment, answers, place):
    augment("evaluate", "chbench", "--answers", answers, "--limit", "10", "--out", "found")
    command = (place / "found/README.md").read_text().partition("```sh\n")[2].partition("\n```")[0].split()
    assert command[:2] == ["augment", "evaluate"]
    again = augment(*command[1:], "--out", "again")
    assert again.code == 0, again.err
    for name in ("evaluation.json", "scores.parquet", "README.md", "similarity.svg"):
        assert (place / "again" / name).read_bytes() == (place / "found" / name).read_bytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """A tiny base and an adapter that has learnt to give one answer, by the command."""
    room = tmp_path_factory.mktemp("trained")
    base = save_base(room / "base")
    rows = [{"prompt": f"第{n}个问题？", "response": "请多喝水。"} for n in range(40)]
    (room / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    words = ["--base", base, "--data", room / "rows.jsonl", "--adapter", "pissa", "--rank", 8, "--epochs", 6]
    words += ["--learning-rate", 0.02, "--validation", 0, "--out", room / "mine"]
    command = [sys.executable, "-m", "augment", "finetune", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return base, room / "mine"


def test_a_base_and_its_adapter_take_the_exam(augment, trained, place):
    base, adapter = trained
    ran = augment("evaluate", "sample", "--base", base, "--adapter", adapter, "--max-tokens", 24, "--out", "found")
    assert ran.code == 0, ran.err
    record = record_in(place / "found")
    assert [each["name"] for each in record["models"]] == ["base", "mine"]
    assert record["models"][1]["adapter"] == str(adapter)
    scores = pl.read_parquet(place / "found/scores.parquet")
    mine = scores.filter(pl.col("model") == "mine")
    assert (mine["answer"] == "请多喝水。").mean() > 0.8 and set(mine["finish"]) >= {"stop"}
    assert set(scores.filter(pl.col("model") == "base")["finish"]) == {"length"}
    finished = mine.filter(pl.col("finish") == "stop")
    assert mean(record, "mine", "truncated") == pytest.approx(1 - len(finished) / len(mine), abs=0.02)
    assert mean(record, "mine", "cosine") > mean(record, "base", "cosine")
    assert record["paid"]["sent"] == 2 * record["exam"]["rows"]
    # what was answered is never asked again, whatever is scored of it
    again = augment("evaluate", "sample", "--adapter", adapter, "--base", base, "--max-tokens", 24, "--out", "other")
    assert again.code == 0
    assert record_in(place / "other")["paid"] == {"sent": 0, "reused": 64, "tokens_in": 0, "tokens_out": 0}


def test_the_adapter_names_its_base(augment, trained, place):
    _, adapter = trained
    ran = augment("evaluate", "sample", "--adapter", adapter, "--limit", 3, "--max-tokens", 8, "--json")
    assert ran.code == 0, ran.err
    assert [each["name"] for each in json.loads(ran.out)["models"]] == ["mine"]


def test_an_adapter_that_was_trained_on_the_exam_is_found_out(augment, trained, place):
    _, adapter = trained
    lines = [{"query": f"第{n}个问题？", "gold": "请多喝水。"} for n in (3, 5)] + [
        {"query": "新问题？", "gold": "好。"}
    ]
    (place / "exam.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    ran = augment("evaluate", "--exam", "exam.jsonl", "--adapter", adapter, "--max-tokens", 8, "--out", "found")
    assert "mine: 2 of these questions are in its training data" in ran.err
    assert "**2 of these questions are in the training data of mine**" in (place / "found/README.md").read_text()


def written(place: Path, rows: list[list[str]], head: tuple[str, ...] = ("query", "gold", "label", "A", "B")) -> Path:
    with (place / "given.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return place / "given.csv"


def test_a_row_that_stands_there_twice_is_two_rows_and_no_more(augment, place):
    row = ["头疼怎么办？", "多休息多喝水。", "physical"]
    rows = [
        [*row, "多休息。", "多喝水。"],
        [*row, "多喝水。", "就医。"],
        ["失眠怎么办？", "早睡。", "mental", "早睡。", "睡"],
    ]
    assert augment("evaluate", "--answers", written(place, rows), "--out", "found").code == 0
    record = record_in(place / "found")
    gain = difference(record, "B", "cosine")
    assert gain["rows"] == 3
    assert gain["mean"] == pytest.approx(mean(record, "B", "cosine") - mean(record, "A", "cosine"))


def test_a_failed_answer_has_no_length(augment, place):
    rows = [[f"问{n}", f"答案{n}", "a", "None!" if n else "十个字的答案", ""] for n in range(3)]
    augment("evaluate", "--answers", written(place, rows), "--out", "found")
    record = record_in(place / "found")
    assert mean(record, "A", "length") == 6
    assert not [each for each in record["table"] if each["model"] == "B" and each["metric"] == "length"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [["一", "", "", "甲", "乙"], ["二", "", "", "丙", "丁"]],
            "B and A cannot be compared: there is neither a gold",
        ),
        ([["一", "答案", "", "答", "案"]], "B and A cannot be compared by one question: cosine"),
        ([[str(n), f"答案{n}", "", f"答案{n}", "None!"] for n in range(9)], "B answered nothing."),
    ],
)
def test_the_verdict_says_when_there_is_nothing_to_compare(augment, place, rows, said):
    ran = augment("evaluate", "--answers", written(place, rows), "--out", "found")
    assert ran.code == 0 and said in record_in(place / "found")["verdict"]


def test_without_a_floor_nothing_is_said_to_be_above_it(augment, place):
    rows = [["一", "", "甲"], ["二", "", "乙"]]
    augment("evaluate", "--answers", written(place, rows, ("query", "gold", "A")), "--out", "found")
    assert record_in(place / "found")["verdict"].startswith("one model, and no floor to compare it with")
    lone = written(place, [["一", "答案", "答"]], ("query", "gold", "A"))
    augment("evaluate", "--answers", lone, "--out", "lone")
    record = record_in(place / "lone")
    assert {each["name"] for each in record["floor"]} == {"canned refusal"}
    assert record["verdict"].startswith("one model, and no floor to compare it with")


def test_hostile_names_neither_draw_nor_drive_anything(augment, place):
    names = ("<img src=x onerror=alert(1)>", "a|b`c`", "red\x1b[31m", "[x](http://evil)")
    rows = [[f"问{n}", f"答案{n}", *"甲乙丙丁"] for n in range(4)]
    ran = augment("evaluate", "--answers", written(place, rows, ("query", "gold", *names)), "--out", "found")
    assert ran.code == 0 and "\x1b" not in ran.out + ran.err
    card = (place / "found/README.md").read_text("utf-8").partition("```sh")[0]
    assert "<img" not in card.replace("\\<", "") and "](http" not in card.replace("\\]", "")
    assert "\x1b" not in card + (place / "found/similarity.svg").read_text("utf-8")
    head = next(line for line in card.splitlines() if line.startswith("| all |"))
    assert head.replace("\\|", "").count("|") == 1 + 1 + 4 + 2
    ran = augment("evaluate", "--answers", written(place, rows, ("query", "gold", "a", "b", "c", "canned refusal")))
    assert ran.code == 2 and "a model cannot be called 'canned refusal'" in ran.err


def test_a_judge_that_never_decides_is_told(augment, place):
    ran = augment("evaluate", "sample", "--llm", "echo", "--judge", "echo", "--limit", 4, "--out", "found")
    assert ran.code == 0 and "The judge gave no verdict on any answer of echo" in ran.out


def test_what_the_terminal_shows_has_every_dimension(judging, answers):
    ran = judging("evaluate", "chbench", "--answers", answers, "--judge", "judging", "--out", "found")
    lines = [line.split() for line in ran.out.splitlines()]
    first = {line[0] for line in lines if line}
    assert {"mental", "physical"} <= first and ["judge:", "safety"] in [line[:2] for line in lines]
    assert sum(line[:2] == ["mental", "cosine"] for line in lines) == 1  # the paper's table, for each half


def test_the_judge_sees_the_floor_of_every_group(judging, place, monkeypatch):
    monkeypatch.setattr("finetune.evaluation.evaluate.FLOOR_JUDGED", 6)
    rows = [[f"问{n}", f"答案的第{n}条", "mental" if n < 20 else "physical", "答", "案"] for n in range(30)]
    rows += [["另", "一条", "other", "答", "案"]]
    ran = judging("evaluate", "chbench", "--answers", written(place, rows), "--judge", "judging", "--out", "found")
    assert "1 questions are not judged: no group of the card has their label (other)" in ran.err
    floor = record_in(place / "found")["floor"]
    seen = {
        each["label"]: each["rows"] for each in floor if each["name"] == "canned refusal" and each["metric"] == "judge"
    }
    assert seen == {None: 6, "mental": 4, "physical": 2}


def test_an_adapter_of_another_base_or_task_is_refused_before_anybody_answers(augment, trained, place):
    _, adapter = trained
    other = save_base(place / "other", hidden_size=32)
    ran = augment("evaluate", "sample", "--base", other, "--adapter", adapter, "--out", "found")
    assert ran.code == 2 and "does not fit" in ran.err and ran.err.count("\n") == 1, ran.err
    (place / "cls").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (place / "cls" / name).write_bytes((adapter / name).read_bytes())
    config = json.loads((place / "cls/adapter_config.json").read_text())
    (place / "cls/adapter_config.json").write_text(json.dumps({**config, "task_type": "SEQ_CLS"}))
    ran = augment("evaluate", "sample", "--adapter", place / "cls", "--out", "found")
    assert ran.code == 2 and "was trained to classify" in ran.err


def test_answers_that_failed_are_told_and_asked_again_on_demand(augment, place):
    words = ["evaluate", "sample", "--llm", "openai:test-model", "--out", "found"]
    with serve(fail_400_share=0.4) as server:
        ran = augment(*words, "--base-url", server.url)
        assert ran.code == 0 and "answers failed, most often with: HTTP 400" in ran.err
        assert "--overwrite asks again" in ran.err
        assert "answers failed, most often with: HTTP 400" in (place / "found/README.md").read_text("utf-8")
    failed = record_in(place / "found")["failures"][0]["rows"]
    with serve() as server:
        again = augment(*words, "--base-url", server.url, "--overwrite")
        assert again.code == 0, again.err
        assert server.stats()["calls"] == failed
    assert record_in(place / "found")["failures"] == []


def test_a_server_takes_the_exam_and_loses_single_rows_only(augment, place):
    with serve(fail_400_share=0.2) as server:
        ran = augment("evaluate", "sample", "--llm", "openai:test-model", "--base-url", server.url, "--out", "found")
        assert ran.code == 0, ran.err
        calls = server.stats()["calls"]
    record = record_in(place / "found")
    scores = pl.read_parquet(place / "found/scores.parquet").filter(pl.col("model") == "test-model")
    failed = scores.filter(pl.col("failed"))
    assert calls == len(scores) == record["exam"]["rows"] == 32
    assert 0 < len(failed) < 20 and failed["error"].str.starts_with("HTTP 400: ").all()
    assert failed["answer"].null_count() == len(failed) and failed["cosine"].sum() == 0
    assert mean(record, "test-model", "failed") == pytest.approx(len(failed) / 32)


def test_a_killed_evaluation_goes_on_and_pays_once(place):
    env = {**os.environ, "AUGMENT_HOME": str(place / "home"), "PYTHONPATH": str(ROOT)}
    with serve(latency=0.3) as server:
        words = [
            "evaluate",
            "sample",
            "--llm",
            "openai",
            "--base-url",
            server.url,
            "--concurrency",
            "4",
            "--out",
            "found",
        ]
        command = [sys.executable, "-m", "augment", *words]
        first = subprocess.Popen(command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while server.stats()["finished"] < 8:
            time.sleep(0.02)
        first.send_signal(signal.SIGINT)
        _, told = first.communicate(timeout=60)
        assert first.returncode == 130 and "to go on, give the same command again" in told
        assert not (place / "found/manifest.json").exists()
        second = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True)
        assert second.returncode == 0, second.stderr
        assert server.stats()["finished"] == 32 == len(server.stats()["by_key"])


def test_thoughts_are_no_part_of_an_answer():
    from augment.engines.ask import without_thoughts

    assert without_thoughts("<think>\n嗯，\n头疼……\n</think>\n\n多休息。") == "多休息。"
    assert without_thoughts("<think>没想完") is None
    assert without_thoughts("头疼……\n</think>\n\n多休息。") == "多休息。"  # the template opened the thought
    assert without_thoughts("<think>想完了，没有话</think>") is None
