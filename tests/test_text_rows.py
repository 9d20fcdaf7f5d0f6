from __future__ import annotations

import pytest

from filters.text_rows import TextRows

TEXTS = ["感冒了", None, "a", "", "𠮷野家é", "x" * 1000]


@pytest.mark.parametrize("size", [1, 4, 6])
def test_texts_are_read_where_they_were_put(size):
    rows = TextRows()
    for at in range(0, len(TEXTS), size):
        rows.extend(TEXTS[at : at + size])
        assert rows[at] == TEXTS[at] or not TEXTS[at]  # a view that were still held would forbid the next
    assert len(rows) == len(TEXTS) and [rows[at] for at in range(len(rows))] == [text or None for text in TEXTS]
