from __future__ import annotations

import numpy as np
import pytest

from filters.text_rows import TextRows

TEXTS = ["感冒了", None, "a", "", "𠮷野家é", "x" * 1000]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("size", [1, 4, 6])
def test_texts_are_read_where_they_were_put(encoding, size):
    rows = TextRows(encoding)
    for at in range(0, len(TEXTS), size):
        rows.extend(TEXTS[at : at + size])
    assert len(rows) == len(TEXTS) and [rows[at] for at in range(len(rows))] == [text or None for text in TEXTS]


def test_what_is_present_is_known_without_reading_it():
    rows = TextRows()
    rows.extend(TEXTS)
    assert rows.present(np.array([5, 1, 0, 3])).tolist() == [True, False, True, False]
    rows.extend(["more"])  # a view that were still held would forbid this
    assert rows.present(np.array([6])).tolist() == [True]
