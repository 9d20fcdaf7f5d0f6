"""`--generators auto`: which generators each kind of source gets, with and without an LLM."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path

import pytest

from augment.generators import TABLE, tasks_of
from augment.generators.auto import WITH_LLM, suited, task_of
from augment.sources import open_source
from tests.test_document_qa import EN, PASSAGE

QUESTIONS = (
    *("失眠怎么办？", "血压150/95要马上吃药吗？", "孩子发烧38.5度能洗澡吗？", "空腹血糖6.8算糖尿病吗？"),
    *(
        "吃完头孢多久才能喝酒？",
        "How do I turn down another project at work?",
        "腿抽筋怎么回事？",
        "体检查出胆囊息肉要切吗？",
    ),
)
KINDS = {
    "qa": [{"question": each, "answer": f"{at}：先看程度，再看原因。"} for at, each in enumerate(QUESTIONS)],
    "classification": [{"text": each, "label": label} for each, label in zip(QUESTIONS, cycle("甲乙"), strict=False)],
    "questions": [{"question": each} for each in QUESTIONS],
    "documents": [
        {"text": f"{name}：{text}"} for name, text in zip("一二三四", [PASSAGE * 2, EN * 3] * 2, strict=True)
    ],
}


def written(place: Path, rows: list[dict[str, str]]) -> str:
    (place / "rows.jsonl").write_text("\n".join(json.dumps(each, ensure_ascii=False) for each in rows))
    return "rows.jsonl"


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_source_is_known_by_its_columns(place, kind):
    seeds = open_source(written(place, KINDS[kind]), columns=None).seeds
    assert task_of(seeds) == kind
    assert suited(seeds, llm=True) == list(WITH_LLM[kind])
    assert suited(seeds, llm=False) == ["rules"]


def test_most_rows_decide(place):
    qa, bare = KINDS["qa"], KINDS["questions"]
    assert task_of(open_source(written(place, qa[:5] + bare[5:])).seeds) == "qa"
    assert task_of(open_source(written(place, qa[:4] + bare[4:])).seeds) == "questions"


def test_labels_that_no_two_rows_share_are_no_classes(place):
    rows = [{"text": each, "label": f"第{at}类"} for at, each in enumerate(QUESTIONS)]
    assert task_of(open_source(written(place, rows)).seeds) == "questions"


@pytest.mark.parametrize("kind", list(WITH_LLM))
def test_what_is_chosen_is_there_and_for_that(kind):
    task = {"questions": "qa"}.get(kind, kind)
    for name in WITH_LLM[kind]:
        assert task in tasks_of(TABLE.load(name.partition(":")[0])), name


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_dry_run_shows_whom_it_would_ask(place, augment, kind):
    ran = augment(
        "text",
        "--source",
        written(place, KINDS[kind]),
        "--n",
        "5x",
        "--generators",
        "auto",
        "--llm",
        "echo",
        "--dry-run",
    )
    assert ran.code == 0, ran.err
    asked = [line.split()[1] for line in ran.out.splitlines() if line.startswith("example ")]
    assert asked == [name.partition(":")[0] for name in WITH_LLM[kind]]
    alone = augment("text", "--source", "rows.jsonl", "--n", "5x", "--generators", "auto", "--dry-run")
    assert [line.split()[1] for line in alone.out.splitlines() if line.startswith("example ")] == ["rules"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_accounts_for_every_candidate(place, augment, kind):
    flags = ["--source", written(place, KINDS[kind]), "--n", "5x", "--generators", "auto", "--llm", "echo", "--json"]
    ran = augment("text", *flags, "--filters", "none", "--out", "run")
    counts = json.loads(ran.out)
    rejected = sum(sum(each.values()) for each in counts["rejected"].values())
    assert counts["candidates"] == counts["kept"] + rejected + counts["failed"] > 0
    assert set(counts["per_generator"]) == {name.partition(":")[0] for name in WITH_LLM[kind]}


@pytest.mark.parametrize("generators", ["auto,paraphrase", "paraphrase,auto", "auto:2", "auto+answer"])
def test_beside_others_it_is_refused_in_one_line(place, augment, generators):
    ran = augment(
        "text", "--source", written(place, KINDS["qa"]), "--n", "1x", "--generators", generators, "--llm", "echo"
    )
    assert ran.code == 2 and ran.err.strip().count("\n") == 0
    assert f"--generators {generators}: auto chooses by the source's columns; give it alone" in ran.err
