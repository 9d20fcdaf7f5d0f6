"""A run from recipe to files, with the seeded fake: n×, refill, accounting, the exam, resume, bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from augment.engines import EngineOptions, open_engine
from augment.errors import RecipeError, RunError
from augment.pipeline import Curated, curate
from augment.plan import make_plan
from augment.recipe import read_recipe
from augment.records import SCHEMA, VERDICT
from augment.replies import ReplyStore

QUESTIONS = (
    "最近总是失眠，晚上躺下两个小时都睡不着，应该怎么调整作息？",
    "孩子三岁，咳嗽有痰已经一周了，要不要去医院拍片检查？",
    "妈妈血压一直在高位徘徊，换了药以后头晕，是不是药的问题？",
    "工作压力大，周日晚上就开始心慌，这样算不算焦虑症？",
    "膝盖上下楼梯疼，跑步的人还能不能继续跑下去？",
)


def seeds(place: Path, rows: int = 40, name: str = "seeds.jsonl") -> str:
    lines = (
        {"question": f"第{i}号：{QUESTIONS[i % 5]}", "answer": f"这是给第{i}号的回答。", "label": "甲"}
        for i in range(rows)
    )
    (place / name).write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    return name


def run(**flags: object) -> Curated:
    recipe = read_recipe({"llm": "echo", "filters": "none", "generators": "persona", **flags})
    return curate(make_plan(recipe, open_engine(recipe.llm, EngineOptions())))


def curated(done: Curated) -> pl.DataFrame:
    return pl.read_parquet(done.path / "curated/train.parquet")


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
    limit = int(variants(unsifted)["prompt"].str.len_chars().median())
    done = run(
        source=source,
        n="3x",
        out=place / "b",
        filters="length",
        set={"length": {"max_prompt": limit}},
        max_attempts="9x",
    )
    counts = done.summary.counts
    assert counts["candidates"] > 120
    assert counts["kept"] == 120 - sum(each["target"] - each["kept"] for each in counts["seeds_short"])
    assert counts["kept"] > 100
    assert variants(done)["prompt"].str.len_chars().max() <= limit


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


def test_the_exam_reaches_no_generator_and_no_file(place):
    source = seeds(place)
    done = run(source=source, n="2x", holdout=0.4)
    plan_exam = make_plan(
        read_recipe({"source": source, "llm": "echo", "filters": "none", "generators": "persona", "holdout": 0.4}), None
    ).exam
    assert len(plan_exam) > 5
    held = set(plan_exam["id"])
    rows = curated(done)
    assert not held & set(rows["id"])
    assert not held & set(rows["parents"].explode().drop_nulls())
    with ReplyStore(place / "home/replies.sqlite") as store:
        sent = " ".join(json.dumps(store.asked(key)[0], ensure_ascii=False) for key in variants(done)["reply_key"])
    assert not any(prompt in sent for prompt in plan_exam["prompt"])


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
