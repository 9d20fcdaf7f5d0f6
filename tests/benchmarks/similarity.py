"""Similarity to gold answers, against its published definition: `python -m tests.benchmarks.similarity [--smallest]`.

9,492 questions with four answers each, of the lengths of CHBench's gold answers, on one core. The definition fits
scikit-learn's CountVectorizer to each pair, once for the cosine and once for Jaccard; it is timed on a share of the pairs,
and every pair of that share must come out the same.
"""

from __future__ import annotations

import os
import random
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import CountVectorizer

from augment.sources import open_source
from finetune.scorers.similarity import similarity
from tests.benchmarks.measure import Result, arguments, median

ROWS, ANSWERS, LENGTH = 9492, 4, 480


def texts(count: int, seed: int) -> list[str]:
    """Answers put together of the sample's sentences, about `LENGTH` characters each."""
    rng = random.Random(seed)
    source = open_source("sample")
    whole = "".join(source.seeds["response"]) + "".join(source.exam["response"])
    sentences = [each + "。" for each in whole.split("。") if each]
    made = []
    for _ in range(count):
        wanted, text = rng.gauss(LENGTH, 120), ""
        while len(text) < wanted:
            text += rng.choice(sentences)
        made.append(text)
    return made


def counted(one: str, other: str) -> np.ndarray:
    """The counts of both texts' characters, shape (2, characters), as the definition takes them."""
    vectorizer = CountVectorizer(tokenizer=lambda text: text.split())
    return vectorizer.fit_transform([" ".join(one), " ".join(other)]).toarray()


def defined(one: str, other: str) -> tuple[float, float]:
    a, b = counted(one, other)
    cosine = float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))
    a, b = counted(one, other)
    return cosine, float(np.sum(np.minimum(a, b)) / np.sum(np.maximum(a, b)))


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--share", type=int, default=600, help="pairs that the definition is timed on")
    args = parser.parse_args(argv)
    if args.smallest:
        args.rows, args.share, args.repeats = 40, 20, 1
    warnings.simplefilter("ignore")
    result = Result("similarity")
    gold = texts(args.rows, 1) * ANSWERS
    answers = texts(args.rows * ANSWERS, 2)
    ours, theirs = [], []
    for repeat in range(args.repeats):
        begun = time.process_time()
        cosine, jaccard = similarity(pl.Series(gold), pl.Series(answers))
        ours.append((time.process_time() - begun) / len(gold))
        places = random.Random(repeat).sample(range(len(gold)), min(args.share, len(gold)))
        begun = time.process_time()
        expected = [defined(gold[place], answers[place]) for place in places]
        theirs.append((time.process_time() - begun) / len(places))
        apart = np.abs(np.array(expected) - np.stack([cosine[places], jaccard[places]], axis=1)).max()
        result.check("equal to the definition to 1e-9", apart < 1e-9, float(apart))
    for name, seconds in (("augment", ours), ("CountVectorizer", theirs)):
        result.rows.append(
            {
                "way": name,
                "us a pair": median(seconds) * 1e6,
                "s for all": median(seconds) * len(gold),
                "times faster": median(theirs) / median(seconds),
            }
        )
    result.notes.append(f"{len(gold):,} pairs; processor seconds of one core; the definition on {args.share:,} of them")
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    raise SystemExit(main().code)
