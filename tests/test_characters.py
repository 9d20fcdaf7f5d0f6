from __future__ import annotations

import polars as pl
import pytest

from augment.language import SCRIPTS, language_expr
from filters.characters import characters
from filters.language import _told
from tests.filter_rows import chbench, context_of, sample

ODD = [
    "×÷Àɏ",
    "・ー゛",
    "𠮷𪚥",
    "١٢٣ب",
    "한국어 abc",
    "҂ж",
    "\ue000\x00",
    "😀👍🏽",
    "\u200b\ufeff",
    "12 ３",
    "",
    "\u0301",
]


@pytest.mark.parametrize("texts", [sample, chbench, lambda: [(each, each) for each in ODD]])
def test_counts_are_those_of_the_patterns(texts):
    series = pl.Series("text", [text for row in texts() for text in row])
    found = characters(series)
    for at, name in enumerate(SCRIPTS):
        counted = [len(SCRIPTS[name].findall(text)) for text in series]
        assert found.scripts()[:, at].tolist() == counted
    patterns = {"letter": r"\p{L}", "mark": r"\p{M}", "number": r"\p{N}", "punctuation": r"\p{P}", "symbol": r"\p{S}"}
    for name, pattern in patterns.items():
        assert found.group(name).tolist() == series.str.count_matches(pattern).to_list()
    assert found.counts.sum(axis=1).tolist() == series.str.len_chars().to_list()


def test_a_language_is_the_one_that_the_expression_tells():
    series = pl.Series("text", [*(text for row in sample() for text in row), *ODD, None])
    assert (
        _told(series, context_of())[0].to_list()
        == series.to_frame().select(language_expr(pl.col("text"))).to_series().to_list()
    )


def test_what_was_counted_last_is_counted_once():
    memory: dict[str, object] = {}
    first = characters(pl.Series("changed", ["干咳", None]), memory)
    assert characters(pl.Series("changed", ["干咳", None]), memory) is first
    assert characters(pl.Series("changed", ["干咳。", None]), memory).counts.sum() == 3
