"""A published run as a source: what it published, its exam and its families."""

from __future__ import annotations

import json

import polars as pl
import pytest

from augment.errors import SourceError
from augment.pipeline import curate
from augment.recipe import read_recipe
from augment.reopen import sources_of
from augment.sources import open_source
from tests.review.runs import curated, out
from tests.test_pipeline import plan_of, seeds

FLAGS = {"n": "3x", "generators": "paraphrase,persona", "filters": "length", "set": {"length": {"max_prompt": 45}}}


@pytest.fixture
def run(place):
    """A run of 30 seeds of which some are held out, with rejected rows."""
    return curate(plan_of(source=seeds(place, 30), holdout="30%", **FLAGS)).path


def read(run, **flags):
    return sources_of(read_recipe({"source": str(run), **flags}, None, "text"))


def held_out(source):
    return open_source(str(source), holdout=0.3).exam["prompt"].to_list()


def test_what_a_run_rejected_is_no_seed_and_what_it_holds_out_stays_the_exam(place, run):
    source, exam = read(run)
    assert len(out(run)) and len(source.rejected) + len(source.seeds) == len(curated(run))
    assert source.seeds["prompt"].to_list() == curated(run)["prompt"].to_list()
    assert exam["prompt"].to_list() == held_out("seeds.jsonl") and 0 < len(exam) < 30
    assert source.rows_in == len(source.seeds) + len(source.exam) + len(source.rejected)
    assert source.name == run.name and any(f"the {len(exam)} rows that it holds out" in each for each in source.notes)


@pytest.mark.parametrize("within", ["curated", "curated/train.parquet"])
def test_its_curated_rows_are_the_run(place, run, within):
    source, exam = read(run / within)
    whole, held = read(run)
    assert source.seeds.equals(whole.seeds) and exam.equals(held) and source.name == whole.name


def test_a_variant_is_held_out_with_its_seed(place, run):
    source, _ = read(run, holdout="60%")
    more = set(source.exam["prompt"]) & set(curated(run)["prompt"])
    rows = curated(run)
    prompts = dict(zip(rows["id"], rows["prompt"], strict=True))
    families = [(row["prompt"], prompts[row["parents"][0]]) for row in rows.iter_rows(named=True) if row["parents"]]
    assert more and len(more) < len(rows)
    assert [(child in more) for child, _ in families] == [(seed in more) for _, seed in families]
    asked = open_source("seeds.jsonl", holdout=0.6)
    published = rows.filter(pl.col("generator") == "seed")["prompt"]
    assert {each for each in published if each in more} == set(asked.exam["prompt"]) - set(held_out("seeds.jsonl"))


def test_a_family_stays_together_through_a_run_of_a_run(place, run):
    second = curate(plan_of(source=str(run), **FLAGS)).path
    summary = json.loads((second / "summary.json").read_bytes())
    assert summary["exam"] == len(held_out("seeds.jsonl"))
    source, exam = read(second, holdout="60%")
    first, _ = read(run, holdout="60%")
    prompts = set(source.seeds["prompt"])
    assert set(held_out("seeds.jsonl")) <= set(exam["prompt"])
    assert set(first.exam["prompt"]).isdisjoint(prompts) and set(first.seeds["prompt"]) <= prompts
    grown = curated(second).filter(pl.col("generator") != "seed")
    owner = dict(zip(curated(second)["id"], curated(second)["prompt"], strict=True))
    for row in grown.iter_rows(named=True):
        assert (row["prompt"] in prompts) == (owner[row["parents"][0]] in prompts)


def test_of_a_run_without_its_seeds_siblings_stay_together(place):
    run = curate(plan_of(source=seeds(place, 30), without_seeds=True, **FLAGS)).path
    source, _ = read(run, holdout="50%")
    held = set(source.exam["prompt"])
    split = curated(run).with_columns(pl.col("prompt").is_in(list(held)).alias("held"))
    by_seed = split.group_by(pl.col("parents").list.first()).agg(pl.col("held").n_unique())["held"]
    assert by_seed.max() == 1 and 0 < split["held"].sum() < len(split)


def test_an_exam_that_cannot_be_read_is_one_line(augment, place, run):
    (place / "seeds.jsonl").rename(place / "moved.jsonl")
    ran = augment("text", "--source", run, "--n", "1x")
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert "must stay held out" in ran.err and "--path" in ran.err
    assert augment("text", "--source", run, "--path", "moved.jsonl", "--n", "1x").code == 0


def test_a_run_that_holds_nothing_out_needs_its_source_no_more(place):
    run = curate(plan_of(source=seeds(place, 5), **FLAGS)).path
    (place / "seeds.jsonl").unlink()
    source, exam = read(run)
    assert exam.is_empty() and len(source.seeds) + len(source.rejected) == len(curated(run))


def test_a_card_that_was_only_sifted_keeps_its_exam(augment, place):
    ran = augment("filter", "sample", "--filters", "length")
    source, exam = read(place / ran.out.splitlines()[-1])
    assert exam["id"].equals(open_source("sample").exam["id"])
    assert set(source.seeds["id"]).isdisjoint(exam["id"]) and len(source.seeds) > 100


def test_pictures_keep_their_exam_and_are_not_split_anew(augment, place):
    made = json.loads(augment("image", "--source", "sample-images", "--n", "1x", "--limit", "4", "--json").out)
    told = json.loads(augment("image", "--source", made["path"], "--n", "1x", "--json").out)
    assert told["exam"] == made["exam"] > 0
    ran = augment("image", "--source", made["path"], "--n", "1x", "--holdout", "20%")
    assert ran.code == 2 and "would part the pictures" in ran.err
    with pytest.raises(SourceError, match="is a source of pictures"):
        open_source(made["path"])


def test_a_card_is_the_card_though_a_run_lies_there_of_its_name(augment, place):
    curate(plan_of(source=seeds(place, 5), out="sample", **FLAGS))
    assert len(read("sample")[0].seeds) == len(open_source("sample").seeds) > 100
