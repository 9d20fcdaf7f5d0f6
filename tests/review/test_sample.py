"""Which rows are shown: the same ones every time, at random, and every reason among them."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from augment.errors import RunError
from augment.review.sample import kept_sample, population, rejected_sample
from augment.review.session import Desk
from tests.review.runs import curated, kept, made, out, rejected, sit


@pytest.fixture
def run(place):
    return made(place).path


def strata(run):
    return population(run).rejected


def test_the_same_seed_shows_the_same_rows_and_another_one_others(run):
    assert kept_sample(run, 20, 0) == kept_sample(run, 20, 0)
    assert kept_sample(run, 20, 0) != kept_sample(run, 20, 1)
    assert rejected_sample(run, 20, 0, strata(run)) == rejected_sample(run, 20, 0, strata(run))


def test_a_larger_sample_begins_with_the_smaller(run):
    assert kept_sample(run, 30, 0)[:10] == kept_sample(run, 10, 0)
    assert rejected_sample(run, 30, 0, strata(run))[:10] == rejected_sample(run, 10, 0, strata(run))


def test_kept_rows_are_as_likely_wherever_they_stand(run):
    variants = curated(run).filter(pl.col("generator") != "seed")["id"].to_list()
    counts = Counter(id for seed in range(300) for id in kept_sample(run, 10, seed))
    expected = 300 * 10 / len(variants)
    chi = sum((counts[id] - expected) ** 2 / expected for id in variants)
    assert chi < len(variants) + 5 * (2 * len(variants)) ** 0.5


def test_every_reason_is_seen_early(run):
    reasons = dict.fromkeys(
        out(run).filter(pl.col("dropped_by") != "source").select("dropped_by", "reason").iter_rows()
    )
    assert len(reasons) > 1
    first = rejected_sample(run, len(reasons), 0, strata(run))
    rows = out(run).filter(pl.col("id").is_in(first))
    assert set(rows.select("dropped_by", "reason").iter_rows()) == set(reasons)


def test_a_sample_of_all_rows_has_each_once(run):
    sizes = population(run).sizes
    found = kept_sample(run, 10**6, 0)
    assert len(set(found)) == len(found) == sizes[0]
    found = rejected_sample(run, 10**6, 0, strata(run))
    assert len(set(found)) == len(found) == sizes[1]


def test_what_holds_no_row_is_not_shown(place):
    run = made(place).path
    frame = out(run)
    dead = pl.DataFrame(
        [
            {
                **dict.fromkeys(frame.columns),
                "id": name,
                "generator": generator,
                "dropped_by": by,
                "prompt": text,
                "reason": "x",
            }
            for name, generator, by, text in (
                ("1", "persona", "engine", None),
                ("2", "persona", "reply", None),
                ("3", None, "source", "a broken row"),
                ("4", "seed", "contamination", None),
                ("5", "persona", "contamination", "a copy of the exam"),
                ("6", "persona", "review", "seen before"),
                ("7", "persona", "length", None),
            )
        ],
        schema=frame.schema,
    )
    before = population(run)
    pl.concat([frame, dead]).write_parquet(run / "rejected.parquet")
    assert population(run) == before
    assert not {"1", "2", "3", "4", "5", "6", "7"} & set(rejected_sample(run, 10**6, 0, before.rejected))


def test_kept_and_rejected_rows_are_mixed(run):
    sitting = sit(run, sizes=(10, 10))
    kinds = [sitting.rows[id].get("dropped_by") is None for id in sitting.order]
    assert kinds[:4].count(True) == 2
    assert len(kept(sitting)) == len(rejected(sitting)) == 10


def test_what_an_earlier_version_had_reviewed_is_not_shown_again(run):
    from augment.review.edition import publish

    first = sit(run, sizes=(10, 10))
    for id in first.order:
        first.decide(id, "accept" if id in kept(first)[1:] else "reject")
    new = publish(run).path
    again = sit(new, sizes=(10, 10))
    assert not set(first.order) & set(again.order)
    sizes = Desk.of(new).population.sizes
    assert sizes == (population(run).sizes[0] - 10, population(run).sizes[1] - 10)


def test_a_damaged_file_is_one_clear_line(run):
    (run / "rejected.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="cannot be read|is not the file"):
        Desk.of(run)
    (run / "rejected.parquet").unlink()
    with pytest.raises(RunError, match=r"rejected\.parquet is missing"):
        Desk.of(run)
