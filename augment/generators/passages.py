"""Passages: windows of a long one, cut where sentences end, and where in one a quotation stands."""

from __future__ import annotations

import re
import unicodedata

_ENDS = (
    re.compile(r"\n\s*\n|\n"),
    re.compile(r"[。！？!?；;…]+[”’」』）)\"']*|(?<=[\w)\"'])\.[\"')]*(?=\s)"),
    re.compile(r"[，、：,:]|\s"),
)
"""Where a passage may be cut: better ends first."""
_SAME = str.maketrans(
    {"。": ".", "、": ",", "…": "...", "“": '"', "”": '"', "「": '"', "」": '"', "『": '"', "』": '"'}
)
_SAME |= str.maketrans({"‘": "'", "’": "'", "—": "-", "–": "-", "－": "-", "～": "~", "〜": "~"})


def windows(text: str, size: int) -> list[str]:
    """The text in pieces of at most `size` characters, about equally long, cut at ends of paragraphs or sentences.

    Where there is none near, at a comma or blank, and within a word only where there is nothing else.
    """
    found, rest = [], text.strip()
    while len(rest) > size:
        goal = len(rest) // -(-len(rest) // size)
        at = _cut(rest, goal, size)
        found.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    return [each for each in (*found, rest) if each]


def _cut(text: str, goal: int, size: int) -> int:
    """Where to cut: the end nearest to `goal`, of the best kind that there is around it."""
    for kind in _ENDS:
        ends = [match.end() for match in kind.finditer(text, 0, size + 1) if goal // 2 < match.end() <= size]
        if ends:
            return min(ends, key=lambda end: abs(end - goal))
    return goal


def located(passage: str, quotation: str) -> str | None:
    """The passage's own characters that a quotation repeats, whatever width, case, quotes and blanks it has.

    None where they are not in the passage in one piece. Blanks count between two letters or two digits of scripts that
    put blanks between words ("1 2" is not "12"), and punctuation counts ("3.5" is not "35").
    """
    wanted, _ = _plain(quotation)
    held, places = _plain(passage)
    at = held.find(wanted)
    while wanted and at >= 0:
        end = at + len(wanted)
        whole = (
            at == 0 or not _inside(held[at - 1], held[at]),
            end == len(held) or not _inside(held[end - 1], held[end]),
        )
        if all(whole):
            return passage[places[at] : places[end - 1] + 1]
        at = held.find(wanted, at + 1)
    return None


def _plain(text: str) -> tuple[str, list[int]]:
    """A text as it is compared, and the place in `text` that each of its characters is from."""
    chars: list[tuple[str, int]] = []
    blank = -1
    for place, char in enumerate(text):
        if char.isspace():
            blank = place
            continue
        for each in unicodedata.normalize("NFKC", char.translate(_SAME)).lower().translate(_SAME):
            if blank >= 0 and chars and _inside(chars[-1][0], each):
                chars.append((" ", blank))
            blank = -1
            chars.append((each, place))
    return "".join(char for char, _ in chars), [place for _, place in chars]


def _inside(one: str, other: str) -> bool:
    """Whether two characters side by side are of one word or number."""
    return (
        one < "\u2e80"
        and other < "\u2e80"
        and ((one.isalpha() and other.isalpha()) or (one.isdigit() and other.isdigit()))
    )
