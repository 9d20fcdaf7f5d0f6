"""A run from recipe to files, with the seeded fake: n×, refill, accounting, the exam, resume, bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
import threading
from itertools import chain
from pathlib import Path

import polars as pl
import pytest

from augment.engines import EngineOptions, open_engine
from augment.errors import Interrupted, RecipeError, RunError
from augment.pipeline import Curated, _unfinished, curate
from augment.places import data_dir
from augment.plan import Plan, make_plan
from augment.recipe import read_recipe
from augment.records import SCHEMA, VERDICT, Rejected, Reply
from augment.sources import open_source


def seeds(place: Path, rows: int = 40, name: str = "seeds.jsonl") -> str:
    """A file of unlike questions, the sample's."""
    texts = [path.read_text("utf-8").splitlines() for path in sorted((data_dir() / "sample").glob("*_zh.jsonl"))]
    asked = [json.loads(line)["question"] for line in chain.from_iterable(texts)][:rows]
    lines = (
        {"question": f"第{i}号：{each}", "answer": f"这是给第{i}号的回答。", "label": "甲"}
        for i, each in enumerate(asked)
    )
    (place / name).write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    return name


def plan_of(**flags: object) -> Plan:
    recipe = read_recipe({"llm": "echo", "filters": "none", "generators": "persona", **flags})
    engine = open_engine(recipe.llm, EngineOptions()) if recipe.llm else None
    return make_plan(recipe, engine)


def run(**flags: object) -> Curated:
    return curate(plan_of(**flags))


def curated(done: Curated) -> pl.DataFrame:
    return pl.read_parquet(done.path / "curated/train.parquet", glob=False)


def variants(done: Curated) -> pl.DataFrame:
    return curated(done).filter(pl.col("generator") != "seed")


def test_n_times_means_n_kept_for_every_seed(place):
    done = run(source=seeds(place), n="3x")
    assert variants(done).group_by(pl.col("parents").list.first()).len()["len"].to_list() == [3] * 40
    assert done.summary.counts["kept"] == done.summary.counts["target"] == 120


def test_a_total_is_spread_over_the_seeds(place):
    done = run(source=seeds(place), n="50")
    counts = variants(done).group_by(pl.col("parents").list.first()).len()["len"]
    assert counts.sum() == 50
    assert set(counts) == {1, 2}


def test_rejected_candidates_are_refilled_until_n_is_met(place):
    source = seeds(place)
    unsifted = run(source=source, n="3x", out=place / "a")
    longer = variants(unsifted).join(curated(unsifted), left_on=pl.col("parents").list.first(), right_on="id")
    limit = (
        longer.select(pl.col("prompt").str.len_chars() / pl.col("prompt_right").str.len_chars()).to_series().median()
    )
    done = run(
        source=source,
        n="3x",
        out=place / "b",
        filters="length",
        set={"length": {"max_ratio_prompt": limit}},
        max_attempts="9x",
    )
    counts = done.summary.counts
    assert counts["candidates"] > 120
    assert counts["kept"] == 120 - sum(each["target"] - each["kept"] for each in counts["seeds_short"])
    assert counts["kept"] > 100
    assert variants(done)["length_ratio_prompt"].max() <= limit


def test_a_seed_that_cannot_reach_n_is_listed_with_its_counts(place):
    done = run(source=seeds(place, 4), n="2x", filters="length", set={"length": {"max_prompt": 5}})
    assert done.summary.counts["kept"] == 0
    assert [(each["target"], each["kept"], each["candidates"]) for each in done.summary.counts["seeds_short"]] == [
        (2, 0, 6)
    ] * 4


def test_every_row_is_accounted_for_in_the_files(place):
    source = seeds(place, 30)
    with Path(source).open("a") as file:
        file.write("\n{broken\n" + json.dumps({"question": " "}) + "\n" + Path(source).read_text().splitlines()[0])
    done = run(source=source, n="2x", filters="length", set={"length": {"max_prompt": 45}}, holdout=0.3, limit=10)
    counts = done.summary.counts
    rejected = pl.read_parquet(done.path / "rejected.parquet")
    assert counts["rows_in"] == 33
    assert counts["rows_in"] == counts["seeds"] + counts["exam"] + counts["source_rejected"] + counts["unused"]
    assert counts["source_rejected"] == 3 == len(rejected.filter(pl.col("dropped_by") == "source"))
    dropped = sum(sum(each.values()) for each in counts["rejected"].values())
    assert counts["candidates"] == counts["kept"] + dropped + counts["failed"]
    assert len(rejected) == dropped + counts["source_rejected"]
    assert len(variants(done)) == counts["kept"]
    assert rejected["reason"].null_count() == 0


def everything_sent(place: Path) -> str:
    with sqlite3.connect(place / "home/replies.sqlite") as store:
        return "".join(row[0] for row in store.execute("select request from replies"))


def everything_written(done: Curated) -> str:
    frames = [pl.read_parquet(done.path / name) for name in ("curated/train.parquet", "rejected.parquet")]
    texts = [path.read_text() for path in done.path.iterdir() if path.suffix in {".json", ".md"}]
    return "".join(str(frame.to_dicts()) for frame in frames) + "".join(texts)


@pytest.mark.parametrize("filters", ["none", "default"])
def test_the_exam_reaches_no_generator_and_no_file(place, filters):
    source = seeds(place)
    file = Path(source)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, *lines[:20], *(line.replace("这是给", "另一个给") for line in lines)]))
    held = open_source(source, holdout=0.4).exam
    done = run(source=source, n="2x", holdout=0.4, filters=filters)
    assert held["prompt"].n_unique() > 5
    sent, written = everything_sent(place), everything_written(done)
    assert len(sent) > 1000
    for prompt in held["prompt"]:
        assert prompt not in sent
        assert prompt not in written
    assert not set(held["id"]) & set(curated(done)["id"])


def test_a_further_exam_is_kept_out_whatever_the_filters(place):
    source = seeds(place)
    lines = Path(source).read_text().splitlines()
    (place / "exam.jsonl").write_text("\n".join(lines[:15]))
    done = run(source=source, n="1x", exam="exam.jsonl", filters="none")
    assert done.summary.counts["seeds"] == 25
    sent, written = everything_sent(place), everything_written(done)
    for line in lines[:15]:
        assert json.loads(line)["question"] not in sent
        assert json.loads(line)["question"] not in written


def test_all_columns_are_typed_in_every_file(place):
    done = run(source=seeds(place), n="1x", filters="length")
    for name, extra in (("curated/train.parquet", {}), ("rejected.parquet", VERDICT)):
        found = pl.read_parquet_schema(done.path / name)
        for column, dtype in {**SCHEMA, **extra}.items():
            assert found[column] == dtype, (name, column)
        assert pl.Null not in found.values()


def test_each_row_says_where_it_comes_from(place):
    done = run(source=seeds(place), n="2x")
    rows = variants(done)
    assert rows.select("engine", "model").unique().rows() == [("echo", "echo-1")]
    assert rows["template"].str.starts_with("persona.zh@").all()
    assert rows.select("id", "seed", "reply_key").null_count().sum_horizontal().item() == 0
    assert rows["id"].n_unique() == rows["reply_key"].n_unique() == len(rows)
    assert set(rows["variant"]) == {0, 1}
    assert (curated(done).filter(pl.col("generator") == "seed")["parents"].list.len() == 0).all()


def test_without_seeds_leaves_them_out(place):
    done = run(source=seeds(place), n="1x", without_seeds=True)
    assert set(curated(done)["generator"]) == {"persona"}


def test_a_warm_rerun_asks_nothing_and_writes_the_same_bytes(place):
    source = seeds(place)
    first = run(source=source, n="3x")
    before = {
        name: (first.path / name).read_bytes() for name in ("curated/train.parquet", "rejected.parquet", "README.md")
    }
    again = run(source=source, n="3x")
    assert again.summary.counts["requests_sent"] == 0
    assert again.summary.counts["replies_reused"] == 120
    assert {name: (again.path / name).read_bytes() for name in before} == before


def test_more_variants_ask_only_for_the_new_ones(place):
    source = seeds(place)
    run(source=source, n="5x")
    assert run(source=source, n="8x").summary.counts["requests_sent"] == 3 * 40


def test_an_edited_seed_is_the_only_one_asked_again(place):
    source = seeds(place)
    run(source=source, n="3x", out=place / "a")
    file = Path(source)
    file.write_text(file.read_text().replace("第7号", "第七号"))
    assert run(source=source, n="3x", out=place / "b").summary.counts["requests_sent"] == 3


def test_another_generator_leaves_the_first_ones_replies_valid(place):
    source = seeds(place)
    run(source=source, n="2x", out=place / "a")
    done = run(source=source, n="4x", generators="persona,paraphrase", out=place / "b")
    assert done.summary.counts["requests_sent"] == 2 * 40
    assert {name: each["kept"] for name, each in done.summary.counts["per_generator"].items()} == {
        "paraphrase": 80,
        "persona": 80,
    }


def test_weights_share_the_variants(place):
    done = run(source=seeds(place), n="6x", generators="persona:2,paraphrase:1")
    assert {name: each["kept"] for name, each in done.summary.counts["per_generator"].items()} == {
        "paraphrase": 80,
        "persona": 160,
    }


def test_another_recipe_seed_gives_other_variants(place):
    source = seeds(place)
    first, second = run(source=source, n="1x", seed=0), run(source=source, n="1x", seed=1)
    assert not set(variants(first)["prompt"]) & set(variants(second)["prompt"])


def test_the_manifest_holds_the_hash_of_every_file(place):
    done = run(source=seeds(place), n="1x")
    manifest = json.loads((done.path / "manifest.json").read_text())
    written = {
        str(path.relative_to(done.path)) for path in done.path.rglob("*") if path.is_file() and path.name[0] != "."
    }
    assert set(manifest["files"]) == written - {"manifest.json"}
    for name, each in manifest["files"].items():
        assert hashlib.sha256((done.path / name).read_bytes()).hexdigest() == each["sha256"]


def test_datasets_reads_the_run_with_no_help(place):
    import datasets

    done = run(source=seeds(place), n="2x")
    loaded = datasets.load_dataset(str(done.path), cache_dir=str(place / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 120}


def test_a_folder_that_is_not_ours_is_never_written_to(place):
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not empty and not a run folder"):
        run(source=seeds(place), out=place / "mine")
    assert [path.name for path in (place / "mine").iterdir()] == ["thesis.txt"]


def test_another_recipes_run_is_replaced_only_when_told(place):
    source = seeds(place)
    run(source=source, n="1x", out=place / "r")
    with pytest.raises(RunError, match="holds another run.*--overwrite"):
        run(source=source, n="2x", out=place / "r")
    assert len(variants(run(source=source, n="2x", out=place / "r", overwrite=True))) == 80


def test_generators_that_need_an_llm_say_so(place):
    with pytest.raises(RecipeError, match="generator 'persona' needs an LLM; add --llm"):
        make_plan(read_recipe({"source": seeds(place), "generators": "persona"}), None)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"generators": "paraphras"}, "no generator called 'paraphras'; did you mean paraphrase?"),
        ({"filters": "lenght"}, "no filter called 'lenght'; did you mean length?"),
        ({"filters": "length", "set": {"length": {"mx": 1}}}, "filter 'length' has no setting 'mx'; known:"),
        (
            {"filters": "length", "set": {"near_dup": {"threshold": 1}}},
            "'near_dup' has settings but is not in the chain",
        ),
    ],
)
def test_unknown_names_are_said_with_what_exists(place, flags, said):
    with pytest.raises(RecipeError, match=said):
        make_plan(read_recipe({"source": seeds(place), "llm": "echo", **flags}), None)


def test_the_outcome_does_not_depend_on_the_size_of_shards(place, monkeypatch):
    source = seeds(place)
    flags = {"source": source, "n": "3x", "filters": "length,exact_dup,near_dup"}
    whole = variants(run(**flags, out=place / "a"))
    monkeypatch.setattr("augment.quota.SHARD", 7)
    small = variants(run(**flags, out=place / "b"))
    assert small.equals(whole)


def test_an_answer_that_the_model_did_not_end_is_never_data():
    for finish, said in {"length": "truncated", "content_filter": "ended by content_filter"}.items():
        assert _unfinished(Reply("k", "我想问一下我妈", finish)).reason == said
    assert _unfinished(Reply("k", "我想问一下我妈吃药的事", "stop")) is None


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("near_dup", {"threshold": "abc"}, "near_dup.threshold: .*number.*'abc'"),
        ("near_dup", {"threshold": float("nan")}, "near_dup.threshold: nan is no number"),
        ("near_dup", {"threshold": 7}, "near_dup.threshold: .*less than or equal to 1"),
        ("near_dup", {"n": 0}, "near_dup.n: .*greater than"),
        ("length", {"max_prompt": [1]}, "length.max_prompt: .*integer"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_named(place, name, setting, said):
    recipe = read_recipe({"source": seeds(place), "llm": "echo", "filters": name, "set": {name: setting}})
    with pytest.raises(RecipeError, match=said):
        make_plan(recipe, None)


def test_a_lock_file_alone_makes_no_folder_ours(place):
    (place / "mine").mkdir()
    (place / "mine/.lock").touch()
    (place / "mine/README.md").write_text("my own words")
    with pytest.raises(RunError, match="not a run folder"):
        run(source=seeds(place), out=place / "mine")
    assert (place / "mine/README.md").read_text() == "my own words"


def test_a_folder_that_cannot_be_made_is_one_line(place):
    (place / "file").write_text("x")
    with pytest.raises(RunError, match="cannot write to the run folder"):
        run(source=seeds(place), out=place / "file/r")


def test_nothing_about_the_server_or_this_machine_is_published(place):
    done = run(source=seeds(place), n="1x", base_url="http://secret-host/v1")
    assert "secret-host" not in everything_written(done)
    assert str(place) not in everything_written(done)


def test_rules_stop_asking_a_seed_that_has_no_further_variant(place):
    done = run(source=seeds(place, 3), n="5000x", llm=None, generators="rules", filters="none")
    counts = done.summary.counts
    assert counts["rejected"]["reply"]["no further variant"] <= 3 * 64
    assert len(counts["seeds_short"]) == 3


def test_a_run_folder_may_hold_any_character(place):
    done = run(source=seeds(place), n="1x", out=place / "[red]*r")
    assert len(variants(done)) == 40


def test_seeds_beyond_the_limit_are_counted_as_unused(place):
    done = run(source=seeds(place), n="1x", limit=10)
    assert (done.summary.counts["seeds"], done.summary.counts["unused"]) == (10, 30)
    assert len(variants(done)) == 10


def test_no_request_is_made_twice_in_a_run(place):
    rows = variants(run(source=seeds(place), n="6x", generators="persona:2,paraphrase"))
    assert rows["reply_key"].n_unique() == 240


def test_equal_texts_of_different_variants_keep_ids_of_their_own(place, monkeypatch):
    for name in ("persona", "paraphrase"):
        monkeypatch.setattr(
            f"augment.generators.{name}.read_question",
            lambda record, reply: dataclasses.replace(record, prompt="同一句话"),
        )
    rows = variants(run(source=seeds(place), n="4x", generators="persona,paraphrase"))
    assert rows["id"].n_unique() == 160


def test_every_curated_row_is_of_the_training_split(place):
    assert set(curated(run(source=seeds(place), n="1x"))["split"]) == {"train"}


def test_an_unusable_reply_is_kept_to_be_looked_at(place, monkeypatch):
    monkeypatch.setattr("augment.generators.persona.read_question", lambda record, reply: Rejected("empty"))
    rejected = pl.read_parquet(run(source=seeds(place), n="1x").path / "rejected.parquet")
    assert set(rejected["reason"]) == {"empty"}
    assert rejected["detail"].str.len_chars().min() > 0


def test_a_run_told_to_stop_before_it_begins_is_interrupted(place):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        curate(plan_of(source=seeds(place), llm=None, generators="rules"), stop=stop)
