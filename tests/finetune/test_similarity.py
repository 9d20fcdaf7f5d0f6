"""Similarity against the published definition: scikit-learn's counts of each pair's characters."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from augment.sources import open_tables
from finetune.scorers import ANSWERS
from finetune.scorers.similarity import Similarity, histogram, similarity

CHBENCH = os.environ.get("AUGMENT_CHBENCH_DIR")


def published(one: str, other: str) -> tuple[float, float]:
    """Cosine and Jaccard as CHBench's authors define them: a vectorizer fitted on the two texts alone."""
    try:
        counts = CountVectorizer(tokenizer=str.split, token_pattern=None).fit_transform(
            [" ".join(one), " ".join(other)]
        )
    except ValueError:  # an empty vocabulary
        return 0.0, 0.0
    a, b = counts.toarray().astype(float)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return (float(a @ b / norms) if norms else 0.0), float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


TEXTS = (
    "头疼怎么办",
    "头疼 怎么\u3000办\n",
    "Vitamin C 与 vitamin c",
    "ΣΑΣ İstanbul ẞß ǅ ĲŒ",
    "😀😀🏥 12.5mg，一日3次",
    "",
    " \t\u2003\u00a0\u1680",
    "None!",
    "\x1c\x1d分隔\x85符",
    "a" * 700 + "头" * 300,
    "𠮷野家𪚥",
)


def test_every_pair_of_odd_texts_is_scored_as_published():
    pairs = [(one, other) for one in TEXTS for other in TEXTS]
    cosine, jaccard = similarity(*(pl.Series(side, dtype=pl.String) for side in zip(*pairs, strict=True)))
    for pair, ours in zip(pairs, zip(cosine, jaccard, strict=True), strict=True):
        assert ours == pytest.approx(published(*pair), abs=1e-12), pair


def test_many_pairs_are_scored_as_few_are():
    """Blocks and stretches of pairs have edges; nothing may cross them."""
    rng = np.random.default_rng(0)
    words = np.array(list("头疼失眠怎么办abcABC ，。"))
    texts = ["".join(rng.choice(words, rng.integers(0, 40))) for _ in range(2000)]
    texts[700:1100] = texts[:100] * 4  # as a gold answer is there once a model
    ours, theirs = pl.Series(texts), pl.Series(texts[1:] + texts[:1])
    cosine, jaccard = similarity(ours, theirs)
    for place in [0, 31, 32, 511, 512, 513, 1024, 1999, *rng.integers(0, 2000, 200)]:
        expected = published(ours[int(place)], theirs[int(place)])
        assert (cosine[place], jaccard[place]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.skipif(CHBENCH is None, reason="set AUGMENT_CHBENCH_DIR")
def test_the_reference_is_reproduced():
    reference = json.loads((Path(CHBENCH or "") / "similarity_reference.json").read_text("utf-8"))
    gold: dict[str, list[str]] = {}
    for table in open_tables("chbench")[1]:
        for _, row in table.rows:
            gold.setdefault(row["domain"], []).append(row["ErnieA"])
    pairs = reference["pairs"]
    ours = [gold[each["domain"]][each["gold_row"]] for each in pairs] + [each["a"] for each in reference["literal"]]
    theirs = [gold[each["domain"]][each["other_row"]][: each.get("prefix_chars")] for each in pairs]
    theirs += [each["b"] for each in reference["literal"]]
    cosine, jaccard = similarity(pl.Series(ours), pl.Series(theirs))
    expected = [*pairs, *reference["literal"]]
    assert len(expected) > 140
    assert cosine == pytest.approx([each["cosine"] for each in expected], abs=1e-9)
    assert jaccard == pytest.approx([each["jaccard"] for each in expected], abs=1e-9)


@pytest.mark.parametrize("answer", ["None!", "None！", " None! ", "", "  ", None])
def test_a_failed_answer_scores_nothing(answer):
    row = {"gold": "None! 是一个词", "answer": answer, "model": "m", "id": "1", "query": "?"}
    found = Similarity()(pl.DataFrame([row], schema=ANSWERS)).row(0, named=True)
    assert (found["failed"], found["cosine"], found["jaccard"]) == (True, 0.0, 0.0)


def test_a_row_without_gold_has_no_similarity():
    row = {"gold": None, "answer": "有答案", "model": "m", "id": "1", "query": "?"}
    found = Similarity()(pl.DataFrame([row], schema=ANSWERS)).row(0, named=True)
    assert (found["failed"], found["cosine"], found["jaccard"]) == (False, None, None)


def test_the_histograms_last_bin_is_closed_and_the_others_are_open_above():
    assert histogram(np.array([0.0, 0.0999999, 0.1, 0.3, 0.7, 0.9, 1.0])) == [2, 1, 0, 1, 0, 0, 0, 1, 0, 2]
