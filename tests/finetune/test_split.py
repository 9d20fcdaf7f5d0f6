from __future__ import annotations

from finetune.rows import Item, open_rows
from finetune.split import split


def items(families, variants=3):
    return [
        Item(f"{family}.{n}", f"f{family}", (("user", "q"), ("assistant", "a")), made=n > 0)
        for family in range(families)
        for n in range(variants + 1)
    ]


def test_no_descendant_of_a_validation_seed_is_trained_on(augment, place):
    augment("text", "--source", "sample", "--n", "3x", "--out", "run")
    found = split(open_rows("run").items, 0.2, 0)
    assert not {item.family for item in found.train} & {item.family for item in found.validation}
    assert not any(item.made for item in found.validation)
    assert len(found.train) + len(found.validation) + found.aside == 128 * 4
    assert found.aside == 3 * len(found.validation)
    assert 10 <= len(found.validation) <= 45


def test_a_family_without_real_rows_is_judged_on_its_variants():
    generated = [item for item in items(40) if item.made]
    found = split(generated, 0.2, 0)
    assert found.validation
    assert not found.aside


def test_it_depends_on_the_family_and_the_seed_alone():
    rows = items(60)
    one, again, other = split(rows, 0.2, 0), split(rows[::-1], 0.2, 0), split(rows, 0.2, 1)
    assert {i.id for i in one.validation} == {i.id for i in again.validation} != {i.id for i in other.validation}
    more = split([*rows, *items(80)[240:]], 0.2, 0)
    assert {i.id for i in one.validation} <= {i.id for i in more.validation}


def test_few_families_still_leave_one_on_each_side():
    for share in (0.01, 0.99):
        found = split(items(2), share, 0)
        assert len(found.validation) == 1
        assert len(found.train) == 4
    assert not split(items(1), 0.5, 0).validation
    assert not split(items(5), 0.0, 0).validation
