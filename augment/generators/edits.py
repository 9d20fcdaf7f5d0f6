"""The places where a question can be worded otherwise, and the wordings each place allows.

A site is a tuple of alternatives, an edit a few replaced spans. Nothing here is random: a text has its sites.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from re import Match, Pattern
from typing import Any

from augment.generators.lexicon import Frame, Lexicon, Word

FRONT = "@FRONT"
"""In a frame's `to`: the question that ends the text moves before it."""
_NEGATED = re.compile(
    r"(?:[不没别无未莫勿非甭](?:有|是|会|能|要|敢|想|肯|用|得|让|许|准|爱|愿意?|喜欢|可以|应该|需要|必|一定|打算|再|太|怎么)?|"
    r"没法|并非|难以|\b(?:not|no|never|without|cannot|nor)\s|n['’]t\s)$",
    re.IGNORECASE,
)
_NEGATES = re.compile(r"^[不没别无未]|^(?:no|not|never)\b")
_SENTENCE = re.compile(r"[。！？!?；;\n]|\.\s")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ0-9０-９][A-Za-zÀ-ɏ0-9０-９.+/_-]*")
_GLUED = re.compile(r"[我你他她这][该算会能要想怎得有是]")  # the dictionary has 我该 and 这算 as one word
_SHORT = frozenset("能会是有要算该都也还")  # forms of one character: must be words of their own
_VOWEL = "aeiouAEIOU"


@dataclass(frozen=True, slots=True)
class Edit:
    """Replacements (start, end, text) that belong together; of edits with the same tag, a variant has one."""

    spans: tuple[tuple[int, int, str], ...]
    tag: str = ""
    reach: tuple[int, int] = (0, 0)  # the question that a form rewrites: no other form may


Site = tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Sites:
    """What can be changed in a text: question forms, and words (each word once, wherever it stands)."""

    frames: tuple[Site, ...]
    words: tuple[Site, ...]


def sites_of(text: str, language: str, lexicon: Lexicon) -> Sites:
    """All the places in `text` where `lexicon` knows another wording."""
    mask = _mask(text, language, lexicon.protected)
    edges = _edges(text, language)
    frames = [_frame_site(frame, text, mask, edges, language) for frame in lexicon.frames]
    words = _word_sites(text, language, lexicon.words, mask, edges)
    return Sites(tuple(site for site in frames if site), tuple(words))


def spliced(text: str, spans: list[tuple[int, int, str]]) -> str | None:
    """The text with all spans replaced, or None where they overlap or a seam doubles a word (该该, 请问请问)."""
    made, at, seams = "", 0, []
    for start, end, new in sorted(spans, key=lambda span: span[:2]):
        if start < at:
            return None
        made += text[at:start]
        seams.append(len(made))
        made += new
        seams.append(len(made))
        at = end
    made += text[at:]
    return None if any(_doubled(made, seam) for seam in seams) else made


def _doubled(text: str, seam: int) -> bool:
    """Whether what ends at `seam` starts again there: one to four characters, blanks and case aside."""
    if not 0 < seam < len(text):
        return False
    if text[seam - 1].isascii() and text[seam - 1].isalpha() and text[seam].isascii() and text[seam].isalpha():
        return True  # two Latin words run together
    before, after = text[:seam].rstrip().lower()[-12:], text[seam:].lstrip().lower()[:12]
    if before.isascii() and after.isascii():
        left, right = re.findall(r"[\w']+$", before), re.findall(r"^[\w']+", after)
        return bool(left) and left == right
    return any(len(before) >= n and before[-n:] == after[:n] for n in range(1, 5))


def _mask(text: str, language: str, protected: Pattern[str]) -> bytearray:
    """1 for every character that stays as it is."""
    mask = bytearray(len(text))
    for pattern in (protected, _LATIN) if language == "zh" else (protected,):
        for found in pattern.finditer(text):
            mask[found.start() : found.end()] = b"\1" * (found.end() - found.start())
    return mask


@cache
def _segmenter() -> Any:
    """rjieba, imported when the first Chinese text comes: its dictionary takes a moment and memory."""
    import rjieba

    return rjieba


def _edges(text: str, language: str) -> list[int] | None:
    """Where words begin and end in Chinese text, sorted; None for languages that put blanks between words."""
    if language != "zh":
        return None
    edges, at = [0], 0
    for token in _segmenter().cut(text):
        if len(token) > 1 and _GLUED.match(token):
            edges.append(at + 1)
        at += len(token)
        edges.append(at)
    return edges


def _inside(mask: bytearray, start: int, end: int) -> bool:
    """Whether something inserted here would stand inside a quotation or a number."""
    return start == end and 0 < start < len(mask) and bool(mask[start - 1] and mask[start])


def _at_edge(edges: list[int] | None, *places: int) -> bool:
    return edges is None or all(edges[bisect(edges, place) - 1] == place for place in places)


def _frame_site(frame: Frame, text: str, mask: bytearray, edges: list[int] | None, language: str) -> Site:
    """The forms that the first fitting match of `frame` may take."""
    for found in frame.find.finditer(text):
        sentence = max((stop.end() for stop in _SENTENCE.finditer(text, 0, found.start())), default=0)
        if frame.unless and frame.unless.search(text[sentence : found.start()]):
            continue
        if frame.not_in and frame.not_in.search(found[0]):
            continue
        if frame.to == (FRONT,):
            edits = _fronted(text, found)
        else:
            edits = [edit for to in frame.to if (edit := _reframed(to, found, mask, edges, language, frame.tag))]
        if edits:
            return tuple(edits)
    return ()


def _reframed(
    to: str, found: Match[str], mask: bytearray, edges: list[int] | None, language: str, tag: str
) -> Edit | None:
    """One form as an edit: only what lies between the kept groups is replaced."""
    parts = re.split(r"\{(\d)\}", to)
    kept = [int(number) for number in parts[1::2]]
    literals = parts[::2]
    if language == "en" and found[0][:1].isupper() and literals[0]:
        literals[0] = literals[0][:1].upper() + literals[0][1:]
    ordered = sorted(kept)
    begins = [found.start(), *(found.end(number) for number in ordered)]
    ends = [*(found.start(number) for number in ordered), found.end()]
    gaps = list(zip(begins, ends, strict=True))
    if any(any(mask[start:end]) or _inside(mask, start, end) for start, end in gaps):
        return None
    if any(found.string[start:end] in _SHORT and not _at_edge(edges, start, end) for start, end in gaps):
        return None
    if kept != ordered:
        new = "".join(
            literal + (found[number] if number else "") for literal, number in zip(literals, [*kept, 0], strict=True)
        )
        return Edit(((found.start(), found.end(), new),), tag, found.span())
    source = found.string
    spans = tuple(
        (start, end, new)
        for (start, end), new in zip(gaps, literals, strict=True)
        if source[start:end].casefold() != new.casefold()
    )
    return Edit(spans, tag, found.span()) if spans else None


def _fronted(text: str, found: Match[str]) -> list[Edit]:
    """The question that ends the text, asked first: only when nothing before it asks already."""
    if re.search(r"[？?吗呢]|请|什么|怎么", text[: found.start()]):
        return []
    return [Edit(((0, 0, found[1] + "？"), (found.start(), found.end(), "。")), "front", found.span())]


def _word_sites(
    text: str, language: str, words: dict[str, tuple[Word, ...]], mask: bytearray, edges: list[int] | None
) -> Iterator[Site]:
    """A site for each word of the lexicon that the text holds; all its occurrences change together."""
    places: dict[str, list[tuple[int, int]]] = {}
    for start, end in _occurrences(text, language, words, edges):
        if not any(mask[start:end]):
            places.setdefault(text[start:end] if language == "zh" else text[start:end].lower(), []).append((start, end))
    for word, where in places.items():
        known = words.get(word) or words.get(word[:1].upper() + word[1:]) or ()
        edits = []
        for entry in known:
            fitting = [(start, end) for start, end in where if _fits(text, start, end, word, entry)]
            if len(fitting) != len(where):
                continue  # the word would be put two ways in one question
            for other in entry.others:
                if len(other) > 1 and other in text and other not in word:
                    continue
                spans = tuple((start, end, _cased(text[start:end], other)) for start, end in fitting)
                if all(_article_fits(text, start, other) for start, _ in fitting):
                    edits.append(Edit(spans))
        if edits:
            yield tuple(edits)


def _occurrences(
    text: str, language: str, words: dict[str, tuple[Word, ...]], edges: list[int] | None
) -> Iterator[tuple[int, int]]:
    if language == "zh":
        stops = edges or []
        for i, start in enumerate(stops):
            for end in stops[i + 1 : i + 6]:
                if text[start:end] in words:
                    yield start, end
    else:
        yield from (found.span() for found in _english(tuple(words)).finditer(text))


@cache
def _english(words: tuple[str, ...]) -> Pattern[str]:
    longest = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![\w'’-])(?:{longest})(?![\w’-]|'(?:s|d|re|ll|ve|t)\b)", re.IGNORECASE)


def _fits(text: str, start: int, end: int, word: str, entry: Word) -> bool:
    before, after = text[:start], text[end:]
    if _NEGATED.search(before[-16:]) and not _NEGATES.search(word):
        return False
    if entry.left and entry.left.search(before[-40:]):
        return False
    return not (entry.right and entry.right.search(after[:40]))


def _article_fits(text: str, start: int, other: str) -> bool:
    """Whether the article before the word stays right: "an ache" cannot become "an headache"."""
    article = re.search(r"\b(an?)\s$", text[:start], re.IGNORECASE)
    return article is None or (article[1].lower() == "an") == (other[0] in _VOWEL)


def _cased(source: str, other: str) -> str:
    if source[:1].isupper() and source != source.upper():
        return other[:1].upper() + other[1:]
    return other
