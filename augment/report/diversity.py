"""How different the texts of a set are from each other: distinct-n, self-BLEU and the Vendi score.

All of them depend on how many texts there are, so sets are compared on samples of one size. A text in a spaced script
is read by words, another by characters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

ORDER = 4
"""BLEU-4: n-grams of one to four tokens."""
SMOOTH = 0.1
"""What a precision of zero counts as, in matches (Chen and Cherry, 2014, method 1)."""

_TOKEN = re.compile(r"[0-9A-Za-zÀ-ɏͰ-ϿЀ-ӿ֐-ۿ가-힯]+|[^\W\s]")


@dataclass(frozen=True)
class Diversity:
    """Of `n` texts: distinct n-grams over all for n = 1, 2; mean self-BLEU; how many unlike texts they are worth."""

    n: int
    distinct_1: float
    distinct_2: float
    self_bleu: float
    vendi: float


def diversity(texts: Sequence[str]) -> Diversity:
    """The measures of some texts; NaN where they are too few to say anything."""
    tokens = [tokens_of(each) for each in texts]
    return Diversity(len(texts), distinct(tokens, 1), distinct(tokens, 2), self_bleu(tokens), vendi(texts))


def tokens_of(text: str) -> list[str]:
    """Words of a spaced script, characters of another; punctuation is left out, case does not count."""
    return _TOKEN.findall(text.lower())


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """distinct-n (Li et al., 2016): different n-grams over all n-grams of all texts; 1 is the most diverse."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def self_bleu(texts: Sequence[Sequence[str]]) -> float:
    """Self-BLEU (Zhu et al., 2018): the mean BLEU-4 of each text with all others as its references; 0 is most diverse.

    A clipped count needs only the largest and the second largest count of each n-gram over the texts, so this takes
    one pass, not one for each pair.
    """
    texts = [each for each in texts if each]
    if len(texts) < 2:
        return math.nan
    counts = [[Counter(_grams(text, n)) for n in range(1, ORDER + 1)] for text in texts]
    best: list[dict[tuple[str, ...], tuple[int, int]]] = [{} for _ in range(ORDER)]
    for text in counts:
        for n, grams in enumerate(text):
            for gram, count in grams.items():
                first, second = best[n].get(gram, (0, 0))
                best[n][gram] = (count, first) if count > first else (first, max(second, count))
    lengths = sorted(map(len, texts))
    scores = [_bleu(text, its, best, lengths) for text, its in zip(texts, counts, strict=True)]
    return sum(scores) / len(scores)


def _bleu(
    text: Sequence[str],
    counts: list[Counter[tuple[str, ...]]],
    best: list[dict[tuple[str, ...], tuple[int, int]]],
    lengths: list[int],
) -> float:
    logs = 0.0
    for n, grams in enumerate(counts):
        whole = max(1, sum(grams.values()))
        matched = 0
        for gram, count in grams.items():
            first, second = best[n][gram]
            matched += min(count, second if count == first else first)  # of the others: not its own
        logs += math.log((matched or SMOOTH) / whole) / ORDER
    shorter = _nearest(lengths, len(text)) / len(text)
    return math.exp(logs + min(0.0, 1 - shorter))


def _nearest(lengths: list[int], length: int) -> int:
    """The length among the others' that is nearest, as BLEU's brevity penalty asks for; the shorter of two."""
    place = int(np.searchsorted(lengths, length))
    around = [lengths[each] for each in (place - 1, place + 1) if 0 <= each < len(lengths)]
    return min(around, key=lambda each: (abs(each - length), each))


def vendi(texts: Sequence[str]) -> float:
    """The Vendi score (Friedman and Dieng, 2023): how many wholly different texts these are worth, from 1 to n.

    The exponential of the entropy of the eigenvalues of K / n, K being the cosines of the texts' character 1- to
    3-gram TF-IDF vectors.
    """
    texts = [each for each in texts if each.strip()]
    if len(texts) < 2:
        return math.nan
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True).fit_transform(texts)
    kernel = (vectors @ vectors.T).toarray() / len(texts)
    values = np.linalg.eigvalsh(kernel)
    values = values[values > 1e-12]
    return float(np.exp(-np.sum(values * np.log(values))))


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[place : place + n]) for place in range(len(tokens) - n + 1)]
