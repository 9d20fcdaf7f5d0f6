"""Foreign text and aligned columns for a terminal: a line each, and nothing in it that could drive the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size

_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"  # they are part of emoji and of several scripts, and move nothing


def escaped(text: str) -> str:
    """The text with every character that is no glyph (controls, line ends, bidi overrides) as its escape."""
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode()
        if each not in _JOINERS and unicodedata.category(each) in _UNSEEN
        else each
        for each in text
    )


def one_line(text: str, limit: int = 120) -> str:
    """The text on one line of at most `limit` terminal cells (a Chinese character takes two), safe to print."""
    start = text[: 4 * limit]
    flat = escaped(" ".join(start.split()))
    if cell_len(flat) <= limit and start == text:
        return flat
    return set_cell_size(flat, min(limit - 1, cell_len(flat))).rstrip() + "…"


def aligned(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """A table as lines, the headings first: `left` columns start at the left, the others end at the right.

    Nothing is wrapped or cut, whatever the terminal's width, so that what is piped is whole.
    """
    lines = [headings, *rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]

    def line_of(cells: Sequence[str]) -> str:
        gaps = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        padded = (
            cell + gap if place < left else gap + cell
            for place, (cell, gap) in enumerate(zip(cells, gaps, strict=True))
        )
        return "  ".join(padded).rstrip()

    return [line_of(cells) for cells in lines]


def size_of(count: int) -> str:
    """Bytes as a person reads them: "126 kB"."""
    size, units = float(count), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 999.5 and unit != "TB":
        size, unit = size / 1000, next(units)
    return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:.0f} {unit}"
