"""What a page is made of: sections of tables, charts and examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a bar behind it from 0 to 1 if there is one, and its tone ("kept", "dropped" or "text")."""

    text: str
    bar: float | None = None
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column is a heading. `links` are filters for the rows, one a line."""

    kind: ClassVar[str] = "table"
    title: str
    head: list[str]
    rows: list[tuple[str, list[Cell]]]
    links: list[dict[str, str]] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A plot: its Vega-Lite specification, and what it shows in a line."""

    kind: ClassVar[str] = "chart"
    id: str
    title: str
    spec: dict[str, Any]
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Example:
    """Rows that were dropped for one reason: `counts` are told beside the title, `link` filters for all of them.

    `absent` is what stands for a text that there is not.
    """

    title: str
    counts: list[str]
    link: dict[str, str]
    pairs: list[dict[str, Any]]
    absent: str = "no text"


@dataclass(frozen=True)
class Examples:
    """Rows that were dropped, by reason."""

    kind: ClassVar[str] = "examples"
    title: str
    items: list[Example]


@dataclass(frozen=True)
class Tile:
    """A small picture (WebP in base64), the id of its row, what it shows in words, and what is told under it."""

    shot: str
    row: str
    alt: str
    told: str
    kind: str


@dataclass(frozen=True)
class Sheet:
    """Small pictures in lines, each a seed and its variants; `link` is a filter for all of them."""

    kind: ClassVar[str] = "sheet"
    title: str
    lines: list[list[Tile]]
    link: dict[str, str]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page. `tiles` are numbers that matter most, by run; `said` is one sentence."""

    id: str
    title: str
    blocks: Sequence[Table | Chart | Examples | Sheet] = ()
    tiles: Sequence[tuple[str, list[tuple[str, str]]]] = ()
    said: str = ""


def number(value: Any) -> str:
    """A count or a figure as it is read: 12,345, 0.813, – for none."""
    if value is None or isinstance(value, str):
        return value or "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{int(value):,}"
