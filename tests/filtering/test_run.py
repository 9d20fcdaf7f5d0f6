"""A finished run sifted anew: by other thresholds, without an answer or a score being made again."""

from __future__ import annotations

import dataclasses
import json

import polars as pl
import pytest

from augment.filtering.edition import filtered
from augment.filtering.of_run import of_run
from augment.manifest import manifest_of
from augment.pipeline import curate
from augment.reopen import reopened
from augment.review.decisions import DECISIONS
from augment.summary import Tally
from tests.review.runs import curated, made, out, sit
from tests.test_pipeline import plan_of, seeds


def sifted(run, names=None, settings=None, **more):
    dataset = of_run(run)
    return filtered(dataset, dataset.chain(names, settings or {}), Tally(), **more)


def kept(folder):
    rows = curated(folder)
    return rows.filter(pl.col("generator") != "seed")["id"].to_list()


def test_the_same_chain_decides_the_same_once_more(place):
    run = made(place).path
    done = sifted(run)
    assert done.summary["filtered"] == {"from": run.name, "let_in": 0, "put_out": 0}
    assert curated(done.path).select(curated(run).columns).equals(curated(run))
    names = ["id", "dropped_by", "reason"]
    assert out(done.path).select(names).sort(names).equals(out(run).select(names).sort(names))


def test_a_looser_threshold_lets_rows_in_and_a_stricter_one_puts_rows_out(place):
    run = made(place).path
    looser = sifted(run, settings={"length": {"max_prompt": 60}})
    assert looser.summary["filtered"]["let_in"] > 0 == looser.summary["filtered"]["put_out"]
    assert set(kept(looser.path)) > set(kept(run))
    stricter = sifted(run, settings={"length": {"max_prompt": 30}})
    assert set(kept(stricter.path)) < set(kept(run))
    assert curated(stricter.path).filter(pl.col("generator") != "seed")["length_prompt"].max() <= 30
    back = sifted(stricter.path, settings={"length": {"max_prompt": 45}})
    assert set(kept(back.path)) == set(kept(run))


def test_seeds_stay_before_their_variants_and_no_row_is_lost(place):
    run = made(place).path
    done = sifted(run, settings={"near_dup": {"threshold": 0.9}, "length": {"max_prompt": 300}})
    rows = curated(done.path)
    assert rows["generator"].to_list().count("seed") == 20
    owner = pl.when(pl.col("generator") == "seed").then("id").otherwise(pl.col("parents").list.first())
    owners = rows.select(owner.alias("id"))["id"].to_list()
    assert [each for at, each in enumerate(owners) if at == 0 or owners[at - 1] != each] == curated(run).filter(
        pl.col("generator") == "seed"
    )["id"].to_list()
    everything = pl.concat([curated(run)["id"], out(run)["id"]]).sort()
    assert pl.concat([rows["id"], out(done.path)["id"]]).sort().equals(everything)
    counts = done.summary
    assert (
        counts["candidates"]
        == counts["kept"] + len(out(done.path))
        == json.loads((run / "summary.json").read_text())["candidates"]
    )


def test_scores_that_are_there_are_not_made_again(place, monkeypatch):
    from filters.length import Length

    run = made(place).path
    asked = []
    score = Length.score
    monkeypatch.setattr(
        Length, "score", lambda self, frame, context: asked.append(len(frame)) or score(self, frame, context)
    )
    sifted(run, settings={"length": {"max_prompt": 60}})
    assert asked == []
    sifted(run, ["length", "facts"], {"length": {"max_prompt": 61}})
    assert asked == []


def test_another_setting_of_a_score_makes_it_anew(place):
    run = made(place).path
    dataset = of_run(run)
    context = dataset.context()
    assert "near_dup" in dataset.held(dataset.chain(None, {"near_dup": {"threshold": 0.8}}), context)
    assert "near_dup" not in dataset.held(dataset.chain(None, {"near_dup": {"n": 3}}), context)


def test_an_exam_that_changed_is_held_against_every_row(augment, place):
    exam = place / "exam.jsonl"
    exam.write_text(json.dumps({"question": "请问怎样给山地自行车的后轮补胎？", "answer": "先拆轮。"}), "utf-8")
    run = curate(plan_of(source=seeds(place), n="1x", filters="contamination,length", exam=str(exam))).path
    victim = curated(run).filter(pl.col("generator") != "seed").row(0, named=True)
    exam.write_text(json.dumps({"question": victim["prompt"], "answer": "不知道，请看医生。"}), "utf-8")
    ran = augment("filter", run)
    assert ran.code == 0 and "contamination scores every row anew: the exam changed since" in ran.err
    assert "length scores" not in ran.err
    done = place / ran.out.splitlines()[-1]
    assert victim["id"] not in kept(done)
    assert "anew" not in augment("filter", done, "--set", "length.max_prompt=60").err


def test_scores_of_other_code_are_made_again(augment, place, monkeypatch):
    from filters import made_with
    from filters.length import Length

    run = made(place).path
    asked = []
    score, code = Length.score, made_with.code_of
    monkeypatch.setattr(
        Length, "score", lambda self, frame, context: asked.append(len(frame)) or score(self, frame, context)
    )
    monkeypatch.setattr(made_with, "code_of", lambda name: "another" if name == "filters.length" else code(name))
    ran = augment("filter", run)
    assert "length scores every row anew: the filter's code changed since" in ran.err
    assert sum(asked) == json.loads((run / "summary.json").read_bytes())["candidates"]
    asked.clear()
    assert "anew" not in augment("filter", place / ran.out.splitlines()[-1], "--set", "length.max_prompt=60").err
    assert asked == []


def test_a_run_that_does_not_say_what_scored_it_is_scored_anew(augment, place):
    run = made(place).path
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    manifest["filters"] = [{key: each[key] for key in ("name", "settings")} for each in manifest["filters"]]
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    ran = augment("filter", run)
    assert "the run does not say what made the scores it has: length\n" in ran.err


def test_a_reviewed_version_keeps_its_scores_and_its_exams(augment, place):
    run = curate(plan_of(source=seeds(place), n="1x", filters="length")).path
    exam = place / "exam.jsonl"
    exam.write_text(json.dumps({"question": "请问怎样给山地自行车的后轮补胎？", "answer": "先拆轮。"}), "utf-8")
    ran = augment("filter", run, "--filters", "length,contamination", "--exam", exam)
    run = place / ran.out.splitlines()[-1]
    session = sit(run)
    session.decide(kept(run)[0], "reject")
    from augment.review.edition import publish

    version = publish(run).path
    assert manifest_of(version)["exams"] == [str(exam)]
    assert manifest_of(version)["filters"] == manifest_of(run)["filters"]
    assert "anew" not in augment("filter", version, "--set", "length.max_prompt=60").err


def test_seeds_that_fall_short_are_listed_anew(place):
    run = made(place).path
    done = sifted(run, settings={"length": {"max_prompt": 30}})
    per_seed = dict(
        curated(done.path)
        .filter(pl.col("generator") != "seed")
        .group_by(pl.col("parents").list.first())
        .len()
        .iter_rows()
    )
    short = {each["id"]: each["kept"] for each in done.summary["seeds_short"]}
    ids = curated(run).filter(pl.col("generator") == "seed")["id"]
    assert short == {id: per_seed.get(id, 0) for id in ids if per_seed.get(id, 0) < 3}


def test_what_people_reject_stays_out_and_what_they_accept_stays_in(place):
    run = made(place).path
    session = sit(run)
    rejected, accepted = kept(run)[0], out(run).filter(pl.col("dropped_by") == "length")["id"][0]
    session.decide(rejected, "reject")
    session.decide(accepted, "accept")
    assert (run / DECISIONS).is_file()
    from augment.review.edition import publish

    version = publish(run).path
    done = sifted(version, settings={"length": {"max_prompt": 300}})
    assert rejected not in kept(done.path)
    done = sifted(version, settings={"length": {"max_prompt": 20}})
    assert accepted in kept(done.path)


def test_a_run_without_its_seeds_is_sifted_beside_its_source(place):
    run = made(place, without_seeds=True).path
    done = sifted(run, settings={"length": {"max_prompt": 60}})
    assert done.summary["filtered"]["let_in"] > 0
    assert curated(done.path).filter(pl.col("generator") == "seed").is_empty()
    (place / "seeds.jsonl").unlink()
    from augment.errors import RunError

    with pytest.raises(RunError, match="from which the run was made, cannot be read"):
        sifted(run, settings={"length": {"max_prompt": 61}})


def test_another_exam_is_held_against_every_row(augment, place):
    run = curate(plan_of(source=seeds(place), n="1x", filters="contamination")).path
    victim = curated(run).filter(pl.col("generator") != "seed").row(0, named=True)
    exam = place / "exam.jsonl"
    exam.write_text(json.dumps({"question": victim["prompt"], "answer": "不知道，请看医生。"}, ensure_ascii=False))
    ran = augment("filter", run, "--exam", exam, "--json")
    assert ran.code == 0
    done = json.loads(ran.out)
    assert sum(done["rejected"]["contamination"].values()) >= 1
    assert victim["id"] not in kept(place / done["path"])


def test_another_exam_is_held_against_rows_that_were_held_against_one_before(augment, place):
    first, second = place / "first.jsonl", place / "second.jsonl"
    first.write_text(
        json.dumps({"question": "请问怎样给山地自行车的后轮补胎？", "answer": "先拆轮。"}, ensure_ascii=False)
    )
    run = curate(plan_of(source=seeds(place), n="1x", filters="contamination", exam=str(first))).path
    assert curated(run).filter(pl.col("generator") != "seed")["contamination_question"].null_count() == 0
    victim = curated(run).filter(pl.col("generator") != "seed").row(0, named=True)
    second.write_text(json.dumps({"question": victim["prompt"], "answer": "不知道，请看医生。"}, ensure_ascii=False))
    ran = augment("filter", run, "--exam", second, "--json")
    assert ran.code == 0
    assert victim["id"] not in kept(place / json.loads(ran.out)["path"])


def test_a_source_that_held_a_copy_of_the_exam_is_not_taken_for_changed(place, caplog):
    source, exam = seeds(place), place / "exam.jsonl"
    exam.write_text((place / source).read_text("utf-8").splitlines()[0], "utf-8")
    run = curate(plan_of(source=source, n="1x", filters="contamination", exam=str(exam))).path
    assert out(run)["dropped_by"].to_list().count("contamination") == 1
    done = sifted(run)
    assert not caplog.records
    assert out(done.path)["id"].equals(out(run)["id"]) and kept(done.path) == kept(run)


def test_selections_choose_among_what_is_kept(place):
    from tests.filtering.selection import First

    plan = plan_of(source=seeds(place, 10), n="3x", filters="length")
    chain = dataclasses.replace(plan.chain, filters=(*plan.chain.filters, First(2)))
    done = curate(dataclasses.replace(plan, chain=chain))
    rows = curated(done.path).filter(pl.col("generator") != "seed")
    assert rows.group_by(pl.col("parents").list.first()).len()["len"].to_list() == [2] * 10
    counts = done.summary.counts
    assert counts["kept"] == 20 and counts["rejected"]["first"] == {"not among the first": 10}
    assert counts["candidates"] == 30 and out(done.path)["dropped_by"].to_list() == ["first"] * 10
    assert rows["first_place"].to_list() == [0, 1] * 10
    line = counts["sieve"][-1]
    assert (line["filter"], line["saw"], line["dropped"]) == ("first", 30, 10)


def test_a_sifted_run_is_no_version_that_an_incremental_run_grows_from(place):
    run = made(place).path
    sifted(run, settings={"length": {"max_prompt": 30}})
    plan = plan_of(source=seeds(place, 21), n="3x", generators="paraphrase,persona", filters="length,near_dup", set={"length": {"max_prompt": 45}, "near_dup": {"threshold": 0.5}}, incremental=True)  # fmt: skip
    assert plan.parent is not None and plan.parent.folder.name == run.name


def test_pictures_are_refused_in_one_line(augment, place):
    made_of = augment("image", "--source", "sample-images", "--n", "1x", "--limit", "2", "--json")
    ran = augment("filter", json.loads(made_of.out)["path"])
    assert ran.code == 2 and ran.err.count("\n") == 1 and "holds pictures" in ran.err


def test_a_seed_that_is_in_a_later_exam_goes_with_all_its_variants(augment, place):
    run = curate(plan_of(source=seeds(place), n="2x", filters="length")).path
    rows = curated(run)
    seed = rows.filter(pl.col("generator") == "seed").row(3, named=True)
    exam = place / "exam.jsonl"
    exam.write_text(json.dumps({"question": seed["prompt"], "answer": seed["response"]}, ensure_ascii=False))
    done = json.loads(augment("filter", run, "--exam", exam, "--json").out)
    after, rejected = curated(place / done["path"]), out(place / done["path"])
    assert seed["id"] not in {*after["id"], *after["parents"].list.first().drop_nulls()}
    assert len(after) == len(rows) - 3
    owners = after.select(pl.coalesce(pl.col("parents").list.first(), "id"))["parents"].to_list()
    assert owners == [each for each in dict.fromkeys(owners) for _ in range(3)], "a seed, then its variants"
    hidden = rejected.filter(pl.col("id") == seed["id"]).row(0, named=True)
    assert (hidden["reason"], hidden["prompt"], hidden["response"]) == ("in the exam", None, None)
    made_of_it = rejected.filter(pl.col("parents").list.first() == seed["id"])
    assert made_of_it["reason"].to_list() == ["made from a row of the exam"] * 2
    assert done["filtered"]["put_out"] == 2
    assert done["rows_in"] == done["seeds"] + done["exam"] + done["source_rejected"] + done["unused"]
    again = json.loads(augment("filter", place / done["path"], "--set", "length.max_prompt=3000", "--json").out)
    assert again["kept"] == done["kept"], "the exam is remembered"
    assert reopened(manifest_of(place / again["path"]))[1]["prompt"].to_list()[-1] == seed["prompt"]


def test_what_a_generator_added_stays_and_facts_are_not_scored_again(augment, place):
    words = ("--source", seeds(place, 6), "--llm", "echo", "--generators", "dialogue", "--n", "1x")
    assert augment("text", *words, "--filters", "facts", "--out", "talks").code in (0, 1)
    before = pl.concat(
        [pl.read_parquet(place / "talks" / name) for name in ("curated/train.parquet", "rejected.parquet")],
        how="diagonal",
    ).filter(pl.col("messages").is_not_null())
    assert len(before)
    ran = augment("filter", "talks", "--filters", "facts", "--set", "facts.check_drugs=false", "--out", "again")
    assert "scores every row anew" not in ran.err
    after = pl.concat(
        [pl.read_parquet(place / "again" / name) for name in ("curated/train.parquet", "rejected.parquet")],
        how="diagonal",
    )
    assert set(after["messages"].drop_nulls()) == set(before["messages"])
