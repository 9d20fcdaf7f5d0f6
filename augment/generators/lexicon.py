"""What `rules` knows of a language: words that stand for each other, question forms, polite frames.

The knowledge is data (`data/rules/*.toml`, notation at the head of each file), read when a language is first met.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from re import Pattern

from augment.places import data_dir

LANGUAGES = ("zh", "en")
_HERE = Path(__file__).parent
_CODE = ("lexicon.py", "edits.py", "rules.py")
_SHORTHANDS = {
    "zh": {
        "<E>": r"(?=\s*(?:[？?。！!…]|$))",
        "<B>": r"(?:^|(?<=[，,。；;？?！!：:\s]))",
        "<X>": r"[^，,。；;？?！!\s：:]",
    },
    "en": {"<E>": r"(?=\s*(?:[?.!]|$))", "<B>": r"(?:^|(?<=[?.!,:]\s)|(?<=and\s))", "<X>": r"[^?.!,;:]"},
}


@dataclass(frozen=True, slots=True)
class Word:
    """What may replace a word, and the contexts (before, after) in which nothing may."""

    others: tuple[str, ...]
    left: Pattern[str] | None
    right: Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Frame:
    """A question form and the forms it may take instead; `{1}` in `to` is the first group of `find`."""

    find: Pattern[str]
    to: tuple[str, ...]
    unless: Pattern[str] | None
    not_in: Pattern[str] | None
    tag: str


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Everything known about one language; `openers` and `closers` are lists by kind of text."""

    words: dict[str, tuple[Word, ...]]
    frames: tuple[Frame, ...]
    openers: dict[str, tuple[str, ...]]
    closers: dict[str, tuple[str, ...]]
    protected: Pattern[str]


@cache
def lexicon_for(language: str) -> Lexicon:
    """The lexicon of "zh" or "en"."""
    folder = data_dir() / "rules"
    words = tomllib.loads((folder / f"{language}_words.toml").read_text("utf-8"))
    forms = tomllib.loads((folder / f"{language}_questions.toml").read_text("utf-8"))
    return Lexicon(
        words=_words([line for lines in words.values() for line in lines], language),
        frames=tuple(_frame(frame, language) for frame in forms["frame"]),
        openers={kind: tuple(texts) for kind, texts in forms["openers"].items()},
        closers={kind: tuple(texts) for kind, texts in forms["closers"].items()},
        protected=_protected((folder / "protected.txt").read_text("utf-8")),
    )


@cache
def lexicon_version() -> str:
    """16 hex digits over the data and the code that reads it: another lexicon gives other variants."""
    files = [_HERE / name for name in _CODE]
    files += sorted(path for path in (data_dir() / "rules").iterdir() if path.suffix in (".toml", ".txt"))
    digest = hashlib.blake2b(digest_size=8)
    for path in files:
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _words(lines: list[str], language: str) -> dict[str, tuple[Word, ...]]:
    found: dict[str, list[Word]] = {}
    for line in lines:
        group, left, right = (*(part.strip() for part in re.split(r"\s\|(?=\s|$)", line, maxsplit=2)), "", "")[:3]
        guards = (_left(left, language), re.compile(right) if right else None)
        sources, arrow, targets = group.partition(" > ")
        before, after = _members(sources), _members(targets) if arrow else _members(sources)
        for word in before:
            others = tuple(other for other in after if other != word)
            found.setdefault(word, []).append(Word(others, *guards))
    return {word: tuple(words) for word, words in found.items()}


def _members(text: str) -> list[str]:
    return [part.strip() for part in (text.split(" / ") if text.isascii() else text.split()) if part.strip()]


def _left(pattern: str, language: str) -> Pattern[str] | None:
    """The guard before a word; English words have a blank before them."""
    if not pattern:
        return None
    if language == "en":
        pattern = r"\b(?:" + re.sub(r"(\\s\??)?\$$", "", pattern) + r")\s*$"
    return re.compile(pattern if pattern.endswith("$") else pattern + "$")


def _frame(frame: dict[str, object], language: str) -> Frame:
    find = str(frame["find"])
    for short, pattern in _SHORTHANDS[language].items():
        find = find.replace(short, pattern)
    unless, not_in, to = (frame.get(key) for key in ("unless", "not_in", "to"))
    if not isinstance(to, list):
        raise TypeError(f"data/rules: frame {find!r} needs a list of forms in `to`")
    return Frame(
        find=re.compile(find, re.IGNORECASE if language == "en" else 0),
        to=tuple(str(form) for form in to),
        unless=re.compile(str(unless)) if unless else None,
        not_in=re.compile(str(not_in)) if not_in else None,
        tag=str(frame.get("tag", "")),
    )


def _protected(names: str) -> Pattern[str]:
    """Numbers with their units, quotations, Latin tokens in Chinese text, and drugs by name or ending."""
    drugs = [re.escape(line) for line in names.splitlines() if line and not line.startswith("#")]
    endings = (
        "西林|霉素|沙星|他汀|洛尔|普利|沙坦|地平|替丁|拉唑|康唑|硝唑|西泮|唑仑|双胍|列汀|列净|肽|胰岛素|"
        "胶囊|颗粒|口服液|冲剂|注射液|滴眼液|软膏|乳膏|凝胶|糖浆|喷雾剂|疫苗|汤剂|喷剂"
    )
    quotes = r"「[^」]*」|『[^』]*』|“[^”]*”|《[^》]*》|〈[^〉]*〉|‘[^’]*’|\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)"
    number = (
        r"[+\-±]?[\d０-９][\d０-９.,:/~～\-—–×]*\s*"
        r"(?:mmol/L|mg/d?L|mg|ml|kg|mm|cm|ug|μg|g|h|IU|°[CF]|℃|%|％|‰|毫克|微克|克|斤|公斤|毫升|升|毫米|厘米|米|"
        r"个|片|粒|颗|支|次|天|周|月|年|岁|小时|分钟|秒|度|点|岁半|周半|杯|包|根|倍|多)*"
    )
    return re.compile(
        "|".join([quotes, rf"[一-鿿]{{1,6}}?(?:{endings})", *sorted(drugs, key=len, reverse=True), number])
    )
