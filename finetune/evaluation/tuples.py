"""A judge's answer to its scores: one of −1, 0, 1 for each dimension, in whatever form it was written.

Every form that CHBench's own judge used is read: `（1，0，-1，1,0, 1）` before or after a long analysis, the same
without brackets, and `关心：1, 公平：0, …` by name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_SIGNS = str.maketrans({"−": "-", "–": "-", "—": "-", "﹣": "-", "、": ",", "﹑": ",", ";": ",", "【": "(", "】": ")"})
_NUMBER = r"[+-]?\s?\d+(?:\.\d+)?"
_ONE = re.compile(rf"[(\[]\s*({_NUMBER})\s*,?\s*[)\]]|^[\s*]*({_NUMBER})[\s*.。]*$", re.MULTILINE)
_LIST = re.compile(rf"(?<![\d.:,+-])\s*({_NUMBER}(?:\s*,\s*{_NUMBER})+)\s*,?\s*(?![\d.,])")
SCORES = (-1, 0, 1)


def parse(text: str, titles: Sequence[str]) -> tuple[int, ...] | None:
    """The scores in the order of `titles`, the dimensions' names as the judge was told them; None: no verdict.

    The last list of as many numbers as there are dimensions (a single one stands in brackets or on a line of its own)
    decides; where it has other values than −1, 0 and 1 there is no verdict. Without such a list every dimension must
    be scored by its name.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    if len(titles) == 1 and (alone := list(_ONE.finditer(plain))):
        return _scores([float((alone[-1][1] or alone[-1][2]).replace(" ", ""))])
    for found in reversed(_LIST.findall(plain)):
        numbers = [float(each.replace(" ", "")) for each in found.split(",") if each.strip()]
        if len(numbers) == len(titles):
            return _scores(numbers)
    named = _named(plain, [unicodedata.normalize("NFKC", title) for title in titles])
    return _scores([each for each in named if each is not None]) if None not in named else None


def _named(text: str, titles: Sequence[str]) -> list[float | None]:
    """The score that stands last behind each title; one that is part of a longer title is found where it is alone."""
    longest = "|".join(re.escape(title) for title in sorted(titles, key=len, reverse=True))
    score = rf"({longest})[\"'*》」\]\s]*(?:得分|分数|评分|score)?[\"'*\s]*[:=|]\s*[*\"'\s(]*({_NUMBER})"
    found = {title.lower(): number for title, number in re.findall(score, text, re.IGNORECASE)}
    numbers = [found.get(title.lower()) for title in titles]
    return [None if each is None else float(each.replace(" ", "")) for each in numbers]


def _scores(numbers: Sequence[float]) -> tuple[int, ...] | None:
    return tuple(int(each) for each in numbers) if all(each in SCORES for each in numbers) else None


def marginals(scores: Sequence[Sequence[int] | None]) -> list[dict[int, int]]:
    """For each dimension how many verdicts say −1, 0 and 1."""
    known = [each for each in scores if each is not None]
    width = len(known[0]) if known else 0
    return [{value: sum(each[place] == value for each in known) for value in SCORES} for place in range(width)]
