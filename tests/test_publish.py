"""The run folder: its rows' order, and what a failing disk leaves of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from augment import manifest
from augment.errors import RunError
from augment.sources import open_source
from tests.test_pipeline import curated, run, seeds


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which no summary can be written any more."""

    place = manifest.settle

    def settle(beside: Path, target: Path) -> None:
        if target.name == "summary.json":
            raise OSError(28, "full")
        place(beside, target)

    return lambda: monkeypatch.setattr("augment.publish.settle", settle)


def test_a_run_that_the_disk_has_no_room_for_has_no_manifest(place, full_disk):
    full_disk()
    with pytest.raises(RunError, match="full"):
        run(source=seeds(place), n="1x", out=place / "r")
    assert not (place / "r/manifest.json").exists()


def test_a_run_that_fails_while_it_is_replaced_loses_its_manifest_first(place, full_disk):
    source = seeds(place)
    run(source=source, n="1x", out=place / "r")
    before = (place / "r/summary.json").read_bytes()
    full_disk()
    with pytest.raises(RunError, match="full"):
        run(source=source, n="1x", out=place / "r")
    assert not (place / "r/manifest.json").exists()
    assert (place / "r/summary.json").read_bytes() == before, "no file is ever half written"


def test_each_seed_is_followed_by_its_variants_in_the_sources_order(place, monkeypatch):
    monkeypatch.setattr("augment.publish.BLOCK", 7)
    monkeypatch.setattr("augment.quota.SHARD", 11)
    source = seeds(place)
    rows = curated(run(source=source, n="2x"))
    assert rows["generator"].to_list() == ["seed", "persona", "persona"] * 40
    whose = rows.select(pl.coalesce(pl.col("parents").list.first(), "id"))["parents"].to_list()
    assert whose == [each for each in open_source(source).seeds["id"] for _ in range(3)]


def test_refilled_variants_stand_with_their_seed_in_both_files(place):
    settings = {"length": {"max_ratio_prompt": 1.25}}
    done = run(source=seeds(place), n="3x", filters="length", set=settings, max_attempts="9x")
    assert done.summary.counts["rounds"] > 1
    kept = curated(done)
    position = {id: at for at, id in enumerate(kept.filter(pl.col("generator") == "seed")["id"])}
    for rows in (kept, pl.read_parquet(done.path / "rejected.parquet")):
        made = rows.filter(pl.col("generator") != "seed").select("parents", "variant")
        places = [(position[parents[0]], variant) for parents, variant in made.rows()]
        assert places == sorted(places)
