"""`--validation` holds seeds out beside the exam, `--n-by-label` makes more of some labels than of others."""

from __future__ import annotations

import json

import polars as pl
import pytest

from augment.recipe import read_recipe
from augment.records import SCHEMA
from augment.reopen import sources_of
from augment.validation import validation_of
from finetune.evaluation.exam import open_exam


def rows_of(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("generator") != "seed")


def test_validation_rows_are_held_out_of_everything_but_the_source(augment, place):
    ran = augment("text", "--source", "sample", "--n", "2x", "--validation", "20%", "--out", "r")
    assert ran.code == 0, ran.err
    assert "27 seeds are held out beside the exam, for validation" in ran.err
    assert "160 rows in = 101 seeds + 59 exam + 0 rejected + 0 unused" in ran.out
    source, exam = sources_of(read_recipe({"source": "sample", "validation": 0.2}))
    assert len(source.validation) == 27
    assert not set(source.validation["id"]) & set(source.seeds["id"])
    assert set(source.validation["id"]) < set(exam["id"])
    curated = pl.read_parquet(place / "r/curated/train.parquet")
    assert not set(curated["prompt"]) & set(source.validation["prompt"])
    assert augment("verify", "r").code == 0


def test_the_exam_of_a_run_has_no_row_that_was_steered_by(augment, place):
    augment("text", "--source", "sample", "--n", "1x", "--validation", "20%", "--out", "r")
    source, _ = sources_of(read_recipe({"source": "sample", "validation": 0.2}))
    asked = open_exam(file="r").rows
    assert len(asked) == 32
    assert not set(asked["id"]) & set(source.validation["id"])


def test_each_label_has_its_share_and_keeps_a_seed():
    labels = ["a"] * 10 + ["b"] * 2 + ["c"]
    seeds = pl.DataFrame(
        {
            "id": [f"{n}" for n in range(13)],
            "prompt": [f"{label}问题{n}" for n, label in enumerate(labels)],
            "label": labels,
        },
        schema={name: SCHEMA[name] for name in ("id", "prompt", "label")},
    )
    held = validation_of(seeds, 0.2, 0)
    assert dict(held["label"].value_counts().iter_rows()) == {"a": 2, "b": 1}
    assert held.equals(validation_of(seeds.reverse(), 0.2, 0).reverse())
    more = pl.concat([seeds, pl.DataFrame({"id": ["x"], "prompt": ["d又一个"], "label": ["d"]}, schema=seeds.schema)])
    assert validation_of(more, 0.2, 0)["id"].to_list() == held["id"].to_list()
    assert not validation_of(seeds, 0.2, 1).equals(held)


def test_a_seed_that_nearly_repeats_a_validation_row_goes_with_it(place):
    rows = [{"question": f"第{n}天发烧到{38 + n / 10}度要不要吃退烧药", "answer": f"先量体温{n}次。"} for n in range(8)]
    (place / "rows.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    before, _ = sources_of(read_recipe({"source": "rows.jsonl", "validation": 0.2}))
    (twin, *_) = before.validation["prompt"].to_list()
    rows.append({"question": f"{twin}？", "answer": "又问一次。"})
    (place / "rows.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    source, _ = sources_of(read_recipe({"source": "rows.jsonl", "validation": 0.2}))
    assert f"{twin}？" not in source.seeds["prompt"].to_list()


def test_labels_with_an_n_of_their_own_get_that_many(augment, place):
    told = ("--n-by-label", "anxiety=4x,sleep=3x")
    ran = augment("text", "--source", "sample", "--n", "2x", *told, "--out", "r")
    assert ran.code == 0, ran.err
    curated = pl.read_parquet(place / "r/curated/train.parquet")
    seeds = dict(curated.filter(pl.col("generator") == "seed")["label"].value_counts().iter_rows())
    made = dict(rows_of(curated)["label"].value_counts().iter_rows())
    for label, count in seeds.items():
        assert made[label] == {"anxiety": 4, "sleep": 3}.get(label, 2) * count
    assert json.loads((place / "r/summary.json").read_text())["target"] == sum(made.values())


def test_more_of_a_label_asks_for_what_is_new_alone(augment, place):
    augment("text", "--source", "sample", "--n", "2x", "--out", "few")
    augment("text", "--source", "sample", "--n", "2x", "--n-by-label", "sleep=4x", "--out", "more")
    few, more = (rows_of(pl.read_parquet(place / name / "curated/train.parquet")) for name in ("few", "more"))
    assert set(few["id"]) < set(more["id"])
    assert set(more.filter(~pl.col("id").is_in(few["id"].implode()))["label"]) == {"sleep"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--n-by-label", "sleeep=4x"], "no seed of sample has that label; known: adolescence"),
        (["--n-by-label", "sleep=4"], "'4' for 'sleep' is not so many for each seed; write 8x"),
        (["--n-by-label", "sleep=4x", "--n", "40"], "write --n as 5x"),
        (["--n-by-label", "sleep=4x", "--balance", "label"], "leave out --balance"),
        (["--validation", "all"], "validation"),
        (["--validation", "100%"], "validation"),
    ],
)
def test_what_makes_no_sense_is_one_line(augment, words, told):
    ran = augment("text", "--source", "sample", *words)
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("\n") <= 2


def test_a_run_as_a_source_is_parted_where_it_was_made(augment, place):
    augment("text", "--source", "sample", "--n", "1x", "--out", "r")
    ran = augment("text", "--source", "r", "--n", "1x", "--validation", "10%")
    assert ran.code == 2
    assert "hold them out there" in ran.err
