"""What other thresholds would keep, and the rows at their edge."""

from __future__ import annotations

import dataclasses
import json

import polars as pl

from augment.filtering import compare
from augment.filtering import of_run as reading
from augment.filtering.compare import compared
from augment.filtering.of_run import of_run
from tests.filtering.test_run import sifted
from tests.review.runs import curated, made, out


def test_each_value_keeps_what_sifting_with_it_keeps(place):
    run = made(place).path
    found = compared(of_run(run), "length.max_prompt", ["20", "45", "300"])
    assert [each["value"] for each in found["values"]] == [20, 45, 300]
    for each in found["values"]:
        done = sifted(run, settings={"length": {"max_prompt": each["value"]}})
        assert (each["kept"], each["let_in"], each["put_out"]) == (
            done.summary["kept"],
            done.summary["filtered"]["let_in"],
            done.summary["filtered"]["put_out"],
        )
    assert found["now"]["value"] == 45 and found["now"]["let_in"] == found["now"]["put_out"] == 0
    assert not any((run.parent / name).exists() for name in ("compare", ".work"))


def test_the_rows_at_the_edge_are_the_nearest_on_each_side(place):
    run = made(place).path
    edge = compared(of_run(run), "length.max_prompt", ["45"], examples=1)["values"][0]["edge"]
    rows = pl.concat([curated(run), out(run)], how="diagonal").filter(pl.col("length_prompt").is_not_null())
    over = rows.filter(pl.col("length_prompt") > 45)["length_prompt"].min()
    kept = rows.filter(pl.col("dropped_by").is_null())["length_prompt"].max()
    assert [(each["verdict"], each["length_prompt"]) for each in edge] == [("dropped", over), ("kept", kept)]
    assert all(each["prompt"] for each in edge)


def test_a_near_duplicate_is_shown_beside_the_row_that_it_repeats(place):
    run = made(place).path
    edge = compared(of_run(run), "near_dup.threshold", ["0.3"], examples=3)["values"][0]["edge"]
    beside = [each["beside"] for each in edge if each["verdict"] == "dropped"]
    texts = {*curated(run)["prompt"], *out(run)["prompt"]}
    assert beside and set(beside) <= texts


def test_rows_are_read_block_by_block_and_blocks_do_not_matter(place, monkeypatch):
    run = made(place).path
    whole = compared(of_run(run), "near_dup.threshold", ["0.3", "0.6"], examples=3)
    monkeypatch.setattr(reading, "BLOCK", 7)
    dataset, drawn = of_run(run), []
    blocks = dataset.blocks
    counted = dataclasses.replace(dataset, blocks=lambda: (drawn.append(len(each)) or each for each in blocks()))
    next(compare._decided(counted, dataset.chain(None, {}), dataset.context()))
    assert len(drawn) == 1 and drawn[0] <= 7
    assert compared(dataset, "near_dup.threshold", ["0.3", "0.6"], examples=3) == whole


def test_what_chooses_among_all_rows_is_compared_as_it_sifts(place):
    run = sifted(made(place).path, ["length", "top_k"], {"top_k": {"k": 1, "by": "length_prompt"}}).path
    (value,) = compared(of_run(run), "length.max_prompt", ["30"])["values"]
    done = sifted(run, settings={"length": {"max_prompt": 30}})
    moved = done.summary["filtered"]
    assert (value["kept"], value["let_in"], value["put_out"]) == (
        done.summary["kept"],
        moved["let_in"],
        moved["put_out"],
    )
    assert value["let_in"] > 0 < value["put_out"]


def test_the_command_prints_a_line_a_value(augment, place):
    run = made(place).path
    ran = augment("compare-thresholds", run, "length.max_prompt", "30", "60")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert any(line.split()[:2] == ["45", "(now)"] for line in lines)
    assert sum(line.strip().startswith(("30 ", "60 ")) for line in lines) == 2
    assert any("at the edge of length.max_prompt = 30" in line for line in lines)
    found = json.loads(augment("compare-thresholds", run, "length.max_prompt", "30", "--json").out)
    assert found["values"][0]["put_out"] > 0


def test_what_is_no_threshold_is_said_in_one_line(augment, place):
    run = made(place).path
    for words, told in (
        (("near_dup.n", "3"), "is no threshold"),
        (("near_dup", "3"), "is not FILTER.SETTING"),
        (("facts.x", "3"), "filter 'facts' is not in the chain"),
        (("length.x", "3"), "has no setting 'x'"),
        (("length.max_prompt", "many"), "length.max_prompt"),
    ):
        ran = augment("compare-thresholds", run, *words)
        assert ran.code == 2 and told in ran.err and ran.err.count("\n") == 1, ran.err
