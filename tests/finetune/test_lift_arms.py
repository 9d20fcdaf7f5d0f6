"""What an arm learns and what it is asked: no leak, equal sizes, the same draw for all arms."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from finetune.lift.arms import by_label
from finetune.lift.pool import open_pool
from finetune.lift.record import seeds_of
from tests.finetune.lifts import helpful, make_run, two_makers, write_rows


@pytest.fixture
def pool(place):
    return open_pool(make_run(place / "run", write_rows(place), two_makers))


def drawn(draw):
    return set(draw.arms[0].rows["id"])


def parents(rows):
    return {parent for parents in rows["parents"] for parent in parents}


def test_no_variant_of_an_undrawn_seed_is_learned(pool):
    for draw in by_label(pool, 2).draws(range(20)):
        for arm in draw.arms:
            real = set(arm.rows.filter(pl.col("generator") == "seed")["id"])
            assert real | parents(arm.rows) == drawn(draw), arm.name


def test_a_variant_of_two_seeds_needs_both(pool):
    first, second = pool.seeds["id"][:2]
    both = pool.variants[:1].with_columns(pl.lit("both").alias("id"), pl.Series("parents", [[first, second]]))
    mixed = type(pool)(pool.run, pool.manifest, pool.seeds, pl.concat([pool.variants, both]), pool.exam)
    seen = Counter()
    for draw in by_label(mixed, 8).draws(range(40)):
        learned = set(draw.arms[2].rows["id"])
        assert ("both" in learned) == ({first, second} <= drawn(draw))
        seen["both" in learned] += 1
    assert min(seen[True], seen[False]) > 3


def test_what_is_tested_is_real_and_kin_to_nothing_learned(pool):
    families = dict(zip(pool.seeds["id"], pool.seeds["family"], strict=True))
    for draw in by_label(pool, 2).draws(range(20)):
        assert set(draw.test["generator"]) == {"seed"}
        learned = {families[key] for key in drawn(draw)}
        for arm in draw.arms:
            assert not set(arm.rows["id"]) & set(draw.test["id"])
            assert not set(arm.rows["family"]) & set(draw.test["family"])
            assert set(arm.rows["family"]) <= learned
        assert len(draw.test) + len(drawn(draw)) == len(pool.seeds) + len(pool.exam)


def test_an_exam_row_that_asks_what_a_variant_asks_is_not_tested(place):
    asked = {}

    def repeating(seed, rng, place):
        return [{"prompt": asked["exam"].upper()}] if place == 0 else helpful(seed, rng, place)

    file = write_rows(place)
    asked["exam"] = open_pool(make_run(place / "first", file, helpful)).exam["prompt"][0]
    pool = open_pool(make_run(place / "run", file, repeating))
    teller, exam = pool.seeds["id"][0], pool.exam["id"][0]
    seen = Counter()
    for draw in by_label(pool, 5).draws(range(30)):
        assert (exam in set(draw.test["id"])) == (teller not in drawn(draw))
        seen[teller in drawn(draw)] += 1
    assert min(seen[True], seen[False]) > 3


def test_all_arms_but_the_first_are_of_one_size_seed_by_seed(pool):
    uneven = pool.variants.filter(pl.int_range(pl.len()) % 7 != 0)
    pool = type(pool)(pool.run, pool.manifest, pool.seeds, uneven, pool.exam)
    sizes = set()

    def homes(rows):
        return Counter(parents[0] if len(parents) else key for key, parents in rows.select("id", "parents").iter_rows())

    for draw in by_label(pool, 3).draws(range(10)):
        real, repeated, augmented, *without = (arm.rows for arm in draw.arms)
        assert set(homes(real).values()) == {1}
        sizes |= set(homes(augmented).values())
        for rows in (repeated, *without):
            assert homes(rows) == homes(augmented)
            assert Counter(rows["label"]) == Counter(augmented["label"])
        assert set(repeated["id"]) == set(real["id"])
        assert augmented["id"].is_unique().all()
    assert len(sizes) > 1


def test_an_ablation_lacks_one_generator_and_has_all_else(pool):
    for draw in by_label(pool, 3).draws(range(5)):
        arms = {arm.name: arm.rows for arm in draw.arms}
        for name in pool.generators:
            left = arms[f"augmented without {name}"]
            whole = arms["augmented"].filter(pl.col("generator") != name)
            assert set(left["id"]) == set(whole["id"])
            assert name not in set(left["generator"])


def test_one_generator_has_no_ablation(place):
    pool = open_pool(make_run(place / "run", write_rows(place), helpful))
    assert [arm.name for arm in next(by_label(pool, 2).draws([0])).arms] == ["real", "real, oversampled", "augmented"]


def test_a_draw_takes_as_many_of_each_label_and_depends_on_its_seed_alone(pool):
    design = by_label(pool, 3)
    first, second = design.draws([5, 6])
    assert set(Counter(first.arms[0].rows["label"]).values()) == {3}
    assert drawn(first) != drawn(second)
    assert drawn(next(by_label(pool, 2).draws([5]))) < drawn(first)
    turned = type(pool)(pool.run, pool.manifest, pool.seeds.reverse(), pool.variants.reverse(), pool.exam)
    assert drawn(next(by_label(turned, 3).draws([5]))) == drawn(first)
    assert design.drawn_share == pytest.approx(sum(3 / len(ids) for ids in design.strata.values()) / 4)


def test_more_draws_keep_the_first_ones_and_another_seed_has_others():
    assert seeds_of(20, 0)[:10] == seeds_of(10, 0)
    assert len(set(seeds_of(200, 0))) == 200
    assert not set(seeds_of(20, 0)) & set(seeds_of(20, 1))
