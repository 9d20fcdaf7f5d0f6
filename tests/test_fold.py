from __future__ import annotations

import random

import polars as pl
import pytest

from filters.fold import fold, unfolded


def folded(text: str | None) -> str | None:
    result: str | None = fold(pl.Series([text], dtype=pl.String))[0]
    return result


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("糖尿病，怎麼辦？", "糖尿病怎么办"),
        ("３８．５℃ 高燒", "38.5°C高烧"),
        ("Follow-up  visit?!", "follow up VISIT"),
        ("头疼……怎么办", "头疼，怎么办"),
        ("a\u200bb\ufe0f", "ab"),
        ("e\u0301", "é"),
        ("请问\n\n感冒 吃 什么", "请问感冒吃什么"),
    ],
)
def test_texts_that_differ_in_form_only_have_one_key(left, right):
    assert folded(left) == folded(right)


@pytest.mark.parametrize(
    ("left", "right"), [("3.5片", "35片"), ("1-2次", "12次"), ("<5", ">5"), ("now here", "nowhere"), ("😀", "?!")]
)
def test_texts_that_differ_in_meaning_keep_different_keys(left, right):
    assert folded(left) != folded(right)


def test_null_stays_null_and_empty_stays_empty():
    assert fold(pl.Series("t", [None, "", "a"])).to_list() == [None, "", "a"]
    assert fold(pl.Series("t", [], dtype=pl.String)).dtype == pl.String


def test_a_text_of_marks_or_punctuation_alone_keeps_its_own_form():
    assert folded("\u0301") == "\u0301"
    assert folded("？！") == "?!"


def test_a_key_does_not_depend_on_the_texts_around_it():
    pool = "好們abcé\u0301½℃Σ１.，… \n😀𠮷ｶﾞ각ㄱ\u200b"
    chance = random.Random(0)
    texts = ["".join(chance.choices(pool, k=chance.randrange(9))) for _ in range(400)]
    assert fold(pl.Series(texts)).to_list() == [folded(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("您好，３８．５℃ 高燒，怎麼辦？", "３８．５℃ 高燒，怎麼辦"),
        ("abc FOLLOW-up visit?!", "FOLLOW-up visit"),
        ("½片 one", "½片"),
        ("é好", "é好"),
    ],
)
def test_the_piece_of_a_text_is_found_by_its_key(text, piece):
    assert unfolded(text, folded(piece)) == piece


def test_where_marks_combine_the_key_itself_is_the_piece():
    assert unfolded("e\u0301好", folded("e\u0301好")) == "é好"
