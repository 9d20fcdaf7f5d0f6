from __future__ import annotations

import dataclasses
import itertools

import polars as pl

from augment.language import language_expr, language_of
from augment.records import Request, fingerprint, row_id, seed_for, variant_id

ASK = Request("r1", "paraphrase", 0, (("user", "问"),), "t@1", seed=7, engine="e", model="m")


def test_the_key_depends_on_what_decides_the_answer():
    changes = (
        {"engine": "other"},
        {"model": "other"},
        {"revision": "other"},
        {"messages": (("user", "别"),)},
        {"schema": {"type": "object"}},
        {"temperature": 0.1},
        {"top_p": 0.1},
        {"seed": 8},
    )
    keys = {dataclasses.replace(ASK, **each).key for each in changes}
    assert len(keys | {ASK.key}) == len(changes) + 1


def test_the_key_does_not_depend_on_the_limit_nor_on_names():
    for each in ({"max_tokens": 9}, {"record": "x"}, {"generator": "x"}, {"k": 5}, {"template": "x"}):
        assert dataclasses.replace(ASK, **each).key == ASK.key


def test_identities_are_frozen():
    """These values are in published datasets and reply stores: changing them orphans both."""
    assert fingerprint("甲", 1, None) == "30ba39fc00126182d37c6e9a96d3c00f"
    assert seed_for("r", "g", 0) != seed_for("r", "g", 1) != seed_for("r", "g", 1, base=2)
    assert 0 <= seed_for("r", "g", 0) < 2**31
    assert row_id("a", "b", None) != row_id("a", None, "b")


def test_languages_are_told_apart_alike_for_a_text_and_a_column():
    texts = {
        "头疼吃ibuprofen行吗": "zh",
        "Is 38 °C a fever?": "en",
        "頭が痛いです": "ja",
        "아파요": "ko",
        "38.5": "",
        "боль": "ru",
    }
    assert [language_of(each) for each in texts] == list(texts.values())
    assert pl.select(language_expr(pl.Series(list(texts))).alias("l"))["l"].to_list() == list(texts.values())


def test_a_variants_id_depends_on_all_that_it_is_made_of():
    parts = itertools.product("r", "ab", (0, 1), "pq", ("x", None))
    assert len({variant_id(*each) for each in parts}) == 16


def test_a_rows_id_depends_on_its_label():
    assert len({row_id("a", "b", label) for label in ("x", "y", None)}) == 3
