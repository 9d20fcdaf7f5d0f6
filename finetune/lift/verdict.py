"""Means, differences and the one sentence that they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augment.intervals import Interval
from finetune.lift.arms import AUGMENTED, REAL, REPEATED
from finetune.lift.measure import Measured
from finetune.lift.uncertainty import crossed


@dataclass(frozen=True)
class Difference:
    """How much `arm` scores over `over`, draw by draw on the same rows, in the metric's own units and direction."""

    arm: str
    over: str
    interval: Interval


@dataclass(frozen=True)
class Measure:
    """How a metric is written: accuracy and its differences in percent and points, a loss as it is."""

    metric: str
    higher_is_better: bool

    @property
    def _share(self) -> bool:
        return self.metric == "accuracy"

    def value(self, number: float) -> str:
        """A mean: `71.3%`, `2.317`."""
        return f"{number:.1%}" if self._share else f"{number:.4f}"

    def change(self, number: float) -> str:
        """A difference, with its sign: `+4.1`, `−0.0512`."""
        text = f"{100 * number:+.1f}" if self._share else f"{number:+.4f}"
        return (text[1:] if float(text) == 0 else text).replace("-", "−")

    def amount(self, number: float) -> str:
        """A difference without sign, with its unit: `4.1 points`."""
        return f"{100 * abs(number):.1f} points" if self._share else f"{abs(number):.4f}"

    def between(self, interval: Interval) -> str:
        """The interval of a difference: `+1.2 to +7.0`."""
        return f"{self.change(interval.low)} to {self.change(interval.high)}"


def averages(measured: Measured, drawn_share: float) -> dict[str, Interval]:
    """Each arm's mean score. The intervals say how an arm would do elsewhere; to compare arms, look at differences."""
    return {name: crossed(scores, measured.families, drawn_share) for name, scores in measured.scores.items()}


def differences(measured: Measured, drawn_share: float) -> list[Difference]:
    """The augmented arm over its control, first; then over the others, and what repeating alone does."""
    compared = [(AUGMENTED, REPEATED), (AUGMENTED, REAL), (REPEATED, REAL)]
    compared += [(AUGMENTED, name) for name in measured.scores if name not in (AUGMENTED, REPEATED, REAL)]
    return [
        Difference(arm, over, crossed(measured.scores[arm] - measured.scores[over], measured.families, drawn_share))
        for arm, over in compared
    ]


def verdict(measure: Measure, arms: dict[str, Interval], found: Sequence[Difference], setting: str) -> str:
    """The sentence: whether the variants help, by the first difference. `setting` says over what ("20 draws of …")."""
    first = found[0].interval
    amount = measure.amount(first.mean)
    side = f"{amount} {'more' if first.mean > 0 else 'less'} than" if amount != measure.amount(0) else "the same as"
    sides = f"{measure.metric} {measure.value(arms[AUGMENTED].mean)}, {side} with the same seeds repeated"
    told = f"{sides} (95% interval {measure.between(first)}), over {setting}."
    if first.low != first.low:
        return f"One draw says nothing about chance: {told}"
    if not first.sure:
        return f"No difference beyond chance: {told} {_ruled_out(measure, first)}".strip()
    helps = (first.mean > 0) == measure.higher_is_better
    return f"The variants {'help' if helps else 'harm'}: {told}"


def _ruled_out(measure: Measure, interval: Interval) -> str:
    """What a result of no difference does say: how large a gain there could still be."""
    gain = interval.high if measure.higher_is_better else -interval.low
    if gain <= 0:
        return "All arms scored alike." if interval.low == interval.high else ""
    if measure.amount(gain) == measure.amount(0):
        return "Any gain is too small to show."
    return f"A gain of up to {measure.amount(gain)} cannot be ruled out."
