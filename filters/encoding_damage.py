"""What goes wrong between bytes and text: mojibake, replacement characters, escapes and entities left in."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context

_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_WORTH_A_LOOK = (
    "\ufffd|锟|烫烫烫|屯屯屯|锘",
    "Â|Ã|â|ã|ä|å|æ",
    "ç|è|é|ï|ð|í",
    "£¬|¡£|£¿|¡¢|µÄ|ÊÇ|²»|ÓÐ|ÎÒ|ÄÜ|ÔÚ|ÁË|ÔõÃ´",
    "锛|銆|涓|鐨|鏄|浣|鍦",
    "鎴|鏈|鍚|鎬|涔|鈥|掳",
    "悧|殑|紝|紵|槸|鐤|瀹",
    r"\\[uUxnrt]",
    "&#?[A-Za-z0-9]{2,12};",
    "</?[A-Za-z]",
    "[\u200b-\u200f]",
    "[\u202a-\u202e]",
    "[\u2060-\u2064]",
    "[\u2066-\u2069]",
    "\ufeff",
    "\u00ad",
)
"""Apart, and with few first bytes each, they are twenty times as fast as in one pattern. Those in Latin or Chinese
letters are what the commonest characters become; a short misread text may have none of them."""

_LATIN = re.compile(rf"[Â-ô][\u0080-\u00bf{_CP1252}]{{1,3}}")
_TWICE = re.compile(r"[¡-þ]{4,}")
_FAR = re.compile(r"[^\x00-\x7f]{3,}")
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\x[0-9a-fA-F]{2}|\\[nrt](?![a-z])")
_ENTITY = re.compile(r"&(?:#[0-9]{2,7}|#[xX][0-9a-fA-F]{2,6}|[A-Za-z][A-Za-z0-9]{1,11});")
_TAG = re.compile(
    r"(?i)</?(?:br|p|div|span|strong|em|b|i|u|ul|ol|li|td|tr|th|table|font|a|img|h[1-6])(?: [^<>\n]{0,200})?/?>"
)
_INVISIBLE = re.compile(r"[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u00ad]")
_JOINER = re.compile(r"(?<=[ -~\u2e80-\ud7ff])[\u200c\u200d](?=[ -~\u2e80-\ud7ff])")
_MISREAD = re.compile(r"鈥[^\x00-\x7f]?|(?<=[0-9])掳")
"""Quotation marks, dashes and degrees of English text that was read as GBK."""
_LOST = re.compile(r"锟斤拷|锟(?=[斤\ufffd?])|烫烫烫+|屯屯屯+|锘[\ufeff縷挎]|\u00ef\u00bb\u00bf")


@dataclass(frozen=True)
class EncodingDamage:
    """Drops texts with more damage than their parent's: `max_new` places that the parent does not have.

    Damage is of these kinds: "mojibake" (UTF-8 read as Latin-1, Windows-1252 or GBK, and GBK read as Latin-1; told by
    reading it back), "lost" (U+FFFD, 锟斤拷, 烫烫烫, 屯屯屯), "escape" (\\u4f60, \\n, half a surrogate pair),
    "entity" (&nbsp;), "tag" (<br>), "invisible" (zero-width and direction marks where no script needs them).
    """

    max_new: Annotated[int, Field(ge=0)] = 0
    name: ClassVar[str] = "encoding_damage"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"encoding_damage_new": ("<= max_new",)}
    scores: ClassVar[dict[str, Any]] = {"encoding_damage_kinds": pl.String, "encoding_damage_new": pl.Int64}

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        suspect = pl.any_horizontal(pl.col("changed").str.contains(pattern) for pattern in _WORTH_A_LOOK)
        looked = frame.with_row_index("_at").filter(suspect)
        rows = []
        for at, text, parent in looked.select("_at", "changed", "parent_changed").iter_rows():
            found, known = damage(text), damage(parent or "")
            new = found - known
            rows.append((at, " ".join(kind for kind in KINDS if new[kind]), new.total()))
        found_rows = pl.DataFrame(rows, schema={"_at": pl.UInt32, **self.scores}, orient="row")
        scored = frame.with_row_index("_at").join(found_rows, on="_at", how="left", maintain_order="left")
        return scored.drop("_at").with_columns(
            pl.col("encoding_damage_kinds").fill_null(""), pl.col("encoding_damage_new").fill_null(0)
        )

    def verdict(self) -> pl.Expr:
        kinds = pl.col("encoding_damage_kinds").str.split(" ")
        first = pl.coalesce(pl.when(kinds.list.contains(kind)).then(pl.lit(why)) for kind, why in _REASONS.items())
        return pl.when(pl.col("encoding_damage_new") > self.max_new).then(first)


_REASONS = {
    "mojibake": "bytes read in the wrong encoding",
    "lost": "characters were lost",
    "escape": "escapes left in",
    "entity": "markup left in",
    "tag": "markup left in",
    "invisible": "invisible characters",
}
KINDS = tuple(_REASONS)


def damage(text: str) -> Counter[str]:
    """How many damaged places of each kind a text has."""
    return +Counter({kind: sum(1 for _ in find(text)) for kind, find in _FOUND.items()})


def _mojibake(text: str) -> Iterator[str]:
    for match in _LATIN.finditer(text):
        after_letter = text[match.start() - 1 : match.start()].isalpha()
        if (read := _reread(match.group())) and not (len(match.group()) > 2 and after_letter and len(read) == 1):
            yield read
    for match in _TWICE.finditer(text):
        read = match.group().encode("latin-1").decode("gb18030", "ignore")
        if len(read) * 2 == len(match.group()) and all("一" <= each <= "龥" for each in read):
            yield read
    yield from _MISREAD.findall(text)
    for match in _FAR.finditer(text):
        read = match.group().encode("gbk", "replace").decode("utf-8", "ignore")
        told = sum("一" <= each <= "龥" or each in "，。？！：；、“”（）《》—…" for each in read)
        if told >= 2 and told * 3 >= 1.2 * len(match.group()):
            yield read


def _reread(text: str) -> str:
    """The text whose UTF-8 was read as Windows-1252; "" when there is none."""
    written = bytearray()
    for each in text:
        try:
            written += each.encode("cp1252")
        except UnicodeEncodeError:
            written.append(ord(each))  # the five bytes that Windows-1252 leaves open
    for size in (len(written), 3, 2):
        try:
            return bytes(written[:size]).decode("utf-8")
        except UnicodeDecodeError:
            continue
    return ""


def _lost(text: str) -> Iterator[str]:
    yield from re.findall("\ufffd+", text)
    yield from _LOST.findall(text)


def _entities(text: str) -> Iterator[str]:
    return (each for each in _ENTITY.findall(text) if html.unescape(each) != each)


def _invisible(text: str) -> Iterator[str]:
    inside = text.removeprefix("\ufeff")
    yield from _INVISIBLE.findall(inside)
    yield from _JOINER.findall(inside)


_FOUND: dict[str, Callable[[str], Iterator[str]]] = {
    "mojibake": _mojibake,
    "lost": _lost,
    "escape": lambda text: iter(_ESCAPE.findall(text)),
    "entity": _entities,
    "tag": lambda text: iter(_TAG.findall(text)),
    "invisible": _invisible,
}
