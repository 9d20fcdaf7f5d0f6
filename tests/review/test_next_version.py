"""What people decided changes the next version, whoever writes it: `--publish` at once, or an incremental run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from augment.errors import RunError
from augment.manifest import digest_of, manifest_of
from augment.pipeline import curate
from augment.review.decisions import DECISIONS, append
from augment.review.edition import publish
from augment.review.session import Refused
from tests.review.runs import FLAGS, curated, kept, made, out, rejected, row, sit
from tests.test_pipeline import plan_of


def grown(rows: int = 20, **flags: object) -> Path:
    """The next version by an incremental run."""
    return made(Path(), rows, **flags).path


def by_review(run: Path) -> Path:
    """The next version by the review alone."""
    return publish(run).path


WAYS = pytest.mark.parametrize("way", [by_review, lambda run: grown()], ids=["publish", "incremental"])


def accounted(run: Path) -> dict:
    """The summary, once it is what the files hold."""
    counts = json.loads((run / "summary.json").read_text())
    dropped = out(run).filter(pl.col("dropped_by") != "source")
    total = sum(sum(each.values()) for each in counts["rejected"].values())
    assert counts["candidates"] == counts["kept"] + total + counts["failed"]
    assert total == len(dropped)
    assert counts["kept"] == len(curated(run).filter(pl.col("generator") != "seed"))
    per = counts["per_generator"].values()
    assert sum(each["candidates"] for each in per) == counts["candidates"]
    assert sum(each.get("kept", 0) for each in per) == counts["kept"]
    manifest = manifest_of(run)
    assert all(digest_of(run / name) == digest for name, digest in manifest["files"].items())
    return counts


@WAYS
def test_a_kept_row_that_a_person_rejects_is_out_with_the_reason(place, way):
    run = made(place).path
    sitting = sit(run, "ann")
    id = kept(sitting)[0]
    sitting.decide(id, "reject", note="off topic")
    new = way(run)
    assert row(curated(new), id) is None
    gone = row(out(new), id)
    told = ("dropped_by", "reason", "detail", "reviewed", "reviewed_by")
    assert [gone[name] for name in told] == ["review", "rejected by a reviewer", "off topic", "rejected", "ann"]
    assert accounted(new)["rejected"]["review"] == {"rejected by a reviewer": 1}
    assert manifest_of(new)["version"] == 2
    assert manifest_of(new)["parent"]["name"] == run.name


@WAYS
def test_a_rejected_row_that_a_person_accepts_comes_in(place, way):
    run = made(place).path
    sitting = sit(run)
    id = rejected(sitting, "near_dup")[0]
    sitting.decide(id, "accept")
    new = way(run)
    came = row(curated(new), id)
    assert (came["prompt"], came["reviewed"]) == (sitting.rows[id]["prompt"], "accepted")
    assert row(out(new), id) is None
    accounted(new)
    seed = curated(new)["parents"].list.first().fill_null(curated(new)["id"])
    assert seed.to_list() == sorted(seed, key=seed.to_list().index), "it stands with the variants of its seed"


@WAYS
def test_an_edited_row_is_published_as_edited_with_its_origin_kept(place, way):
    run = made(place).path
    sitting = sit(run)
    id = kept(sitting)[0]
    old = sitting.rows[id]
    sitting.decide(id, "edit", prompt="  换一个说法来问这件事  ", response=old["response"])
    new = way(run)
    assert row(curated(new), id) is None
    (now,) = curated(new).filter(pl.col("edited_from") == id).to_dicts()
    assert (now["prompt"], now["response"]) == ("换一个说法来问这件事", old["response"])
    same = ("parents", "source", "split", "generator", "variant", "label", "engine", "model", "reply_key", "seed")
    assert {name: now[name] for name in same} == {name: old[name] for name in same}
    assert now["id"] != id
    assert (now["reviewed"], now["reviewed_by"]) == ("edited", "ann")
    assert now["near_dup_jaccard"] is None or now["near_dup_jaccard"] != old["near_dup_jaccard"] or way is not by_review
    assert accounted(new)["kept"] == len(curated(run).filter(pl.col("generator") != "seed"))


@WAYS
def test_a_rejected_row_can_be_mended_and_published(place, way):
    run = made(place).path
    sitting = sit(run)
    id = rejected(sitting, "length")[0]
    sitting.decide(id, "edit", prompt="短一点的问题怎么问")
    new = way(run)
    (now,) = curated(new).filter(pl.col("edited_from") == id).to_dicts()
    assert now["prompt"] == "短一点的问题怎么问"
    accounted(new)


@WAYS
def test_an_accepted_row_is_marked_and_nothing_else_changes(place, way):
    run = made(place).path
    sitting = sit(run)
    id = kept(sitting)[0]
    sitting.decide(id, "accept")
    new = way(run)
    assert row(curated(new), id)["reviewed"] == "accepted"
    columns = curated(run).columns
    assert curated(new).select(columns).equals(curated(run))
    accounted(new)


def test_the_scores_of_a_text_that_was_edited_away_are_not_published(place):
    run = made(place).path
    sitting = sit(run)
    id = kept(sitting)[0]
    sitting.decide(id, "edit", prompt="换一个说法来问这件事")
    (now,) = curated(publish(run).path).filter(pl.col("edited_from") == id).to_dicts()
    assert [now[name] for name in now if name.startswith(("length_", "near_dup_"))] == [None] * 6
    (again,) = curated(grown(21)).filter(pl.col("edited_from") == id).to_dicts()
    assert again["length_prompt"] == len("换一个说法来问这件事"), "a run that sifts it scores it"


def test_a_row_that_a_person_rejected_never_comes_back(place):
    run = made(place).path
    sitting = sit(run)
    ids = kept(sitting)[:12]
    unwanted = {(sitting.rows[id]["parents"][0], sitting.rows[id]["prompt"]) for id in ids}
    for id in ids:
        sitting.decide(id, "reject")
    publish(run)
    for rows in (20, 22, 24):
        new = grown(rows)
        here = curated(new)
        assert not set(ids) & set(here["id"])
        assert not unwanted & set(zip(here["parents"].list.first(), here["prompt"], strict=True))
        accounted(new)
        assert set(ids) <= set(out(new).filter(pl.col("dropped_by") == "review")["id"])


def test_the_same_text_for_the_same_seed_is_turned_away_though_another_candidate_brings_it(place):
    run = made(place).path
    sitting = sit(run)
    id = next(id for id in kept(sitting) if sitting.rows[id]["generator"] == "paraphrase")
    sitting.decide(id, "reject")
    plan = plan_of(source="seeds.jsonl", **FLAGS)
    seen = sitting.rows[id]
    again = pl.DataFrame(
        [{**{name: seen[name] for name in ("parents", "response")}, "id": "x", "prompt": seen["prompt"] + "？！"}]
    )
    candidates = again.with_columns(pl.lit(None, pl.String).alias(name) for name in ("dropped_by", "reason"))
    judged = plan.verdicts.turned_away(candidates)
    assert judged.select("dropped_by", "reason").row(0) == ("review", "a reviewer rejected this text")
    other = plan.verdicts.turned_away(candidates.with_columns(pl.lit([["other"]]).list.first().alias("parents")))
    assert other["dropped_by"][0] is None, "of another seed it may be right"


def test_what_reviewers_took_is_made_up_for_by_the_next_incremental_run(place):
    run = made(place, filters="none", set={}).path
    sitting = sit(run)
    for id in kept(sitting)[:4]:
        sitting.decide(id, "reject")
    done = publish(run)
    assert done.short == len({sitting.rows[id]["parents"][0] for id in kept(sitting)[:4]})
    short = {each["id"]: each["kept"] for each in accounted(done.path)["seeds_short"]}
    assert sum(3 - each for each in short.values()) == 4
    plan = plan_of(source="seeds.jsonl", **{**FLAGS, "filters": "none", "set": {}})
    assert not plan.nothing_new
    new = curate(plan).path
    counts = curated(new).filter(pl.col("generator") != "seed").group_by(pl.col("parents").list.first()).len()["len"]
    assert set(counts) == {3}
    assert plan_of(source="seeds.jsonl", **{**FLAGS, "filters": "none", "set": {}}).nothing_new


def test_a_review_that_took_nothing_leaves_nothing_to_make(place):
    run = made(place).path
    sitting = sit(run)
    sitting.decide(kept(sitting)[0], "accept")
    publish(run)
    assert plan_of(source="seeds.jsonl", **FLAGS).nothing_new


def test_an_accepted_row_is_not_dropped_again(place):
    run = made(place).path
    sitting = sit(run)
    by = {name: rejected(sitting, name)[0] for name in ("length", "near_dup")}
    for id in by.values():
        sitting.decide(id, "accept")
    publish(run)
    for rows in (21, 22):
        new = curated(grown(rows))
        assert all(row(new, id)["reviewed"] == "accepted" for id in by.values())


def test_an_incremental_run_follows_decisions_that_were_never_published(place):
    run = made(place).path
    sitting = sit(run)
    first, second, third = kept(sitting)[0], rejected(sitting)[0], kept(sitting)[1]
    sitting.decide(first, "reject")
    sitting.decide(second, "accept")
    sitting.decide(third, "edit", prompt="换一个说法来问这件事")
    assert not plan_of(source="seeds.jsonl", **FLAGS).nothing_new
    new = grown()
    here = curated(new)
    assert row(here, first) is None
    assert row(here, second) is not None
    assert here.filter(pl.col("edited_from") == third)["prompt"].to_list() == ["换一个说法来问这件事"]
    assert accounted(new)["review"]["reviewers"] == ["ann"]
    assert plan_of(source="seeds.jsonl", **FLAGS).nothing_new


def test_decisions_made_late_about_an_older_version_count_too(place):
    run = made(place).path
    sitting = sit(run)
    new = grown(22)
    first, second = kept(sitting)[0], rejected(sitting, "near_dup")[0]
    sitting.decide(first, "reject")
    sitting.decide(second, "accept")
    done = publish(run)
    assert manifest_of(done.path)["parent"]["name"] == new.name
    assert done.version == 3
    assert row(curated(done.path), first) is None
    assert row(curated(done.path), second)["reviewed"] == "accepted"
    assert len(curated(done.path).filter(pl.col("generator") == "seed")) == 22
    accounted(done.path)


def test_a_late_acceptance_reaches_an_incremental_run(place):
    sitting = sit(made(place).path)
    grown(22)
    id = rejected(sitting, "near_dup")[0]
    sitting.decide(id, "accept")
    last = grown(23)
    assert row(curated(last), id)["reviewed"] == "accepted"
    accounted(last)


def test_what_was_decided_outlives_the_version_it_was_decided_in(place):
    run = made(place).path
    sitting = sit(run)
    gone, came = kept(sitting)[0], rejected(sitting)[0]
    sitting.decide(gone, "reject")
    sitting.decide(came, "accept")
    publish(run)
    shutil.rmtree(run)
    last = grown(21)
    assert row(curated(last), gone) is None
    assert row(curated(last), came) is not None


@WAYS
def test_a_decision_that_is_taken_back_leaves_the_row_as_it_was(place, way):
    run = made(place).path
    sitting = sit(run)
    ids = [kept(sitting)[0], kept(sitting)[1], rejected(sitting)[0]]
    sitting.decide(ids[0], "reject")
    sitting.decide(ids[1], "edit", prompt="换一个说法来问这件事")
    sitting.decide(ids[2], "accept")
    for id in ids:
        sitting.decide(id, "undo")
    new = way(run)
    assert curated(new).select(curated(run).columns).equals(curated(run))
    if way is by_review:
        assert out(new).select(out(run).columns).equals(out(run))
    assert accounted(new)["review"] | {"rates": 0, "lines": 0, "agreement": 0, "of": 0} == {
        "accepted": 0, "edited": 0, "rejected": 0, "reviewers": [], "rates": 0, "lines": 0, "agreement": 0, "of": 0,
    }  # fmt: skip


@WAYS
def test_a_decision_that_is_taken_back_after_it_was_published_is_undone_in_the_version_after(place, way):
    run = made(place).path
    sitting = sit(run)
    ids = [kept(sitting)[0], kept(sitting)[1], rejected(sitting, "length")[0]]
    sitting.decide(ids[0], "reject")
    sitting.decide(ids[1], "edit", prompt="换一个说法来问这件事")
    sitting.decide(ids[2], "accept")
    publish(run)
    for id in ids:
        sitting.decide(id, "undo")
    last = way(run)
    assert manifest_of(last)["version"] == 3
    here = curated(last)
    assert row(here, ids[0])["reviewed"] is None
    assert (row(here, ids[1])["prompt"], row(here, ids[1])["reviewed"]) == (sitting.rows[ids[1]]["prompt"], None)
    assert row(here, ids[2]) is None
    assert here.filter(pl.col("edited_from").is_not_null()).is_empty()
    accounted(last)


def test_an_edited_row_can_be_rejected_or_edited_again(place):
    sitting = sit(made(place).path)
    ids = kept(sitting)[:2]
    for id in ids:
        sitting.decide(id, "edit", prompt=f"第一次改写{id}")
    run = publish(sitting.desk.folder).path
    edited = {each: curated(run).filter(pl.col("edited_from") == each)["id"][0] for each in ids}
    second = sit(run, sizes=(100, 0))
    assert not set(edited.values()) & set(second.order), "what was reviewed is not shown again"
    for place_, (id, verdict) in enumerate(zip(edited.values(), ("reject", "edit"), strict=True)):
        seen = row(curated(run), id)
        second.rows[id] = seen
        second.decide(id, verdict, prompt="第二次改写" if place_ else None)
    last = publish(run).path
    assert row(out(last), edited[ids[0]])["dropped_by"] == "review"
    (again,) = curated(last).filter(pl.col("edited_from") == edited[ids[1]]).to_dicts()
    assert again["prompt"] == "第二次改写"
    accounted(last)


def test_reject_wins_over_edit_and_edit_over_accept(place):
    run = made(place).path
    ann, bob = sit(run, "ann"), sit(run, "bob")
    first, second, third = kept(ann)[:3]
    ann.decide(first, "reject")
    bob.decide(first, "accept")
    ann.decide(second, "edit", prompt="换一个说法来问这件事")
    bob.decide(second, "accept")
    ann.decide(third, "edit", prompt="先这样改")
    bob.decide(third, "edit", prompt="后这样改")
    new = publish(run).path
    assert row(curated(new), first) is None
    assert row(out(new), first)["reviewed_by"] == "ann, bob"
    texts = {each["edited_from"]: each["prompt"] for each in curated(new).to_dicts()}
    assert (texts[second], texts[third]) == ("换一个说法来问这件事", "后这样改")


def test_the_last_decision_of_a_reviewer_counts(place):
    run = made(place).path
    sitting = sit(run)
    id = kept(sitting)[0]
    for verdict in ("reject", "undo", "reject", "accept"):
        sitting.decide(id, verdict)
    assert row(curated(publish(run).path), id)["reviewed"] == "accepted"


def test_the_same_decisions_are_published_once_and_to_the_same_bytes(place):
    run = made(place).path
    sitting = sit(run)
    sitting.decide(kept(sitting)[0], "reject")
    sitting.decide(rejected(sitting)[0], "accept")
    first = publish(run)
    again = publish(run)
    assert (first.new, again.new, again.path) == (True, False, first.path)
    names = ("curated/train.parquet", "rejected.parquet", "README.md", "reviewed.jsonl")
    before = {name: (first.path / name).read_bytes() for name in names}
    shutil.rmtree(first.path)
    assert publish(run).path == first.path
    assert {name: (first.path / name).read_bytes() for name in names} == before


def test_a_version_without_seeds_is_reviewed_too(place):
    run = made(place, without_seeds=True).path
    sitting = sit(run)
    sitting.decide(kept(sitting)[0], "reject")
    sitting.decide(rejected(sitting)[0], "accept")
    new = publish(run).path
    assert "seed" not in set(curated(new)["generator"])
    assert row(curated(new), rejected(sitting)[0]) is not None
    accounted(new)


def test_rows_come_in_the_right_place_however_the_file_is_read(place, monkeypatch):
    run = made(place).path
    sitting = sit(run)
    for id in rejected(sitting)[::2]:
        sitting.decide(id, "accept")
    whole = curated(publish(run).path)
    shutil.rmtree(publish(run).path)
    monkeypatch.setattr("augment.review.edition.BLOCK", 7)
    monkeypatch.setattr("augment.lineage.BLOCK", 7)
    assert curated(publish(run).path).equals(whole)


def test_nothing_decided_is_one_clear_line(place):
    run = made(place).path
    with pytest.raises(RunError, match="nobody has decided about a row of .*; review it first: augment review"):
        publish(run)


def test_a_run_whose_files_were_changed_is_refused(place):
    run = made(place).path
    sitting = sit(run)
    sitting.decide(kept(sitting)[0], "reject")
    (run / "README.md").write_text("mine")
    with pytest.raises(RunError, match=r"README\.md is not the file that .* names"):
        publish(run)
    assert len(list(run.parent.iterdir())) == 1


def test_decisions_about_a_run_that_was_overwritten_do_not_reach_the_one_in_its_place(place):
    run = made(place, incremental=None, out=place / "mine").path
    sitting = sit(run)
    sitting.decide(kept(sitting)[0], "reject")
    made(place, 18, incremental=None, out=place / "mine", overwrite=True)
    assert sit(run).desk.made() == []
    with pytest.raises(RunError, match="nobody has decided"):
        publish(run)


def examined(place: Path, question: str) -> dict[str, object]:
    (place / "exam.jsonl").write_text(json.dumps({"question": question, "answer": "甲"}, ensure_ascii=False))
    return {"exam": "exam.jsonl", "filters": "length,contamination", "set": {"length": {"max_prompt": 40}}}


def of_no_seed(run: Path, texts: list[str]) -> str:
    """A piece of one of the texts that no seed has a part of, so that only variants repeat it."""
    asked = curated(run).filter(pl.col("generator") == "seed")["prompt"].to_list()
    pieces = (text[i : i + 14] for text in texts for i in range(len(text) - 13))
    return next(one for one in pieces if not any(one[i : i + 6] in each for each in asked for i in range(9)))


def test_an_accepted_row_that_no_filter_held_against_the_exam_is_held_against_it(place):
    first = made(place, filters="length", set={"length": {"max_prompt": 40}}, incremental=None).path
    text = of_no_seed(first, out(first)["prompt"].to_list())
    flags = {**examined(place, text), "filters": "length"}
    run = made(place, **flags).path
    sitting = sit(run, sizes=(0, 500))
    hit = next(id for id in rejected(sitting, "length") if text in sitting.rows[id]["prompt"])
    with pytest.raises(Refused, match="contains an exam question, so it can never be published"):
        sitting.decide(hit, "accept")
    assert sitting.desk.made() == []
    forged = dataclasses.replace(_decided(sitting, rejected(sitting, "length")[-1]), row=hit, seen=_seen(sitting, hit))
    append(run, forged)
    new = publish(run).path
    assert row(curated(new), hit) is None
    assert row(out(new), hit)["dropped_by"] == "contamination"
    assert accounted(new)["rejected"]["contamination"]["contains an exam question"] >= 1
    last = grown(21, **flags)
    assert row(curated(last), hit) is None


def _decided(sitting, id):
    sitting.decide(id, "accept")
    return sitting.desk.made()[-1]


def _seen(sitting, id):
    return {name: value for name, value in sitting.rows[id].items() if value is not None}


def test_an_edit_may_not_write_the_exam_into_the_data(place):
    run = made(place, **examined(place, "这是一道要保密的考试题目请勿外传")).path
    sitting = sit(run)
    with pytest.raises(Refused, match="contains an exam question"):
        sitting.decide(kept(sitting)[0], "edit", prompt="请问这是一道要保密的考试题目请勿外传对吗")
    assert not (run / DECISIONS).exists()
    sitting.decide(kept(sitting)[0], "edit", prompt="请问这是别的问题对吗")


def test_a_row_that_the_exam_filter_dropped_is_neither_shown_nor_accepted(place):
    first = made(place, filters="none", set={}, incremental=None).path
    variants = curated(first).filter(pl.col("generator") != "seed", pl.col("prompt").str.len_chars() <= 40)
    run = made(place, **examined(place, of_no_seed(first, variants["prompt"].to_list()))).path
    copies = out(run).filter(pl.col("dropped_by") == "contamination", pl.col("generator") != "seed")
    assert len(copies)
    sitting = sit(run, sizes=(500, 500))
    assert not set(copies["id"]) & set(sitting.order)
    sitting.rows[copies["id"][0]] = copies.row(0, named=True)
    for verdict in ("accept", "edit"):
        with pytest.raises(Refused, match="dropped by contamination .* cannot be published"):
            sitting.decide(copies["id"][0], verdict, prompt="另一个问法")


def test_without_the_exam_at_hand_nothing_unsifted_is_published(place):
    run = made(place, **examined(place, "这是一道要保密的考试题目请勿外传")).path
    sitting = sit(run)
    sitting.decide(rejected(sitting)[0], "accept")
    (place / "exam.jsonl").rename(place / "away.jsonl")
    with pytest.raises(RunError, match="must be held against the exam, and seeds.jsonl cannot be read: .*--path"):
        publish(run)
    assert [each.name for each in run.parent.iterdir()] == [run.name]
    sitting.decide(rejected(sitting)[0], "undo")
    sitting.decide(kept(sitting)[0], "reject")
    assert publish(run).put_out == 1, "what only takes rows away needs no exam"


def test_seeds_are_the_sources_and_no_review_changes_them(place):
    run = made(place).path
    sitting = sit(run, sizes=(500, 500))
    ids = curated(run).filter(pl.col("generator") == "seed")["id"]
    assert not set(ids) & set(sitting.order)
    with pytest.raises(Refused, match="no row"):
        sitting.decide(ids[0], "reject")


def test_a_source_row_that_is_gone_takes_its_accepted_variants_along(place):
    sitting = sit(made(place).path)
    id = rejected(sitting)[0]
    sitting.decide(id, "accept")
    publish(sitting.desk.folder)
    lines = (place / "seeds.jsonl").read_text().splitlines()
    seed = sitting.seeds[sitting.rows[id]["parents"][0]]["prompt"]
    (place / "seeds.jsonl").write_text("\n".join(line for line in lines if json.loads(line)["question"] != seed))
    last = curate(plan_of(source="seeds.jsonl", **FLAGS)).path
    assert row(curated(last), id) is None
    accounted(last)


def test_a_total_is_reviewed_too(place):
    run = made(place, n="50", incremental=None).path
    sitting = sit(run)
    sitting.decide(kept(sitting)[0], "reject")
    done = publish(run)
    assert (done.short, accounted(done.path)["kept"]) == (0, accounted(run)["kept"] - 1)


def test_a_form_of_words_that_the_seeds_have_too_is_no_copy_of_the_exam(place):
    def asked(years, degrees):
        return f"我{years}岁的孩子发烧{degrees}度要不要吃药"

    lines = [{"question": asked(each, 38 + each), "answer": f"先看精神，第{each}天去医院。"} for each in range(1, 5)]
    (place / "fever.jsonl").write_text("\n".join(json.dumps(each) for each in lines), "utf-8")
    (place / "exam.jsonl").write_text(json.dumps({"question": asked(9, 37), "answer": "不用。"}), "utf-8")
    flags = {"source": "fever.jsonl", "exam": "exam.jsonl", "filters": "length", "set": {}}
    run = made(place, **flags).path
    assert len(curated(run).filter(pl.col("generator") == "seed")) == 4
    sitting = sit(run)
    sitting.decide(kept(sitting)[0], "edit", prompt=asked(6, 39))
    new = publish(run).path
    assert asked(6, 39) in curated(new)["prompt"].to_list()
    (place / "fever.jsonl").write_text(json.dumps({"question": "失眠怎么办，要吃药吗", "answer": "先别急。"}), "utf-8")
    alone = sit(made(place, **flags).path)
    with pytest.raises(Refused, match="an exam question with some characters changed"):
        alone.decide(kept(alone)[0], "edit", prompt=asked(6, 39))
