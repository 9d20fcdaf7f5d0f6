"""The sentence that a lift comes to, in points or in nats, whichever way it goes."""

from __future__ import annotations

import math

import pytest

from augment.intervals import Interval
from finetune.lift.card import differences_table
from finetune.lift.verdict import Difference, Measure, verdict

ACCURACY, LOSS = Measure("accuracy", True), Measure("loss", False)


def said(measure, mean, low, high, level=0.7):
    arms = {"augmented": Interval(level, level - 0.1, level + 0.1, 9)}
    found = [Difference("augmented", "real, oversampled", Interval(mean, low, high, 9))]
    return verdict(measure, arms, found, "9 draws")


@pytest.mark.parametrize(
    ("measure", "numbers", "sentence"),
    [
        (ACCURACY, (0.041, 0.012, 0.07), "The variants help: accuracy 70.0%, 4.1 points more than with the same seeds repeated (95% interval +1.2 to +7.0), over 9 draws."),
        (ACCURACY, (-0.041, -0.07, -0.012), "The variants harm: accuracy 70.0%, 4.1 points less than with the same seeds repeated (95% interval −7.0 to −1.2), over 9 draws."),
        (ACCURACY, (0.01, -0.012, 0.032), "No difference beyond chance: accuracy 70.0%, 1.0 points more than with the same seeds repeated (95% interval −1.2 to +3.2), over 9 draws. A gain of up to 3.2 points cannot be ruled out."),
        (ACCURACY, (0.0001, -0.012, 0.012), "No difference beyond chance: accuracy 70.0%, the same as with the same seeds repeated (95% interval −1.2 to +1.2), over 9 draws. A gain of up to 1.2 points cannot be ruled out."),
        (LOSS, (-0.05, -0.07, -0.03), "The variants help: loss 0.7000, 0.0500 less than with the same seeds repeated (95% interval −0.0700 to −0.0300), over 9 draws."),
        (LOSS, (0.05, 0.03, 0.07), "The variants harm: loss 0.7000, 0.0500 more than with the same seeds repeated (95% interval +0.0300 to +0.0700), over 9 draws."),
        (LOSS, (0.01, -0.02, 0.04), "No difference beyond chance: loss 0.7000, 0.0100 more than with the same seeds repeated (95% interval −0.0200 to +0.0400), over 9 draws. A gain of up to 0.0200 cannot be ruled out."),
    ],
)  # fmt: skip
def test_the_verdict_follows_the_interval_and_the_metrics_direction(measure, numbers, sentence):
    assert said(measure, *numbers) == sentence


def test_an_interval_that_touches_zero_is_within_chance():
    assert said(ACCURACY, 0.02, 0.0, 0.04).startswith("No difference beyond chance")


def test_one_draw_gives_no_verdict():
    assert said(ACCURACY, 0.2, math.nan, math.nan).startswith("One draw says nothing about chance: ")


def test_the_table_says_of_each_difference_what_it_is_worth():
    pairs = [(0.05, 0.03, 0.07), (-0.05, -0.07, -0.03), (0.01, -0.02, 0.04), (0.01, None, None)]
    differences = [
        {"arm": "augmented", "over": "real", "mean": mean, "low": low, "high": high} for mean, low, high in pairs
    ]
    record = {"metric": "loss", "higher_is_better": False, "seeds": [1, 2], "differences": differences}
    assert [line[-1] for line in differences_table(record)[1:]] == ["worse", "better", "within chance", "within chance"]
    assert [line[-1] for line in differences_table({**record, "higher_is_better": True})[1:3]] == ["better", "worse"]
