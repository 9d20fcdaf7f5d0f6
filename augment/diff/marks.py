"""Two texts as one, with what differs marked as [-old-]{+new+}: words of spaced scripts, characters of Chinese."""

from __future__ import annotations

import difflib
import re

from augment.tables import escaped

_TOKEN = re.compile(r"[0-9A-Za-zÀ-ɏЀ-ӿ]+|\s+|.", re.DOTALL)
_CONTEXT = 12
"""Characters left of an equal stretch on each side of a change."""
_SPAN = 60
"""Characters shown of a changed stretch."""
_LONGEST = 240
_TOKENS = 600
"""Tokens of a differing stretch that are aligned, at a cost of their product; a longer one is marked as a whole."""

Piece = tuple[str, str]
"""A kind, "=", "-" or "+", and its text."""


def marked(old: str, new: str) -> list[Piece]:
    """The pieces of `old` turned into `new`, on one line, safe to print, cut to what differs and a little around it."""
    shown: list[Piece] = []
    for kind, text in _shortened(pieces(old, new)):
        if sum(len(each) for _, each in shown) > _LONGEST and kind == "=":
            return [*shown, ("=", "…")]
        shown.append((kind, escaped(text)))
    return shown


def as_text(pieces: list[Piece]) -> str:
    """The pieces with their marks, readable without colour."""
    marks = {"=": "{}", "-": "[-{}-]", "+": "{{+{}+}}"}
    return "".join(marks[kind].format(text) for kind, text in pieces)


def pieces(old: str, new: str) -> list[Piece]:
    """The pieces of `old` turned into `new`, whole: words of spaced scripts, characters of Chinese."""
    return _pieces(_TOKEN.findall(old), _TOKEN.findall(new))


def _pieces(old: list[str], new: list[str]) -> list[Piece]:
    """The texts aligned, token by token."""
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    pieces = [("=", "".join(old[:start])), *_aligned(middle_old, middle_new), ("=", "".join(old[len(old) - end :]))]
    return [piece for piece in pieces if piece[1]]


def _common(old: list[str], new: list[str]) -> int:
    """How many tokens both begin with."""
    for place, (ours, theirs) in enumerate(zip(old, new, strict=False)):
        if ours != theirs:
            return place
    return min(len(old), len(new))


def _aligned(old: list[str], new: list[str]) -> list[Piece]:
    if max(len(old), len(new)) > _TOKENS:
        return [("-", "".join(old)), ("+", "".join(new))]
    pieces: list[Piece] = []
    gone = came = ""
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        alone = kind == "equal" and b - a == 1 and a > 0 and b < len(old)  # one token between two changes is chance
        if kind == "equal" and not alone:
            pieces += [("-", gone), ("+", came), ("=", "".join(old[a:b]))]
            gone = came = ""
        else:
            gone += "".join(old[a:b])
            came += "".join(new[c:d])
    return [*pieces, ("-", gone), ("+", came)]


def _shortened(pieces: list[Piece]) -> list[Piece]:
    """Long stretches without their middle, and the ends far from any change without their far part."""
    short: list[Piece] = []
    for place, (kind, text) in enumerate(pieces):
        first, last = place == 0, place == len(pieces) - 1
        if kind != "=" or (first and last):
            cut = text if len(text) <= _SPAN else text[:_SPAN] + "…"
        elif len(text) <= (2 if first or last else 3) * _CONTEXT:
            cut = text
        else:
            cut = ("" if first else text[:_CONTEXT]) + "…" + ("" if last else text[-_CONTEXT:])
        short.append((kind, cut))
    return short
