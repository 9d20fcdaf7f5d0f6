"""What scores were made with: the code of a filter and of what it imports, the exam and the seeds."""

from __future__ import annotations

import sys

import polars as pl
import pytest

from augment.records import SCHEMA
from filters import TABLE, Context
from filters.made_with import code_of, made_with


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody's filters: `sieves.one` imports `sieves.words`, and `sieves.two` nothing."""
    folder = tmp_path / "sieves"
    folder.mkdir()
    (folder / "__init__.py").write_text("TABLE = {}\n")
    (folder / "one.py").write_text("from . import words\nfrom os import path\n")
    (folder / "words.py").write_text("MANY = 3\n")
    (folder / "two.py").write_text("FEW = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [each for each in sys.modules if each.partition(".")[0] == "sieves"]:
        del sys.modules[name]
    code_of.cache_clear()


def anew(module):
    code_of.cache_clear()
    return code_of(module)


def test_code_is_that_of_a_filter_and_of_what_it_imports_of_its_package(package):
    one, two = anew("sieves.one"), anew("sieves.two")
    assert one and two and one != two
    (package / "__init__.py").write_text("TABLE = {'more': 1}\n")
    assert (anew("sieves.one"), anew("sieves.two")) == (one, two)
    (package / "words.py").write_text("MANY = 4\n")
    assert anew("sieves.one") != one and anew("sieves.two") == two


def test_line_endings_of_a_checkout_are_no_change(package):
    one = anew("sieves.one")
    (package / "words.py").write_bytes(b"MANY = 3\r\n")
    assert anew("sieves.one") == one


def test_a_word_list_that_a_filter_names_is_part_of_it(tmp_path, monkeypatch):
    from filters import made_with as module

    unsafe, length = anew("filters.unsafe"), anew("filters.length")
    (tmp_path / "unsafe.toml").write_text("[other]\n")
    monkeypatch.setattr(module, "data_dir", lambda: tmp_path)
    assert anew("filters.unsafe") != unsafe and anew("filters.length") == length
    code_of.cache_clear()


def test_what_has_no_source_has_no_code():
    assert code_of("no_such_module.at_all") == ""


@pytest.mark.parametrize("name", sorted(TABLE.targets()))
def test_every_filter_has_code_and_says_what_it_compares_with(name):
    empty = pl.DataFrame(schema=SCHEMA)
    other = pl.DataFrame({"id": ["a"]}, schema={"id": pl.String})
    each = TABLE.load(name)
    told = made_with(object.__new__(each), Context(seeds=empty, exam=empty))
    assert told["code"]
    beside = made_with(object.__new__(each), Context(seeds=other, exam=other))
    assert {part for part in told if told[part] != beside[part]} == told.keys() - {"code"}


def test_rows_are_compared_with_the_whole_exam_and_all_seeds_where_a_filter_says_so():
    reads = {
        part: {name for name in TABLE.targets() if getattr(TABLE.load(name), f"reads_{part}", False)}
        for part in ("exam", "seeds")
    }
    assert reads == {
        "exam": {"contamination", "coverage"},
        "seeds": {"contamination", "label_kept", "perplexity", "reward"},
    }
