"""Where texts lie: a space of character n-grams, topics in it, and a map of it. Offline, the same each time.

TF-IDF of character 1- to 3-grams, of which the largest singular directions are kept (latent semantic analysis,
Deerwester et al., 1990). It sees wording, not meaning.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rjieba
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize

DIRECTIONS = 48
TOPICS = 12
TERMS = 3
"""Words that name a topic."""
PERPLEXITY = 30
_FEATURES = 40_000
_WORDS = """
什么 怎么 怎么办 怎样 如何 为什么 是不是 要不要 能不能 会不会 可以 可不可以 有没有 是否 不是 不要
不会 不能 没有 还是 还有 自己 一下 一点 有点 这样 那样 这个 那个 这种 这些 那些 哪个 哪些 哪种
几个 多少 多久 现在 最近 今天 昨天 已经 就是 但是 因为 所以 如果 而且 或者 以及 需要 应该 觉得
知道 感觉 到底 一直 总是 经常 突然 之后 之前 以后 以前 时候 特别 比较 非常 请问 您好 你好 医生
大家 谢谢 我们 你们 他们 一个 一种 几天 两天 具体 建议 情况 问题 正常 究竟 目前 有时候 说明
好像 一般 一定 起来
"""
_EMPTY = frozenset(_WORDS.split())
"""Words of questions that say nothing about what is asked."""

Vectors = NDArray[np.float64]


@dataclass
class Space:
    """A space that was fitted to some texts."""

    words: TfidfVectorizer
    directions: TruncatedSVD

    def sparse(self, texts: Sequence[str]) -> Any:
        """TF-IDF vectors of length 1, one a line."""
        return self.words.transform(texts)

    def dense(self, sparse: Any) -> Vectors:
        """The same in the space's directions, of length 1 again."""
        found: Vectors = normalize(self.directions.transform(sparse))
        return found


def fit(texts: Sequence[str]) -> Space | None:
    """The space of some texts; None where they are too few or too alike to have one."""
    words = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=2, max_features=_FEATURES, dtype=np.float32
    )
    try:
        found = words.fit_transform(texts)
    except ValueError:  # no n-gram is in two of them
        return None
    most = min(found.shape) - 1
    if most < 2:
        return None
    directions = TruncatedSVD(min(DIRECTIONS, most), random_state=0).fit(found)
    return Space(words, directions)


@dataclass
class Topics:
    """Clusters of the source's texts; `names` are the words that are theirs more than the others'."""

    clusters: KMeans
    names: list[str]

    def of(self, vectors: Vectors) -> NDArray[np.int32]:
        """The topic of each vector."""
        found: NDArray[np.int32] = self.clusters.predict(vectors)
        return found


def topics(vectors: Vectors, texts: Sequence[str]) -> Topics:
    """Topics of some texts by k-means, about √(n/4) of them and at most 12."""
    count = min(TOPICS, max(2, round(math.sqrt(len(texts) / 4))), len(texts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different texts than topics
        clusters = KMeans(count, n_init=4, random_state=0).fit(vectors)
    return Topics(clusters, _names(clusters.labels_, texts, count))


def _names(labels: NDArray[np.int32], texts: Sequence[str], count: int) -> list[str]:
    """The words that weigh most by share × log(share here / share everywhere), a text counting a word once."""
    every: Counter[str] = Counter()
    here = [Counter[str]() for _ in range(count)]
    for label, text in zip(labels, texts, strict=True):
        found = {word.lower() for word in rjieba.cut(text) if len(word) > 1 and word.isalpha()}
        found -= _EMPTY | ENGLISH_STOP_WORDS
        every.update(found)
        here[label].update(found)
    sizes = np.bincount(labels, minlength=count)
    names = []
    for place, words in enumerate(here):
        size, whole = max(1, int(sizes[place])), max(1, len(texts))
        weight = {word: n / size * math.log((n / size) / (every[word] / whole)) for word, n in words.items()}
        best = sorted(weight, key=lambda word: (-weight[word], word))[:TERMS]
        names.append(" ".join(best) or f"topic {place + 1}")
    return [name if names.count(name) == 1 else f"{name} ({place + 1})" for place, name in enumerate(names)]


def flat(vectors: Vectors) -> Vectors:
    """A map of the vectors: near ones are near (t-SNE, van der Maaten and Hinton, 2008). Its axes mean nothing."""
    if len(vectors) < 5:
        return vectors[:, :2]
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    spread = vectors + np.random.default_rng(0).normal(0, 1e-6, vectors.shape)  # equal texts have no direction apart
    found: Vectors = TSNE(2, init="pca", perplexity=perplexity, max_iter=500, random_state=0, n_jobs=1).fit_transform(
        spread
    )
    return found
