from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from filters.code_points import CodePoints, CodeRows, spans

TEXTS = ["感冒", "", "ab", "𠮷野家", "é"]


def points(*texts: str | None) -> CodePoints:
    return CodePoints.of(pl.Series(texts, dtype=pl.String))


def test_texts_come_back_as_they_were_and_null_as_empty():
    assert points(*TEXTS, None).strings() == [*TEXTS, ""]
    assert points().strings() == []


@pytest.mark.parametrize("rows", [[], [3], [4, 0, 1, 0], [0, 1, 2, 3, 4]])
def test_taken_texts_are_those_at_the_rows_in_their_order(rows):
    assert points(*TEXTS).take(np.array(rows, dtype=np.int64)).strings() == [TEXTS[row] for row in rows]


@pytest.mark.parametrize(("first", "count"), [(0, 5), (1, 1), (1, 3), (4, 1), (2, 0)])
def test_a_part_is_consecutive_texts(first, count):
    assert points(*TEXTS).part(first, count).strings() == TEXTS[first : first + count]


def test_replaced_texts_may_be_longer_shorter_or_empty():
    others = points("失眠怎么办", "好", "")
    assert points(*TEXTS).replaced(np.array([1, 3, 4]), others).strings() == ["感冒", "失眠怎么办", "ab", "好", ""]


def test_only_short_texts_are_padded_and_empty_ones_stay_empty():
    assert points(*TEXTS).padded(3).strings() == ["感冒\0", "", "ab\0", "𠮷野家", "é\0\0"]


def test_spans_of_no_length_have_no_places():
    assert spans(np.array([5, 0, 2]), np.array([2, 0, 3])).tolist() == [5, 6, 2, 3, 4]


def test_rows_of_every_width_are_kept_and_read_in_any_order():
    rows = CodeRows()
    rows.extend(points(*TEXTS), np.array([True, True, False, True, True]))
    rows.extend(points("", "x", "头疼😀"), np.ones(3, dtype=np.bool_))
    expected = ["感冒", "", "", "𠮷野家", "é", "", "x", "头疼😀"]
    order = np.array([7, 3, 0, 6, 2, 4, 1, 5, 3])
    assert len(rows) == 8 and rows.take(order).strings() == [expected[at] for at in order]
    assert rows.present(np.arange(8)).tolist() == [bool(text) for text in expected]
