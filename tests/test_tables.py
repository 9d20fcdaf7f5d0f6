from __future__ import annotations

import pytest

from augment.diff.marks import as_text, marked
from augment.tables import aligned, one_line, size_of


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("血压150/95要马上吃药吗", "血压160/95要马上吃药吗", "血压[-150-]{+160+}/95要马上吃药吗"),
        ("take one tablet daily", "take two tablets daily", "take [-one tablet-]{+two tablets+} daily"),
        ("头疼", "头疼吗", "头疼{+吗+}"),
        ("a{b}[c]", "a{b}[d]", "a{b}[[-c-]{+d+}]"),
        ("one\nline", "one line", "one[-\\n-]{+ +}line"),
        ("头", "\x1b[31m头", "{+\\x1b[31m+}头"),
        ("", "新", "{+新+}"),
    ],
)
def test_what_differs_is_marked(old, new, said):
    assert as_text(marked(old, new)) == said


def test_a_change_deep_in_a_long_text_is_shown_with_its_surroundings():
    old = "甲" * 5000 + "旧" + "乙" * 5000
    said = as_text(marked(old, old.replace("旧", "新")))
    assert said == "…" + "甲" * 12 + "[-旧-]{+新+}" + "乙" * 12 + "…"


def test_two_long_texts_with_nothing_in_common_are_one_short_line():
    said = as_text(marked("ab " * 4000, "甲\n" * 5000))
    assert said.startswith("[-ab ab")
    assert len(said) < 250
    assert "\n" not in said


def test_two_long_texts_are_not_aligned_token_by_token():
    pieces = marked("甲乙丁" * 300, "乙丁丙" * 300)
    assert [kind for kind, _ in pieces] == ["-", "+"]


def test_many_edits_are_cut_off():
    old = "".join(f"第{i}句话说的是这个意思" for i in range(50))
    said = as_text(marked(old, old.replace("这个", "那")))
    assert len(said) < 600
    assert said.endswith("…")


@pytest.mark.parametrize("text", ["\x1b[2Ja", "\x9b2Ja", "\u202ea", "a\x00", "a\u2028b"])
def test_controls_are_escaped(text):
    assert one_line(text).isprintable()


def test_a_long_text_is_cut_by_what_it_takes_on_screen():
    assert one_line("头" * 100, 20) == "头" * 9 + "…"
    assert one_line("a" * 100, 20) == "a" * 19 + "…"
    assert one_line("a \n b" + " " * 10_000 + "c", 20) == "a b…"
    assert one_line("👩‍⚕️ ok") == "👩‍⚕️ ok"


def test_columns_line_up_under_chinese_and_markup():
    assert aligned(["label", "n"], [["焦虑", "1"], ["[red]x", "10"]]) == ["label    n", "焦虑     1", "[red]x  10"]


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123_456, "123 kB"), (2e6, "2.0 MB")]
)
def test_sizes_are_short(count, said):
    assert size_of(count) == said
