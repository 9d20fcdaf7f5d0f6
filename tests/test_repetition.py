from __future__ import annotations

import random
import re
import unicodedata

import polars as pl
import pytest

from filters.repetition import Repetition
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

LOOP, SELF, LINES = "repeats a phrase over and over", "repeats itself", "repeats its lines"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("好的" * 20, LOOP),
        ("建议您多休息，" + "哈" * 30, LOOP),
        ("要注意休息，多喝水，" * 10, LOOP),
        ("首先请您务必保持良好的作息习惯并且按时吃药不要熬夜。" * 4, SELF),
        ("。" * 60, SELF),
        ("1. 多喝水\n2. 多喝水\n3. 多喝水\n4. 多喝水", LINES),
        ("哈哈哈哈哈，没事的，多休息", None),
        ("慢慢来，慢慢走，慢慢吃，都不着急。", None),
        ("1. 多喝水\n2. 多休息\n3. 少熬夜\n4. 看医生", None),
        ("", None),
    ],
)
def test_loops_are_dropped_and_emphasis_is_not(text, reason):
    context = context_of([("感冒怎么办", "多休息。")])
    assert reasons(Repetition(), rows(context, ("s0", "感冒怎么办", text)), context) == [reason]


def test_a_loop_does_not_run_from_one_row_into_the_next():
    context = context_of()
    out = scored(Repetition(), rows(context, (None, "啊" * 10, None), (None, "啊" * 12, None)), context)
    assert out["repetition_loop"].to_list() == [10, 12]


def test_an_empty_frame_keeps_the_declared_types():
    context = context_of()
    assert scored(Repetition(), rows(context), context).height == 0


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_comes_near_a_threshold(texts):
    context = context_of()
    out = scored(Repetition(), rows(context, *((None, *each) for each in texts())), context)
    assert out["repetition_loop"].max() <= 8 and out["repetition_ngrams"].max() < 0.15
    assert out["repetition_lines"].max() < 0.2


def looped(text: str) -> int:
    """The longest loop by its definition: letters and numbers that a phrase of 1 to 12 of them fills 4 times or more."""
    said = [char for char in text if unicodedata.category(char)[0] in "LN"]
    longest = 0
    for period in range(1, 13):
        equal = 0
        for one, other in zip(said, [*said[period:], None], strict=False):
            equal = equal + 1 if one == other else 0
            longest = max(longest, equal + period if equal >= 3 * period else 0)
    return longest


def ngrams_again(text: str) -> float:
    """The share of the windows of 10 characters that were there before, by its definition."""
    windows = [text[at : at + 10] for at in range(len(text) - 9)]
    return (len(windows) - len(set(windows))) / max(len(windows), 1)


def lines_again(text: str) -> float:
    """The share of the lines that were there before, by its definition."""
    bare = re.sub(r"(?m)^[\s0-9１.。，]+|[ \t]+$", "", text)
    lines = [line for line in bare.split("\n") if line]
    return 1 - len(set(lines)) / len(lines) if len(lines) >= 4 else 0.0


def any_text(rng: random.Random) -> str:
    """Phrases of a few letters, said once or again and again, with marks between; among the letters some that are alike
    in their last 16 bits."""
    letters = "".join(rng.sample("多喝水一啊0１aKé한𠮷\U00010b77哈\U000154c8", rng.choice((2, 3, 12))))
    parts = []
    for _ in range(rng.choice((0, 1, 2, 5, 20))):
        phrase = "".join(rng.choices(letters, k=rng.randint(1, 14)))
        between = rng.choice(("", "", "，", "\n", "\n1. ", "★"))
        parts.append(between.join([phrase] * rng.choice((1, 1, 2, 3, 4, 5, 40))))
    return rng.choice(("", "，", "\n", " \n")).join(parts)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_what_their_definitions_say(seed):
    rng = random.Random(seed)
    texts = [any_text(rng) for _ in range(3000)]
    texts += ["".join(rng.choices(texts, k=900)), "啊" * 70_000, "x", *(["ab", "abc"] * 2000)]
    out = scored(Repetition(), rows(context := context_of(), *((None, text, None) for text in texts)), context)
    assert out["repetition_loop"].to_list() == [looped(text) for text in texts]
    assert out["repetition_ngrams"].to_list() == [ngrams_again(text) for text in texts]
    assert out["repetition_lines"].to_list() == [lines_again(text) for text in texts]


def test_windows_that_reach_into_the_next_row_do_not_count():
    context = context_of()
    texts = ["0123456789" * 2 + "01234", "56789012345678901234567890", "", "123456789", "0123456789"]
    out = scored(Repetition(), rows(context, *((None, text, None) for text in texts)), context)
    assert out["repetition_ngrams"].to_list() == [ngrams_again(text) for text in texts]


def test_a_missing_text_has_no_repeats():
    context = context_of()
    frame = rows(context, (None, "x", None)).with_columns(pl.lit(None, dtype=pl.String).alias("changed"))
    assert scored(Repetition(), frame, context).select(list(Repetition.scores)).row(0) == (0, 0.0, 0.0)
