from __future__ import annotations

import threading
import time

import pytest

from augment.ahead import ahead


def test_all_items_come_in_order():
    with ahead(iter(range(100)), 3) as items:
        assert list(items) == list(range(100))


def test_items_are_drawn_before_they_are_asked_for_and_no_further_than_the_room():
    drawn = []
    enough = threading.Event()

    def source():
        for i in range(100):
            drawn.append(i)
            if i == 5:
                enough.set()
            yield i

    with ahead(source(), 5) as items:
        assert enough.wait(10)
        time.sleep(0.3)
        assert len(drawn) == 6, "five wait, one more is in hand"
        assert next(items) == 0


def test_what_the_source_raises_comes_after_the_items_before_it():
    def source():
        yield 1
        raise ValueError("broken")

    with ahead(source(), 5) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="broken"):
            next(items)


def test_a_source_that_is_no_longer_wanted_is_closed():
    closed = threading.Event()

    def source():
        try:
            yield from range(10**9)
        finally:
            closed.set()

    with pytest.raises(KeyError), ahead(source(), 2) as items:
        next(items)
        raise KeyError
    assert closed.wait(10)
