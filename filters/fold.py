"""Comparison keys: what two texts have in common once width, script, case and punctuation are set aside.

Keys are for comparing, never for publishing. NFKC and lower case are polars'; traditional to simplified
(OpenCC, one code point at a time) and punctuation are one look-up in a numpy table.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
import opencc
import polars as pl
from numpy.typing import NDArray

from filters.code_points import CodePoints

_TOP = 0x30000  # above are rare ideographs, variation selectors and private use: left as they are
_BLANK = 0x20
_WHOLE = 0xFFFFFFFF
_PLAIN = frozenset(("Lo", "Cn", "Co", "Cs"))  # letters without case, and code points without a character
LETTERS_END = 0x2E80  # scripts below put blanks between words, those above (Chinese, Japanese) do not
_SYMBOLS_KEPT = frozenset("+<>=±×÷≤≥≈%‰$€£¥")  # they carry meaning in a number


def fold(texts: pl.Series) -> pl.Series:
    """The comparison key of each text; null stays null.

    Punctuation, blanks and symbols become one blank between two letters or digits of scripts that put
    blanks between words ("3.5" does not meet "35", "follow-up" meets "follow up") and vanish elsewhere. A
    text of nothing else keeps its own form, so that "?!" and "😀" do not meet.
    """
    keys = pl.Series(folded(texts).strings(), dtype=pl.String)
    return pl.select(pl.when(texts.is_not_null()).then(keys).alias(texts.name)).to_series()


def folded(texts: pl.Series) -> CodePoints:
    """The comparison keys as code points; null counts as ""."""
    raw = CodePoints.of(texts)
    mapped = _mapped(raw.code)
    odd = np.flatnonzero(mapped == _WHOLE)
    mapped[odd] = 0
    keys = _spaced(CodePoints(mapped, raw.lengths))
    unsaid = np.flatnonzero((keys.lengths == 0) & (raw.lengths > 0))
    if len(odd) or len(unsaid):
        rows = np.unique(np.searchsorted(raw.ends, odd, side="right"))
        keys = keys.replaced(rows, _keys_of_whole(_normal(texts.gather(rows))))
        empty = unsaid[keys.lengths[unsaid] == 0]
        keys = keys.replaced(empty, CodePoints.of(_normal(texts.gather(empty))))
    return keys


def unfolded(text: str, part: str) -> str:
    """The piece of `text` whose key is `part`, a part of the key of `text`.

    Where marks combine across characters the piece is not found, and it is `part`.
    """
    images = [_image(char) for char in text]
    wanted = part.replace(" ", "")
    at = "".join(images).find(wanted)
    if at < 0 or not wanted:
        return part
    ends = list(accumulate(map(len, images)))
    return text[bisect_right(ends, at) : bisect_left(ends, at + len(wanted)) + 1]


@cache
def _image(char: str) -> str:
    """What a character becomes in a key, without blanks."""
    mapped = int(_table()[ord(char)]) if ord(char) < _TOP else ord(char)
    if mapped != _WHOLE:
        return chr(mapped) if mapped > _BLANK else ""
    form = unicodedata.normalize("NFKC", char).lower()
    return form if form == char else "".join(_image(each) for each in form)


def _keys_of_whole(normal: pl.Series) -> CodePoints:
    texts = CodePoints.of(normal)
    mapped = _mapped(texts.code)
    return _spaced(CodePoints(np.where(mapped == _WHOLE, texts.code, mapped), texts.lengths))  # a mark alone stays


def _normal(texts: pl.Series) -> pl.Series:
    return texts.str.normalize("NFKC").str.to_lowercase()


def _mapped(code: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return np.where(code < _TOP, np.take(_table(), code, mode="clip"), code)


def _spaced(texts: CodePoints) -> CodePoints:
    """The texts without what the table deletes, and with blanks only where they part words; writes into their array."""
    code, starts, ends, lengths = texts.code, texts.starts, texts.ends, texts.lengths
    gone = np.flatnonzero(code <= _BLANK)
    rows = np.searchsorted(ends, gone, side="right")
    left = lengths - np.bincount(rows, minlength=len(lengths))
    first = np.flatnonzero(np.append(True, np.diff(gone) > 1)[: len(gone)])  # of each run of what is gone
    before, after = gone[first] - 1, gone[np.append(first[1:], len(gone))[: len(first)] - 1] + 1
    blank = np.add.reduceat(code[gone] == _BLANK, first, dtype=np.int64) > 0 if len(first) else first > 0
    inner = blank & (before >= 0) & (after < len(code))  # not where something was merely deleted
    before, after = before[inner], after[inner]
    in_row = np.searchsorted(starts, before, side="right") == np.searchsorted(starts, after, side="right")
    gap = (after - 1)[in_row & (code[before] < LETTERS_END) & (code[after] < LETTERS_END)]
    code[gap] = _BLANK
    kept = code > _BLANK
    kept[gap] = True
    left += np.bincount(np.searchsorted(ends, gap, side="right"), minlength=len(lengths))
    return CodePoints(code[kept], left)


def code_points(texts: pl.Series) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """All texts as one array of code points, with the start and the length of each; null counts as ""."""
    points = CodePoints.of(texts)
    return points.code, points.starts, points.lengths


@cache
def _table() -> NDArray[np.uint32]:
    """Code point to code point: 0 deletes, 0x20 stands for punctuation, blanks and most symbols.

    `_WHOLE` marks what cannot be judged alone: marks that combine, and characters that become several.
    """
    table = np.arange(_TOP, dtype=np.uint32)
    for code in range(_TOP):
        if 0x3400 <= code < 0x4DC0 or 0x4E00 <= code < 0xA000 or 0xAC00 <= code < 0xD7A4 or 0x20000 <= code < 0x2F800:
            continue  # Han and Hangul: letters in normal form
        char = chr(code)
        plain = unicodedata.category(char) in _PLAIN and not 0x1100 <= code < 0x1200
        if not (plain and unicodedata.is_normalized("NFKC", char)):
            table[code] = _folded(char)
    converter: Any = opencc.OpenCC("t2s")
    for begin, end in ((0x3400, 0xA000), (0x20000, 0x2F800)):
        simple = converter.convert("\n".join(map(chr, range(begin, end)))).split("\n")
        table[begin:end] = [ord(char) if len(char) == 1 else code for code, char in enumerate(simple, begin)]
    settled = np.where(table < _TOP, table[np.minimum(table, _TOP - 1)], table)
    settled[_BLANK] = _BLANK
    return settled


def _folded(char: str) -> int:
    form = unicodedata.normalize("NFKC", char).lower()
    kinds = {unicodedata.category(each) for each in form}
    if 0xFE00 <= ord(char) < 0xFE10 or kinds == {"Cf"}:
        return 0
    if all(kind[0] in "PZ" or (kind[0] == "S" and kind != "Sc") for kind in kinds) and not set(form) & _SYMBOLS_KEPT:
        return _BLANK
    if "Cc" in kinds:
        return _BLANK if char.isspace() else 0
    combines = any(kind[0] == "M" for kind in kinds) or 0x1100 <= ord(form[0]) < 0x1200 or char == "Σ"
    return _WHOLE if combines or len(form) > 1 else ord(form)
