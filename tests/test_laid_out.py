from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from filters.laid_out import Part, laid_out

TEXTS = ["干咳", None, "", "𠮷x", "a" * 70_000, *["发烧三天"] * 9000, "b" * 70_000]


def read(parts: list[Part]) -> list[str]:
    """The texts of the parts, each where its part says that it is."""
    texts: list[str] = []
    for part in parts:
        assert part.rows == slice(len(texts), len(texts) + len(part.lengths))
        joined = part.code.tobytes().decode("utf-32-le")
        ends = np.cumsum(part.lengths).tolist()
        assert ends[-1] == len(joined)
        texts += [joined[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return texts


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:2], [None], []])
def test_the_parts_are_the_texts_in_order_and_small(texts):
    series = pl.Series("changed", texts, dtype=pl.String)
    memory: dict[str, Any] = {}
    parts = list(laid_out(series, memory))
    assert read(parts) == [text or "" for text in texts]
    assert all(len(part.code) - max(part.lengths, default=0) < 1 << 16 for part in parts)
    assert all(one is other for one, other in zip(laid_out(series.clone(), memory), parts, strict=True))


def test_other_texts_of_the_same_name_are_laid_out_anew():
    memory: dict[str, Any] = {}
    for texts in (["干咳", None], ["干咳。", None], ["干咳", "头疼"]):
        assert read(list(laid_out(pl.Series("changed", texts), memory))) == [text or "" for text in texts]


def test_what_would_take_much_memory_is_not_kept():
    memory: dict[str, Any] = {}
    texts = pl.Series("changed", ["x" * 50_000] * 100)
    assert read(list(laid_out(texts, memory))) == texts.to_list()
    assert not memory
