"""`rules`: the same question in other words, without a model: words, question forms, polite frames.

The embedded default when no LLM is given. The edits are knowledge (`data/rules/`), not chance; chance only picks which
of them a variant has, and the order puts the variants that differ most first, since sifting keeps only those.
"""

from __future__ import annotations

import dataclasses
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from augment.generators import EXHAUSTED
from augment.generators.edits import Edit, Site, Sites, sites_of, spliced
from augment.generators.lexicon import LANGUAGES, Lexicon, lexicon_for, lexicon_version
from augment.language import language_of
from augment.records import Rejected, Reply, Request, Row, seed_for

POOL = 60  # candidates a prompt; more make the choice better and slower
TRIES = 160
GRAM = {"zh": 5, "en": 9}  # as in `near_dup`
PACE = {"zh": 20, "en": 42}  # characters of a question for one more edit, so that long ones differ too
_LONGEST = 1200  # of a text; beyond, an edit here and there would not make it another text
OPENED, CLOSED = 0.45, 0.2
"""How often a variant is opened or closed by a polite phrase."""
UNLIKE, FRAMED = 0.62, 0.5
"""n-gram Jaccard to the parent and each earlier variant under which a variant stands on its own (`near_dup` drops
from .7); a framed one has to be further off, since its frame is not a difference that counts."""
_EXHAUSTED = "exhausted"
_ENDS = "。！？!?.…"
_KEYS = re.compile(
    "请问|请教|想问|求教|咨询|谢|麻烦|大家|各位|指点|帮忙|朋友|情况|问题|建议|意见|解答|想请|想知道|了解|想听|疑问|请|有点|担心|"
    "advice|question|wonder|help|thank|hello|hi |everyone|answer|understand|know|grateful|appreciat|"
    "input|thought|advise|suggest|would you"
)
_ASKS = re.compile(r"请问|请教|想问|求教|咨询|求助|请大家|帮我|大家好|你好|您好")
_GREETED = re.compile(
    r"^\s*(?:请|你好|您好|大家好|各位|急|求|(?:老师|医生|大夫|专家)[，,！!]|(?:hi|hello|hey|please|dear|doctor)\b)",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"[？?]|[吗呢]\s*$|怎么|为什么|为何|什么|哪|多久|多少|是不是|要不要|能不能|会不会|可不可以|还是|是否|如何|[行好对]不[行好对]|"
    r"该不该|有没有|咋|要紧"
)
_PERSONAL = re.compile(
    r"^(?!如果|假如|要是|当我|在).*(?:我(?!们)|孩子|宝宝|娃|老公|老婆|婆婆|爸|妈|爷爷|奶奶|外公|外婆|姥|老人|老伴|儿子|女儿|孙子|"
    r"男朋友|女朋友|男友|女友|室友|同事|邻居|医生|体检|最近|今天|昨|刚|疼|痛|痰|天天|血)",
    re.DOTALL,
)
_STARTS = re.compile(r"^(?:为什么|为何|如何|怎么|怎样|什么|哪|有哪些|是不是|谁|多久)")


@dataclass(frozen=True)
class Rules:
    """The question in other words by hand-written rules, no model needed; the answer is kept."""

    name: ClassVar[str] = "rules"
    needs: ClassVar[tuple[str, ...]] = ("prompt",)
    adds_facts: ClassVar[bool] = False
    version: ClassVar[str] = lexicon_version()
    seed: int = 0

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request:
        """Ask for the k-th variant of the record's question."""
        return Request(
            record=record.id,
            generator=self.name,
            k=k,
            messages=(("user", record.prompt),),
            template=f"rules@{self.version}",
            seed=seed_for(record.id, self.name, k, self.seed),
            engine=self.name,
            model=self.version,
        )

    def answer(self, request: Request) -> Reply:
        """The k-th variant; an empty text that says "exhausted" when there are fewer."""
        made = variants_of(request.messages[-1][1], request.record, self.seed)
        if request.k < len(made):
            return Reply(request.key, made[request.k])
        return Reply(request.key, "", finish=_EXHAUSTED)

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The record with the variant as its question."""
        if reply.finish == _EXHAUSTED or not reply.text.strip():
            return Rejected(EXHAUSTED)
        return dataclasses.replace(record, prompt=reply.text)


@lru_cache(maxsize=256)
def variants_of(prompt: str, record: str, base: int = 0) -> tuple[str, ...]:
    """Every variant of a prompt, those that differ most from it and from each other first.

    A pure function of its arguments; empty for a language other than Chinese and English.
    """
    language = language_of(prompt)
    if language not in LANGUAGES or len(prompt) > _LONGEST:
        return ()
    lexicon = lexicon_for(language)
    sites = sites_of(prompt, language, lexicon)
    openers, closers = _frames_around(prompt, language, lexicon)
    rng = random.Random(seed_for(record, "rules", 0, base))
    size = len(_plain(prompt, language))
    pool: dict[str, str] = {}
    framed: set[str] = set()
    seen = {_plain(prompt, language)}
    for _ in range(TRIES):
        edits = _compose(sites, openers, closers, rng, size // PACE[language])
        made = spliced(prompt, [span for edit in edits for span in edit.spans]) if edits else None
        if made is None or (plain := _plain(made, language)) in seen:
            continue
        seen.add(plain)
        pool[made] = plain
        if any(edit.tag in ("opener", "closer") for edit in edits):
            framed.add(made)
        if len(pool) == POOL:
            break
    return tuple(_spread(pool, framed, _plain(prompt, language), GRAM[language]))


def _compose(sites: Sites, openers: Site, closers: Site, rng: random.Random, pace: int) -> list[Edit]:
    """One variant's edits: a question form or two, a few words, at times a polite frame; none if they do not fit."""
    frames = rng.sample(sites.frames, len(sites.frames))[: rng.choice((1, 1, 2)) + pace // 2]
    words = rng.sample(sites.words, len(sites.words))[: rng.choice((1, 1, 2)) + pace]
    edits: list[Edit] = []
    for site in frames + words:
        _add(edits, rng.choice(site))
    if not edits and (sites.frames or sites.words):
        return []
    if openers and rng.random() < OPENED + 0.05 * pace:
        _add(edits, rng.choice(openers), first=True)
    if closers and rng.random() < CLOSED + 0.05 * pace:
        _add(edits, rng.choice(closers))
    return edits


def _add(edits: list[Edit], edit: Edit, first: bool = False) -> None:
    """Adds the edit unless it overlaps, or says again what, an earlier one."""
    for other in edits:
        if edit.tag and edit.tag == other.tag:
            return
        if edit.tag in ("opener", "closer") and other.tag in ("opener", "closer", "ask", "front"):
            if other.tag == "front" and re.match("[？?]|.*情况", edit.spans[0][2]):
                return
            if _keys(_said(edit)) & _keys(_said(other)):
                return
            if other.tag == "ask" and edit.tag == "opener":
                return
        if edit.reach[0] < other.reach[1] and other.reach[0] < edit.reach[1]:
            return
        if edit.tag not in ("opener", "closer") and any(
            (start < past and begin < end) or start == end == begin == past
            for start, end, _ in edit.spans
            for begin, past, _ in other.spans
        ):
            return
    edits.insert(0 if first else len(edits), edit)


def _keys(text: str) -> set[str]:
    """The words that a question should not say twice around itself."""
    return set(_KEYS.findall(text.lower()))


def _said(edit: Edit) -> str:
    return " ".join(new for _, _, new in edit.spans)


def _frames_around(prompt: str, language: str, lexicon: Lexicon) -> tuple[Site, Site]:
    """What may be said before and after this prompt without greeting, asking or thanking twice."""
    text = prompt.strip()
    if len(_plain(text, language)) < 4 or (not text[0].isalnum() and text[0] not in "「“《\"'"):
        return (), ()
    asks = bool(_QUESTION.search(text)) if language == "zh" else "?" in text
    inner = re.split(r"[，。！？!?；;,\n]|\.\s", text.rstrip(_ENDS + " "))
    if not asks:
        kind = "plain"
    elif len(inner) == 1 or _STARTS.match(text) or (language == "zh" and not _PERSONAL.search(text)):
        kind = "question"
    else:
        kind = "story"
    held = _keys(text)
    start = len(prompt) - len(prompt.lstrip())
    openers: list[Edit] = []
    if not _GREETED.match(text) and (asks or len(inner) > 1):
        for opener in lexicon.openers[kind]:
            if not _keys(opener) & held and not (_ASKS.search(text) and re.search("[问教询请]", opener)):
                openers.append(Edit(((start, start, opener),), "opener"))
    end = len(prompt.rstrip())
    last = text[-1]
    if last not in _ENDS and not (last.isalnum() or last in "」”）)"):
        return tuple(openers), ()
    stop = "" if last in _ENDS else ("？" if language == "zh" else "?") if asks else "。" if language == "zh" else "."
    closers = [
        Edit(((end, end, stop + closer),), "closer")
        for closer in (lexicon.closers[kind] if asks or len(inner) > 1 else ())
        if not _keys(closer) & held
    ]
    return tuple(openers), tuple(closers)


def _plain(text: str, language: str) -> str:
    """What near-duplicate sifting compares: letters and digits, in English with one blank between words."""
    folded = unicodedata.normalize("NFKC", text).lower()
    blank = " " if language == "en" else ""
    return blank.join(re.findall(r"\w+", folded))


def _grams(text: str, n: int) -> frozenset[str]:
    return frozenset(text[at : at + n] for at in range(max(1, len(text) - n + 1)))


def _likeness(left: frozenset[str], right: frozenset[str]) -> float:
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def _spread(pool: dict[str, str], framed: set[str], parent: str, n: int) -> list[str]:
    """The pool in an order in which each variant is unlike the parent and those before it.

    Variants that differ in their own words come before those that owe it to a polite frame: an adapter should
    learn the question, not the frame.
    """
    grams = {text: _grams(plain, n) for text, plain in pool.items()}
    first = _grams(parent, n)
    nearest = {text: _likeness(each, first) for text, each in grams.items()}
    order: list[str] = []
    while nearest:
        # not the very farthest at any price: every variant under half is different enough, and the pool's
        # own order is random, whereas the farthest is always the one with the longest frame
        chosen = next((text for text, near in nearest.items() if near < UNLIKE and text not in framed), None)
        if chosen is None:
            chosen = next((text for text, near in nearest.items() if near < FRAMED), None)
        if chosen is None:
            chosen = min(nearest, key=lambda text: nearest[text])
        order.append(chosen)
        del nearest[chosen]
        for text in nearest:
            nearest[text] = max(nearest[text], _likeness(grams[chosen], grams[text]))
    return order
