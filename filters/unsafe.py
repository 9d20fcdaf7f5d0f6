"""Texts that tell or encourage somebody to harm themselves or others, or to make or take drugs.

A health dataset speaks of suicide, violence and overdose with reason. So naming them is noted and never decides by
itself; a pattern of instruction or encouragement does, unless its clause forbids, reports or doubts it.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from re import Pattern
from typing import Any, ClassVar, Literal

import polars as pl

from augment.places import data_dir
from filters import Context

_CLAUSE = r"[^,，。.;；!！?？:：\n]"
_CLAUSE_END = re.compile(r"[,，。.;；!！?？:：\n]")
_SENTENCE_END = re.compile(r"[。.!！;；\n]")
_SENTENCE = re.compile(r"[^。.!！?？;；\n]+[。.!！?？;；\n]*")
_LONGEST = 60  # characters of a match that are shown


@dataclass(frozen=True)
class Unsafe:
    """Drops texts with instructions or encouragement to self-harm, abuse or drugs, or marks them for a reviewer.

    `action` "review" keeps such rows; they are those with something in `unsafe_terms`. What the parent asks or says
    of the same kind is not held against a rewrite. `mentions` holds even the naming of these matters against a row
    whose parent does not name them: for data in which they have no place.
    """

    action: Literal["reject", "review"] = "reject"
    mentions: bool = False
    name: ClassVar[str] = "unsafe"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "unsafe_kind": ("action",),
        "unsafe_mentions": ("mentions", "action"),
    }
    scores: ClassVar[dict[str, Any]] = {
        "unsafe_kind": pl.String,
        "unsafe_terms": pl.String,
        "unsafe_mentions": pl.String,
    }
    """Kinds of harm that are instructed, encouraged or asked for; the words that say so; kinds that are named only
    here and not by the parent."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        named = pl.col("changed").str.contains_any(_terms(), ascii_case_insensitive=True)
        columns = ("_at", "changed_fields", "prompt", "changed", "parent_prompt", "parent_response")
        looked = frame.with_row_index("_at").filter(named).select(columns)
        rows = [(at, *_judged(*texts)) for at, *texts in looked.iter_rows()]
        found = pl.DataFrame(rows, schema={"_at": pl.UInt32, **self.scores}, orient="row")
        scored = frame.with_row_index("_at").join(found, on="_at", how="left", maintain_order="left")
        return scored.drop("_at").with_columns(pl.col(name).fill_null("") for name in self.scores)

    def verdict(self) -> pl.Expr:
        if self.action == "review":
            return pl.lit(None, dtype=pl.String)
        judged = ["unsafe_kind", "unsafe_mentions"] if self.mentions else ["unsafe_kind"]
        return pl.coalesce(
            pl.when(pl.col(column).str.split(" ").list.contains(kind)).then(pl.lit(_REASONS[kind, column]))
            for column in judged
            for kind in KINDS
        )


KINDS = ("self_harm", "abuse", "drugs")
_REASONS = {
    ("self_harm", "unsafe_kind"): "encourages self-harm",
    ("abuse", "unsafe_kind"): "encourages abuse",
    ("drugs", "unsafe_kind"): "encourages drugs",
    ("self_harm", "unsafe_mentions"): "names self-harm",
    ("abuse", "unsafe_mentions"): "names abuse",
    ("drugs", "unsafe_mentions"): "names drugs",
}


@dataclass(frozen=True)
class _Kind:
    terms: tuple[str, ...]
    names: Pattern[str]
    instructions: tuple[Pattern[str], ...]
    requests: tuple[Pattern[str], ...]

    def around(self, text: str) -> str:
        """The sentences that name the matter, each with its neighbours; "" when none does."""
        if not any(term in text for term in self.terms):
            return ""
        sentences = _SENTENCE.findall(text)
        naming = [at for at, each in enumerate(sentences) if self.names.search(each)]
        near = sorted({at + step for at in naming for step in (-1, 0, 1)} & set(range(len(sentences))))
        return "".join(sentences[at] for at in near)


def _judged(
    fields: str, prompt: str, changed: str, parent_prompt: str | None, parent_response: str | None
) -> tuple[str, str, str]:
    asked = _plain(parent_prompt or "")
    known = "\n".join((asked, _plain(parent_response or "")))
    said, question = _plain(changed), _plain(prompt) if "prompt" in fields else ""
    kinds: list[str] = []
    terms: list[str] = []
    mentions: list[str] = []
    for kind, what in _kinds().items():
        around = what.around(said)
        if not around:
            continue
        found = list(_instructions(around, what))
        found += [text for text in _requests(question, what) if text not in found]
        if found and not any(_instructions(what.around(known), what)) and not any(_requests(asked, what)):
            kinds.append(kind)
            terms += found
        elif not what.around(known):
            mentions.append(kind)
    return " ".join(kinds), "; ".join(each[:_LONGEST] for each in terms), " ".join(mentions)


def _instructions(text: str, kind: _Kind) -> Iterator[str]:
    """What a text tells to do, but for what its clause or sentence takes back."""
    unless, unless_after = _exceptions()
    for pattern in kind.instructions:
        for match in pattern.finditer(text):
            before = _CLAUSE_END.split(text[max(match.start() - 24, 0) : match.start()])[-1]
            after = _SENTENCE_END.split(text[match.end() : match.end() + 40])[0]
            if not (unless.search(before) or unless.search(match.group()) or unless_after.search(after)):
                yield match.group()


def _requests(text: str, kind: _Kind) -> Iterator[str]:
    return (match.group() for pattern in kind.requests for match in pattern.finditer(text))


@lru_cache(maxsize=1 << 12)  # a parent's text is read for each of its variants
def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().replace("’", "'")


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((data_dir() / "unsafe.toml").read_text("utf-8"))


@cache
def _terms() -> list[str]:
    return sorted({term for kind in KINDS for term in _table()[kind]["terms"]})


@cache
def _kinds() -> dict[str, _Kind]:
    def compiled(patterns: list[str]) -> tuple[Pattern[str], ...]:
        return tuple(re.compile(each.replace("<C>", _CLAUSE)) for each in patterns)

    return {
        kind: _Kind(
            tuple(_table()[kind]["terms"]),
            _any(_table()[kind]["terms"]),
            compiled(_table()[kind]["instructions"]),
            compiled(_table()[kind]["requests"]),
        )
        for kind in KINDS
    }


@cache
def _exceptions() -> tuple[Pattern[str], Pattern[str]]:
    return _any(_table()["unless"]), _any(_table()["unless_after"])


def _any(words: list[str]) -> Pattern[str]:
    """Any of the words; one that begins or ends with a Latin letter is a word of its own."""
    written = []
    for each in sorted(words, key=len, reverse=True):
        begin = r"(?<![a-z])" if each[0].isascii() and each[0].isalpha() and each != "n't" else ""
        end = r"(?![a-z])" if each[-1].isascii() and each[-1].isalpha() else ""
        written.append(begin + re.escape(each) + end)
    return re.compile("|".join(written))
