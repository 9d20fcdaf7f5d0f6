"""Chinese documents of known likeness: real clauses recombined, near copies planted, every Jaccard computed exactly.

The clauses are the sample's and, when AUGMENT_CHBENCH_DIR is set, CHBench's, folded to their comparison keys, so that every
tool counts the same character 5-grams whatever it strips. Two documents that were not planted as alike share some of their
ten to sixty clauses by chance and come nowhere near .7; at the smallest size that is checked over all pairs.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import polars as pl

from augment.places import data_dir
from filters.fold import fold

_CLAUSES = re.compile(r"[，。？！；：、,.?!;:\n]")
N = 5


@dataclass(frozen=True)
class Corpus:
    """Documents, and the rows of each family: those planted as more or less alike."""

    texts: list[str]
    families: list[list[int]]

    def alike(self, least: float) -> list[tuple[int, int]]:
        """All pairs of rows whose Jaccard is at least `least`, exactly; (earlier, later)."""
        found = []
        for family in self.families:
            grams = {row: ngrams(self.texts[row]) for row in family}
            found += [(a, b) for a, b in combinations(sorted(family), 2) if jaccard(grams[a], grams[b]) >= least]
        return found


def ngrams(text: str, n: int = N) -> set[str]:
    return {text[at : at + n] for at in range(max(len(text) - n + 1, 1))}


def jaccard(left: set[str], right: set[str]) -> float:
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def chbench() -> list[dict[str, str]]:
    """CHBench's rows where AUGMENT_CHBENCH_DIR has them, else none."""
    folder = os.environ.get("AUGMENT_CHBENCH_DIR")
    rows: list[dict[str, str]] = []
    for path in sorted(Path(folder).glob("CHBench_*.csv")) if folder else ():
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows += [{"question": row["query"], "answer": row["ErnieA"]} for row in csv.DictReader(file)]
    return rows


def sample() -> list[dict[str, str]]:
    """The bundled Chinese questions and answers."""
    names = ("physical_zh.jsonl", "mental_zh.jsonl")
    lines = [line for name in names for line in (data_dir() / "sample" / name).read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines]


@cache
def clauses() -> list[str]:
    """Every clause of 5 to 40 characters, folded."""
    texts = [row[name] for row in (*sample(), *chbench()) for name in ("question", "answer")]
    parts = fold(pl.Series([part for text in texts for part in _CLAUSES.split(text) if part.strip()]))
    return sorted({part for part in parts.to_list() if 5 <= len(part) <= 40 and " " not in part})


def fresh(rng: random.Random, least: int = 100, most: int = 500) -> str:
    """A document of about `least` to `most` characters."""
    wanted, parts, length = rng.randint(least, most), [], 0
    while length < wanted:
        parts.append(rng.choice(clauses()))
        length += len(parts[-1])
    return "".join(parts)[:most]


def edited(text: str, likeness: float, rng: random.Random) -> str:
    """A copy with characters replaced so that about `likeness` is left of its Jaccard: an edit costs five n-grams."""
    letters, pool = list(text), clauses()
    for at in rng.sample(range(len(text)), round(len(text) * (1 - likeness) / (N * (1 + likeness)))):
        letters[at] = rng.choice(rng.choice(pool))
    return "".join(letters)


def documents(count: int, seed: int = 7, copies: float = 0.15) -> Corpus:
    """`count` documents of 100–500 characters, `copies` of them edits (.4 to 1.0) of a document before."""
    rng = random.Random(seed)
    texts: list[str] = []
    family: dict[int, list[int]] = {}
    heads: list[int] = []
    for row in range(count):
        if heads and rng.random() < copies:
            head = rng.choice(heads)
            likeness = 1.0 if rng.random() < 0.1 else rng.uniform(0.4, 0.98)
            texts.append(edited(texts[head], likeness, rng))
            family[head].append(row)
        else:
            heads.append(row)
            family[row] = [row]
            texts.append(fresh(rng))
    return Corpus(texts, [rows for rows in family.values() if len(rows) > 1])


def augmented(count: int, seed: int = 8, variants: int = 5) -> Corpus:
    """Seeds of 60–300 characters, each followed by five variants whose Jaccard to it is .30 to .72."""
    rng = random.Random(seed)
    texts: list[str] = []
    families = []
    while len(texts) < count:
        head = len(texts)
        texts.append(fresh(rng, 60, 300))
        texts += [edited(texts[head], rng.uniform(0.30, 0.72), rng) for _ in range(variants)]
        families.append(list(range(head, len(texts))))
    return Corpus(texts[:count], [[row for row in rows if row < count] for rows in families])


def closest_of_others(corpus: Corpus) -> float:
    """The largest Jaccard of two documents of different families, over all pairs."""
    grams = [ngrams(text) for text in corpus.texts]
    of = {row: number for number, rows in enumerate(corpus.families) for row in rows}
    pairs: Iterator[Sequence[int]] = combinations(range(len(grams)), 2)
    unlike = ((a, b) for a, b in pairs if of.get(a, -1) != of.get(b, -2))
    return max(jaccard(grams[a], grams[b]) for a, b in unlike)
