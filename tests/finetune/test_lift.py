"""`augment lift --task classify`: the verdict is right where the truth is known, and the folder says how it came."""

from __future__ import annotations

import json
import subprocess
import sys

import orjson
import polars as pl
import pytest

from augment.lock import Lock
from augment.manifest import digest_of
from tests.finetune.bases import ROOT
from tests.finetune.lifts import copied, helpful, make_run, mislabelled, two_makers, write_rows

FEW = ("--shots", 2, "--seeds", 10)


def lifted(augment, place, vary, *words, name="made"):
    run = make_run(place / "runs" / name, write_rows(place), vary)
    ran = augment("lift", name, *FEW, "--json", *words)
    assert ran.code == 0, ran.err
    return run, json.loads(ran.out)


def difference(record, arm, over):
    return next(each for each in record["differences"] if (each["arm"], each["over"]) == (arm, over))


def test_variants_that_know_more_are_found_to_help(augment, place):
    _, record = lifted(augment, place, helpful)
    assert record["verdict"].startswith("The variants help: accuracy ")
    assert record["differences"][0]["low"] > 0
    means = {arm["name"]: arm["mean"] for arm in record["arms"]}
    assert means["augmented"] > means["real, oversampled"] + 0.05


def test_variants_with_wrong_labels_are_found_to_harm(augment, place):
    _, record = lifted(augment, place, mislabelled)
    assert record["verdict"].startswith("The variants harm: accuracy ")
    assert record["differences"][0]["high"] < 0


def test_copies_are_found_to_make_no_difference(augment, place):
    _, record = lifted(augment, place, copied)
    assert record["verdict"].startswith("No difference beyond chance: ")
    assert "All arms scored alike." in record["verdict"]
    first = record["differences"][0]
    assert (first["arm"], first["over"]) == ("augmented", "real, oversampled")
    assert first["mean"] == first["low"] == first["high"] == 0


def test_each_generator_is_left_out_in_turn(augment, place):
    _, record = lifted(augment, place, two_makers)
    assert [arm["name"] for arm in record["arms"]] == [
        *("real", "real, oversampled", "augmented"),
        *("augmented without persona", "augmented without rules"),
    ]
    assert [arm["rows"] for arm in record["arms"]] == [8, 48, 48, 48, 48]
    assert difference(record, "augmented", "augmented without persona")["low"] > 0
    assert difference(record, "augmented", "augmented without rules")["low"] < 0.05
    assert record["generators"] == ["persona", "rules"]


def test_the_record_holds_a_score_for_each_draw_and_adds_up(augment, place):
    run, record = lifted(augment, place, helpful)
    assert (record["kind"], record["task"], record["metric"], record["higher_is_better"]) == (
        *("lift", "classify", "accuracy", True),
    )
    assert record["run"]["name"] == "made"
    assert record["run"]["manifest"] == digest_of(run / "manifest.json")["sha256"]
    assert len(set(record["seeds"])) == 10
    assert record["shots"] == 2
    rows = pl.read_parquet(f"{record['path']}/rows.parquet")
    for arm in record["arms"]:
        assert len(arm["scores"]) == 10
        assert arm["mean"] == pytest.approx(sum(arm["scores"]) / 10)
        assert arm["low"] < arm["mean"] < arm["high"]
        own = rows.filter(pl.col("arm") == arm["name"]).group_by("draw").agg(pl.col("score").mean()).sort("draw")
        assert own["score"].to_list() == pytest.approx(arm["scores"])
    first = record["differences"][0]
    means = {arm["name"]: arm["mean"] for arm in record["arms"]}
    assert first["mean"] == pytest.approx(means["augmented"] - means["real, oversampled"])


def test_the_same_lift_is_the_same_bytes_wherever_and_in_whatever_process(augment, place):
    make_run(place / "runs/made", write_rows(place), helpful)
    assert augment("lift", "made", *FEW, "--out", "first").code == 0
    command = [sys.executable, "-m", "augment", "lift", "made", *map(str, FEW), "--out", "second"]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "5"}, cwd=place)
    names = {path.name for path in (place / "first").iterdir()} - {".augment.lock"}
    assert names == {"README.md", "lift.json", "lift.svg", "manifest.json", "rows.parquet"}
    for name in names:
        assert (place / "first" / name).read_bytes() == (place / "second" / name).read_bytes(), name


def test_the_manifest_has_the_hash_of_every_file(augment, place):
    _, record = lifted(augment, place, helpful)
    folder = place / record["path"]
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert manifest["identity"] == record["identity"]
    assert manifest["files"] == {
        name: digest_of(folder / name) for name in ("README.md", "lift.json", "lift.svg", "rows.parquet")
    }
    assert folder.parent.name == "lifts"
    assert folder.name == f"made-classify-{record['identity'][:8]}"


def test_what_was_measured_is_not_measured_again(augment, place):
    _, record = lifted(augment, place, helpful)
    card = place / record["path"] / "README.md"
    card.write_text("kept", "utf-8")
    ran = augment("lift", "made", *FEW)
    assert "it was measured before; nothing was done" in ran.err
    assert record["verdict"] in ran.out
    assert card.read_text("utf-8") == "kept"
    more = augment("lift", "made", "--shots", 2, "--seeds", 11, "--json")
    assert json.loads(more.out)["path"] != record["path"]


def test_what_a_kill_left_is_measured_anew(augment, place):
    _, record = lifted(augment, place, helpful)
    folder = place / record["path"]
    before = (folder / "lift.json").read_bytes()
    (folder / "manifest.json").unlink()
    (folder / "lift.json").write_text("half", "utf-8")
    assert augment("lift", "made", *FEW).code == 0
    assert (folder / "lift.json").read_bytes() == before
    assert (folder / "manifest.json").is_file()


def test_the_card_and_the_terminal_show_tables_and_verdict(augment, place):
    make_run(place / "runs/made", write_rows(place), helpful)
    ran = augment("lift", "made", *FEW, "--out", "mine")
    card = (place / "mine/README.md").read_text("utf-8")
    record = json.loads((place / "mine/lift.json").read_text("utf-8"))
    for text in (ran.out, card):
        assert record["verdict"] in text
        assert "augmented − real, oversampled" in text
    assert "![Scores by arm, and differences](lift.svg)" in card
    assert "augment lift runs/made --task classify --shots 2 --seeds 10 --seed 0" in card
    assert "<svg" in (place / "mine/lift.svg").read_text("utf-8")


def test_the_exam_is_tested_and_named_where_the_source_is_there(augment, place):
    _, record = lifted(augment, place, helpful)
    assert record["tested"]["exam"] > 0
    assert record["notes"] == []


@pytest.mark.parametrize("change", ["gone", "edited"])
def test_without_the_source_undrawn_seeds_are_tested_and_that_is_said(augment, place, change):
    file = write_rows(place)
    make_run(place / "runs/made", file, helpful)
    if change == "gone":
        file.unlink()
    else:
        file.write_text(file.read_text("utf-8").rpartition("\n")[0], "utf-8")
    record = json.loads(augment("lift", "made", *FEW, "--json").out)
    assert record["tested"]["exam"] == 0
    assert record["tested"]["rows"] > 0
    assert record["notes"][0].startswith("tested on undrawn seeds alone: the source rows ")


def test_a_run_without_its_seeds_takes_them_from_the_source(augment, place):
    file = write_rows(place)
    make_run(place / "whole", file, helpful)
    make_run(place / "bare", file, helpful, seeds=False)
    whole, bare = (json.loads(augment("lift", name, *FEW, "--json").out) for name in ("whole", "bare"))
    assert bare["arms"][1] == whole["arms"][1]
    file.unlink()
    ran = augment("lift", "bare", *FEW, "--seed", 1)
    assert ran.code == 2
    assert "bare was published without its seeds, and the source rows could not be opened again" in ran.err


def refused(augment, *words):
    ran = augment("lift", *words)
    assert ran.code == 2, ran.out + ran.err
    assert "Traceback" not in ran.err
    return ran.err.strip().splitlines()[-1].removeprefix("augment: ")


def test_labels_without_enough_seeds_are_left_out_and_named(augment, place):
    file = write_rows(place)
    extra = json.dumps({"question": "a rare thing", "answer": "yes.", "topic": "rare"})
    file.write_text(file.read_text("utf-8") + "\n" + extra, "utf-8")
    make_run(place / "runs/made", file, helpful, holdout="0%")
    record = json.loads(augment("lift", "made", *FEW, "--json").out)
    assert record["labels"] == {"heart": 20, "lungs": 20, "skin": 20, "sleep": 20}
    assert record["labels_left_out"] == {"rare": 1}
    assert record["notes"] == ["labels without more than 2 seeds are left out: rare (1)"]


def test_mistakes_are_one_line_with_the_fix(augment, place):
    file = write_rows(place)
    make_run(place / "runs/made", file, helpful, holdout="0%")
    assert refused(augment, "mad").startswith("no run 'mad', here or under runs/; did you mean made")
    assert refused(augment, "made", "--task", "clasify") == "no task called 'clasify'; did you mean classify?"
    assert refused(augment, "made", "--shots", 20).endswith("and two are needed; lower --shots to 19")
    bare = place / "bare.jsonl"
    bare.write_text("\n".join(json.dumps({"question": f"what is {n}"}) for n in range(9)), "utf-8")
    make_run(place / "runs/bare", bare, lambda seed, _rng, _place: [{"prompt": seed["prompt"] + " then"}])
    assert refused(augment, "bare").startswith("no seed of runs/bare has a label to learn; name its column")
    make_run(place / "runs/none", file, lambda *_: [])
    assert refused(augment, "none").startswith("runs/none holds no variant, so there is nothing to measure")
    make_run(place / "runs/one", write_rows(place, labels=["skin"]), helpful)
    assert refused(augment, "one").startswith("all seeds of runs/one have the label 'skin'")
    rows = place / "runs/made/curated/train.parquet"
    rows.write_bytes(rows.read_bytes() + b" ")
    assert "is not the file that runs/made/manifest.json names" in refused(augment, "made")


def test_nothing_is_written_over_that_is_not_this_lift(augment, place):
    make_run(place / "runs/made", write_rows(place), helpful)
    (place / "notes").mkdir()
    (place / "notes/mine.txt").write_text("mine", "utf-8")
    assert refused(augment, "made", *FEW, "--out", "notes").startswith("notes is not empty and not a lift's folder")
    assert refused(augment, "made", *FEW, "--out", "runs/made").startswith("runs/made is not empty and not a lift's")
    assert augment("lift", "made", *FEW, "--out", "mine").code == 0
    assert "mine holds another lift" in refused(augment, "made", "--shots", 3, "--seeds", 10, "--out", "mine")
    assert augment("lift", "made", "--shots", 3, "--seeds", 10, "--out", "mine", "--overwrite").code == 0
    assert json.loads((place / "mine/lift.json").read_text("utf-8"))["shots"] == 3
    held = Lock.take(place / "mine")
    try:
        held.sign()
        assert "mine is being written by pid " in refused(augment, "made", *FEW, "--out", "mine")
    finally:
        held.release()


def test_classifying_needs_no_torch():
    code = (
        "import sys, finetune.lift.run, finetune.lift.classify\n"
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
