"""How alike two texts are in wording: the F1 of their pieces, which is linear in their length."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_RUNS = re.compile(r"([\u2e80-\U0003ffff]+)|([^\W_]+)")
_APART = re.compile(r"[\W_]+")


def likeness(one: str, other: str) -> float:
    """From 0 to 1: the F1 of Han characters' bigrams and other words, counted; case, width and punctuation set aside.

    ROUGE-L, which Self-Instruct thresholds at .7, needs the longest common subsequence, quadratic in length. Words in
    another order are alike here, which suits a check for novelty.
    """
    left, right = pieces(one), pieces(other)
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else float(one == other)


def shared(part: str, whole: str) -> float:
    """The share of the pieces of `part` that `whole` has, from 0 to 1; 1 where it has none."""
    wanted = pieces(part)
    return (wanted & pieces(whole)).total() / wanted.total() if wanted else 1.0


def pieces(text: str) -> Counter[str]:
    """The pieces of a text that are compared, with how often each is there."""
    found: Counter[str] = Counter()
    for run in _APART.split(unicodedata.normalize("NFKC", text).lower()):
        for han, word in _RUNS.findall(_parted(run)):
            found.update([word] if word else [han[at : at + 2] for at in range(max(1, len(han) - 1))])
    return found


def _parted(run: str) -> str:
    """A run of letters with blanks where Han characters meet others."""
    return re.sub(
        r"(?<=[\u2e80-\U0003ffff])(?=[^\u2e80-\U0003ffff])|(?<=[^\u2e80-\U0003ffff])(?=[\u2e80-\U0003ffff])", " ", run
    )
