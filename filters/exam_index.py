"""What a text shares with the questions and answers of an exam: n-grams looked up, runs of them, whole rewordings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.fold import LETTERS_END, code_points
from filters.minhash import distinct, ngrams
from filters.similarity import similarity

_ITEM, _PLACE = 24, 22  # bits of an exam item's number, and of a place in a text
_COMMON = 32  # an n-gram in more exam texts than this is boilerplate and identifies none
_LEAST_ANSWER = 40  # n-grams: a fifth of a shorter answer is a phrase anyone may use
_LEAST_PROMPT = 3  # n-grams: likewise when most of a short prompt is part of an exam question
_LETTER = 0.25  # of a Han character, as in augment.language
_LIKE = 0.7
"""Questions as alike as this are all found, of less alike ones some: at Dice d a question of L bigrams shares at least
L·d/(2 − d), so two of its rarest L + 2 − L·d/(2 − d) are among them."""
_AT_ONCE = 1 << 10  # texts looked up at a time
_OFTEN = 512  # questions that a bigram may lead to

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Rows and exam items that share something, a line a pair; `begin`, `length` are of the longest shared run."""

    row: _Ints
    item: _Ints
    share: _Floats  # of the item's n-grams
    span: _Floats  # of the longest run, in Han characters
    begin: _Ints
    length: _Ints


@dataclass(frozen=True)
class Postings:
    """Which items have an n-gram, and where."""

    n: int
    maybe: NDArray[np.bool_]  # by the top bits of a hash: whether any n-gram held has them
    shift: np.uint64
    held: NDArray[np.uint64]
    begin: _Ints
    width: _Ints
    item: _Ints
    place: _Ints

    @classmethod
    def of(cls, n: int, hashes: NDArray[np.uint64], item: _Ints, place: _Ints, most: int) -> Postings:
        """The n-grams that at most `most` items have."""
        order = np.argsort(hashes, kind="stable")
        held, begin, width = np.unique(hashes[order], return_index=True, return_counts=True)
        rare = width <= most
        bits = max(int(16 * len(held)).bit_length(), 10)
        shift = np.uint64(64 - bits)
        maybe = np.zeros(1 << bits, dtype=np.bool_)
        maybe[held[rare] >> shift] = True
        return cls(n, maybe, shift, held[rare], begin[rare], width[rare], item[order], place[order])

    def hits(self, texts: pl.Series) -> tuple[_Ints, _Ints, _Ints, _Ints, _Ints]:
        """(row, place in it, item, place in that) of each shared n-gram, and how many n-grams each text has."""
        hashes, counts = ngrams(texts, self.n)
        at = np.flatnonzero(self.maybe[hashes >> self.shift])
        slot = np.minimum(np.searchsorted(self.held, hashes[at]), max(len(self.held) - 1, 0))
        true = self.held[slot] == hashes[at] if len(self.held) else np.zeros(0, dtype=np.bool_)
        at, slot = at[true], slot[true]
        begins = np.cumsum(counts) - counts
        owner = np.searchsorted(begins + counts, at, side="right")
        width = self.width[slot]
        match = np.arange(int(width.sum())) + np.repeat(self.begin[slot] - (np.cumsum(width) - width), width)
        row, mine = np.repeat(owner, width), np.repeat(at - begins[owner], width)
        return row, mine, self.item[match], self.place[match], counts


@dataclass(frozen=True)
class Pieces:
    """Questions, or answers, of which a text may hold a piece."""

    postings: Postings
    is_answer: bool
    size: _Ints  # n-grams of each item

    @classmethod
    def of(cls, items: pl.DataFrame, n: int, is_answer: bool) -> Pieces:
        """Of items (columns item, text), all of n characters or more."""
        hashes, counts = ngrams(items["text"], n)
        item = np.repeat(items["item"].to_numpy().astype(np.int64), counts)
        place = np.arange(len(hashes)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(Postings.of(n, hashes, item, place, _COMMON), is_answer, np.bincount(item))

    def found_in(self, texts: pl.Series) -> Found | None:
        """What the texts share with the items; None where it is nothing."""
        row, mine, item, place, counts = self.postings.hits(texts)
        if not len(row):
            return None
        pair = row << _ITEM | item
        pairs, shared = np.unique(distinct(pair << _PLACE | place) >> _PLACE, return_counts=True)
        rows, items = pairs >> _ITEM, pairs & ((1 << _ITEM) - 1)
        if self.is_answer:
            share = shared / np.maximum(self.size[items], _LEAST_ANSWER)
        else:
            share = shared / np.minimum(self.size[items], np.maximum(counts[rows], _LEAST_PROMPT))
        diagonal = pair << _PLACE | (mine - place + (1 << _PLACE - 1))
        order = np.argsort(diagonal, kind="stable")
        mine, diagonal = mine[order], diagonal[order]
        starts = np.ones(len(mine), dtype=np.bool_)
        starts[1:] = (diagonal[1:] != diagonal[:-1]) | (mine[1:] != mine[:-1] + 1)
        start = np.flatnonzero(starts)
        end = np.append(start[1:], len(mine)) - 1
        code, offsets, _ = code_points(texts)
        weight = np.concatenate([[0.0], np.cumsum(np.where(code < LETTERS_END, _LETTER, 1.0))])
        pair, begin, length = pair[order][start], mine[start], mine[end] - mine[start] + self.postings.n
        first = offsets[pair >> _ITEM] + begin
        span = weight[first + length] - weight[first]
        longest = np.lexsort((-begin, span, pair))
        longest = longest[np.append(pair[longest][1:] != pair[longest][:-1], True)]
        return Found(rows, items, np.minimum(share, 1.0), span[longest], begin[longest], length[longest])


@dataclass(frozen=True)
class Rewordings:
    """Questions that a text may be as a whole, but for some characters.

    A question counts for nothing that another one, or a row of the user's own (`known`), is as like: where all
    rows are put in one form of words, likeness tells no copy.
    """

    postings: Postings
    texts: pl.Series  # by item
    lengths: _Ints
    unseen: _Ints  # bigrams of each item that lead nowhere, with the one that ends it
    unique: NDArray[np.bool_]  # whether nothing known is as like

    @classmethod
    def of(cls, items: pl.DataFrame, count: int, known: pl.Series) -> Rewordings:
        """Of items (columns item, text); `count` is above every item's number, `known` are folded texts."""
        hashes, counts = ngrams(items["text"], 2)
        line = np.repeat(np.arange(items.height), counts)
        _, which, common = np.unique(hashes, return_inverse=True, return_counts=True)
        order = np.lexsort((hashes, common[which], line))
        rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        enough = counts + 3 - np.ceil((counts + 1) * _LIKE / (2 - _LIKE)).astype(np.int64)
        chosen = order[(rank < np.repeat(enough, counts)) & (common[which][order] <= _OFTEN)]
        number = items["item"].to_numpy().astype(np.int64)
        item = number[line[chosen]]
        by_item = pl.Series("text", [""] * count).scatter(number, items["text"])
        lengths = by_item.str.len_chars().to_numpy().astype(np.int64)
        postings = Postings.of(2, hashes[chosen], item, np.zeros_like(item), _OFTEN)
        unseen = lengths - np.bincount(item, minlength=count)
        every = cls(postings, by_item, lengths, unseen, np.ones(count, dtype=np.bool_))
        unique = every.unique.copy()
        for texts, own in ((items["text"], number), (known.drop_nulls().unique(maintain_order=True), None)):
            for first in range(0, len(texts), _AT_ONCE):
                rows, found, alike = every.found_in(texts[first : first + _AT_ONCE])
                other = alike >= _LIKE if own is None else (alike >= _LIKE) & (own[first + rows] != found)
                unique[found[other]] = False
        return cls(postings, by_item, lengths, unseen, unique)

    def found_in(self, texts: pl.Series) -> tuple[_Ints, _Ints, _Floats]:
        """(row, item, Dice of the bigrams) of texts and questions that are as long and may be as alike as `_LIKE`."""
        length = texts.str.len_chars()
        short = (length * _LIKE <= self.lengths.max(initial=0) * (2 - _LIKE)).arg_true()
        row, mine, item, _, _ = self.postings.hits(texts.gather(short))
        row = short.to_numpy().astype(np.int64)[row]
        pairs, shared = np.unique(distinct((row << _ITEM | item) << _PLACE | mine) >> _PLACE, return_counts=True)
        rows, items = pairs >> _ITEM, pairs & ((1 << _ITEM) - 1)
        ours, theirs = length.to_numpy()[rows].astype(np.int64), self.lengths[items]
        needed = np.ceil((ours + theirs) * _LIKE / 2 - 1e-9)  # bigrams that both have, at this Dice
        near = (shared > 1) & (np.minimum(ours, theirs) >= needed) & (shared + self.unseen[items] >= needed)
        near &= self.unique[items]
        rows, items = rows[near], items[near]
        return rows, items, similarity(texts.gather(rows), self.texts.gather(items))
