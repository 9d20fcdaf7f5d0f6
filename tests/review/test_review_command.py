"""`augment review` as a user gives it: what it proposes, what it prints, and what it refuses in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import datasets
import pytest

from augment.review.decisions import DECISIONS
from tests.review.pages import review
from tests.review.runs import curated, kept, made, rejected, sit


@pytest.fixture
def run(place):
    return made(place).path


def test_it_proposes_a_sample_for_the_bound_and_says_what_others_would_take(place, run):
    with review(place, run, "--bound", "20%") as page:
        told = "\n".join(page.said)
        rows = page.ask("/rows")["rows"]
    assert "kept and" in page.said[0]
    lines = dict(line.strip().removeprefix("each rate to ").split(": ") for line in page.said if "each rate to" in line)
    assert list(lines) == ["±20%", "±10%", "±5%", "±3%"]
    kept_, rejected_ = (int(word) for word in lines["±20%"].split() if word.isdigit())
    assert [row["kept"] for row in rows].count(True) == kept_
    assert [row["kept"] for row in rows].count(False) == rejected_
    assert "the page is on this machine alone" in told


def test_a_sample_size_says_how_exactly_the_rates_will_be_known(place, run):
    with review(place, run.name, "--sample", "30") as page:
        assert "15 kept rows tell their rate to ±" in page.said[1]
        assert len(page.ask("/rows")["rows"]) == 30


def test_status_and_json_tell_the_rates_without_a_page(augment, run):
    sitting = sit(run)
    for id in kept(sitting)[:8]:
        sitting.decide(id, "accept")
    sitting.decide(rejected(sitting)[0], "reject", note="too long\x1b[2J")
    ran = augment("review", run, "--status")
    assert ran.code == 0
    assert ran.out.startswith("kept rows accepted: 100.0% (")
    assert f"augment review {run} --publish" in ran.out
    ran = augment("review", run.name, "--json")
    told = json.loads(ran.out)
    assert told["rates"]["kept"]["reviewed"] == 8
    assert [one["verdict"] for one in told["decisions"]] == ["accept"] * 8 + ["reject"]
    assert told["decisions"][0]["reviewer"] == "ann"
    assert "\x1b" not in ran.out


def test_lines_that_hold_no_decision_are_told(augment, run):
    (run / DECISIONS).write_text("{torn")
    assert "1 lines that hold no decision; they were read past" in augment("review", run, "--status").err


def test_publishing_prints_the_account_and_the_other_commands_read_the_version(augment, place, run):
    sitting = sit(run)
    gone, came, mended = kept(sitting)[0], rejected(sitting)[0], kept(sitting)[1]
    sitting.decide(gone, "reject", note="off topic")
    sitting.decide(came, "accept")
    sitting.decide(mended, "edit", prompt="换一个说法来问这件事")
    ran = augment("review", run, "--publish")
    assert ran.code == 0
    assert "version 2: 1 rows put out, 1 let in and 1 edited" in ran.out
    assert "kept rows accepted: 0.0% (" in ran.out
    assert " candidates = " in ran.out
    new = Path(ran.out.splitlines()[-1])
    assert augment("review", run, "--publish").out.splitlines() == [
        "nothing was decided since version 2; nothing was published. The newest is", str(new),
    ]  # fmt: skip

    (listed,) = [each for each in json.loads(augment("runs", "--json").out) if each["run"] == new.name]
    assert (listed["version"], listed["parent"], listed["state"]) == (2, run.name, "finished")

    told = json.loads(augment("diff", run.name, new.name, "--json").out)
    assert told["relation"]["kind"] == "version"
    assert {name: told["variants"][name] for name in ("added", "removed", "changed")} == {
        "added": 1, "removed": 1, "changed": 1,
    }  # fmt: skip
    assert told["scores"]["only_new"] == []

    (edited,) = curated(new).filter(curated(new)["edited_from"] == mended)["id"]
    story = json.loads(augment("explain", edited, "--run", new, "--json").out)
    assert story["review"]["reviewed"] == "edited"
    assert story["review"]["prompt before"] == sitting.rows[mended]["prompt"]
    assert "edited_from" not in story.get("scores", {})
    story = json.loads(augment("explain", gone, "--run", new, "--json").out)
    assert (story["verdict"], story["detail"]) == ("dropped by review: rejected by a reviewer", "off topic")

    assert augment("export", new, "--format", "chatml", "--out", place / "train").code == 0
    exported = next((place / "train").glob("*.jsonl")).read_text()
    assert "换一个说法来问这件事" in exported

    loaded = datasets.load_dataset(str(new), cache_dir=str(place / "cache"))["train"]
    assert loaded["id"] == curated(new)["id"].to_list()
    card = (new / "README.md").read_text()
    assert card.count("## Review") == 1
    assert "accepted 1, edited 1 and rejected 1" in card
    assert "* kept rows accepted: 0.0% (" in card
    assert f"Version 2; people reviewed {run.name}" in card
    assert "ann" not in card, "a card is for everybody to read"
    kept_ = json.loads((new / "summary.json").read_text())["kept"]
    assert f"{kept_:,} variants of 20 rows" in card
    assert f"| kept | {kept_:,} |" in card

    again = augment("review", new, "--status")
    assert "none of" in again.out, "the next version's rates are of rows that nobody has seen"


def test_published_json_is_the_summary(augment, run):
    sitting = sit(run)
    sitting.decide(kept(sitting)[0], "reject")
    told = json.loads(augment("review", run, "--publish", "--json").out)
    assert (told["version"], told["new"], told["review"]["rejected"]) == (2, True, 1)
    assert Path(told["path"]).is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sample", "5", "--bound", "5%"], "--sample 5 and --bound 5% both say how many rows"),
        (["--bound", "50%"], "--bound '50%' is no error bound; write a share from 0.1% to under 50%"),
        (["--bound", "0"], "--bound '0' is no error bound"),
        (["--bound", "x%"], "--bound 'x%' is no error bound"),
        (["--bound", "nan"], "--bound 'nan' is no error bound"),
        (["--status", "--publish"], "--status and --publish do not go together"),
        (["--reviewer", " "], "--reviewer ' ' is no name"),
        (["--reviewer", "a\nb"], "is no name"),
        (["--reviewer", "a" * 65], "is no name"),
        (["--reviewer", "ann, bob"], "is no name"),
        (["--publish"], "nobody has decided about a row"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(augment, run, words, said):
    ran = augment("review", run, "--no-browser", *words)
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") <= 1 + said.count("\n")
    assert len(list(run.parent.iterdir())) == 1


def test_an_unknown_run_is_one_clear_line(augment, run, place):
    ran = augment("review", "sead", "--status")
    assert ran.code == 2
    assert "no run 'sead'" in ran.err
    (place / "empty").mkdir()
    assert "holds no finished run" in augment("review", "empty", "--status").err


def test_a_run_with_nothing_left_says_so(augment, run):
    sitting = sit(run, sizes=(10**6, 10**6))
    for id in sitting.order:
        sitting.decide(id, "accept")
    new = augment("review", run, "--publish").out.splitlines()[-1]
    ran = augment("review", new, "--no-browser")
    assert ran.code == 2
    assert "has no row to review: all" in ran.err


def test_without_scipy_it_says_what_to_install(augment, run, monkeypatch):
    for name in [
        each for each in sys.modules if each.partition(".")[0] == "scipy" or each.startswith("augment.review")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "augment.intervals", raising=False)
    monkeypatch.setitem(sys.modules, "scipy", None)
    ran = augment("review", run, "--status")
    assert ran.code == 2
    assert "pip install 'augment[evaluate]'" in ran.err


def test_a_sifted_file_says_that_it_has_nothing_to_review(augment, place):
    row = {"question": "感冒后咳嗽怎么办，要不要吃药？", "answer": "多喝水，多休息，必要时看医生。"}
    (place / "own.jsonl").write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    run = place / augment("filter", "own.jsonl").out.splitlines()[-1]
    ran = augment("review", run, "--status")
    assert ran.code == 0 and ran.out.count("\n") == 1 and "has no row to review: it was sifted from a file" in ran.out
    ran = augment("review", run)
    assert ran.code == 2 and "it was sifted from a file" in ran.err
