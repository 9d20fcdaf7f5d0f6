"""What a text denies: each negation with what it negates, and whether another text affirms just that.

没发烧 denies 发烧, 不要挑破 denies 挑破, "don't stop" denies "stop". A rewrite is flipped where it affirms what its
parent only denies, or denies what its parent only affirms. What is asked either way (能不能, 是否) is neither. What
is said by other words (没吃饭 for 空腹) is not seen, and no flip.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_ASKED = "◇"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EITHER = re.compile(r"([一-鿿])[不没]\1(?:以|要|该)?|可不可以|需不需要|应不应该|喜不喜欢|是否|能否|可否|有无|会否")
_IDIOMS = re.compile(
    r"不过(?![敏量期度夜热冷劳])|不仅|不但|不光|不只|不管|不论|不然|不如|不错|不好意思|不见得|不一定|不知不觉|不知道?|不清楚|不了解"
    r"|不明白|不确定|不太确定|不得不|不由得|不妨|不禁|不断|不停|不同|不久|不少|不良|不足|不适|不安|不满|不孕|不育|不便|不便秘|不稳|不规律"
    r"|不正常|不舒服|不对劲|不怎么|不太好|没关系|没事|没什么|没完没了|没多久|没准|差不多|对不起|要不|动不动|不动|无论|无所谓|无聊|无力|无奈"
    r"|无意|无痛|无糖|无害|无菌|未来|未必|未免|未成年|未婚|特别|别人|别的|别墅|别扭|[区性分级告个辨识鉴派类离]别|莫名|莫非|莫西|莫匹|莫米"
    r"|莫沙|莫达|非常|非但|并非如此|[一-鿿]不(?:着|了|下|住|起|到|动|开|出|来|上|完|掉|透|清|好|成|见|得)|从不间断|不锈|不耐受|不孕不育"
    r"|不[想敢愿]意?|没劲|没力气|没精神|没胃口|没用|不治|不准时"
)
_NOT = (
    r"不(?:能够?|可以|可|会|要|用|该|应该?|应当|需要?|必要?|宜|准|许|得|建议|推荐|是|应|再)?"
    r"|没(?:有|法|办法)?|未曾?|无法|无需|无须|无(?=[一-鿿])|别再?|切?勿|请勿|莫|禁止|严禁"
)
_STOP = re.compile(r"[,，。.;；!！?？:：\n]")
_EMPTY = frozenset("不没有未无别勿会能可以要用该的了是在也都就还又再很吗么呢吧啊，、　 " + _ASKED)
"""What a clause says nothing by."""
_SENTENCE_END = re.compile(r"[。！!?？\n]")
_ASKING = re.compile(r"[?？吗]|么$|[行好]不|是不是|怎么|多久|什么|哪|" + _ASKED)
_WITHOUT = frozenset(("不", "不用", "不需", "不需要", "不必", "不要", "别", "无需", "无须", "不去", "不再"))
_ANY_NOT = re.compile(_NOT + "|避免|防止|切忌|忌|戒|拒绝|停")
_ADVERBS = (
    r"(?:再|去|来|随便|自行|自己|轻易|马上|立刻|立即|一定|完全|太|很|总|老|一直|都|也|还|曾|在|把|被|给|让|跟|对|为|因为|担心就"
    r"|直接|随意|同时|过度|大量|继续|能|会|要|可以|必要|有|其他|任何|明显|怎么|这么|那么)"
)
_NEGATED = re.compile(rf"(?:{_NOT}){_ADVERBS}{{0,3}}")
_HAN = "一-鿿"
_SYMPTOMS = frozenset("疼痛痒吐咳凉肿麻晕冷热")
"""Single characters that say something by themselves."""
_NEARBY = 8  # characters before a phrase in its clause in which a negation may stand that denies it too
_INSIDE = "[着了过个次点一]?"
_END = re.compile(rf"[^{_HAN}、{_ASKED}]")
_VAGUE = _words(
    "怎么 什么 如何 为什 这样 那样 这么 那么 多久 多少 关系 问题 必要 办法 时间 可能 "
    "一样 一些 一点 一种 一个 这个 那个 的话 是因 是说 见好 好转 知道 清楚 担心 害怕 "
    "着急 紧张 方便 超过 少于 低于 高于 满意 开心 高兴 放心 舒服 需要 建议 以为 觉得 "
    "打算"
)
_WEAKLY = re.compile(r"(?:需要|必须|一定要?|非要?|应该|该|要|得|避免|防止|禁止|停止?|少|忌|戒|拒绝|还能|还要)$")
"""Before a phrase that is thereby asked about, forbidden or reduced: no plain affirmation."""

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[.,;:!?]")
_NOT_EN = _words("not no never without none nor cannot neither")
_PASSED_EN = _words(
    "a an the any be been being is are was were have has had having to do does did really ever get got my your "
    "his her its our their it so very too that this just even yet still also always take taking use using need "
    "needs feel feeling feels i you he she we they me him them us and or"
)
_VAGUE_EN = _words(
    "know think sure like idea matter only longer more less much many same well help see tell understand find "
    "seem want care mind mean say worry sleep one else if whether because than for with in on at of from as by up "
    "out about until unless when least another other go can could will would should may might am"
)
_ASKING_EN = re.compile(
    r"\b(?:(?:say|says|saying|said) no|not only|or not|whether or not|why not|not sure|no matter|no idea"
    r"|can't help|no longer than|not just|can't stop)\b"
)


@dataclass(frozen=True)
class Denied:
    """The first two characters, or the word, that a negation denies, and how the text says it."""

    what: str
    said: str
    clause: str
    open: bool = False
    """Whether it is asked if one may do without: 不吃药行吗, which asks the same as 要吃药吗."""


@dataclass(frozen=True)
class Stance:
    """A text ready to be asked: what it denies, where, and the text."""

    text: str
    denied: tuple[Denied, ...]
    places: frozenset[int]
    english: tuple[tuple[str, bool], ...]


def flips(parent: str, child: str) -> list[str]:
    """What the child affirms and its parent denies, or the other way round: "没发烧 → 发着烧"."""
    before, after = stance(parent), stance(child)
    found = [f"{each.said} → {said}" for each, said in _affirmed(before, after)]
    found += [f"{said} → {each.said}" for each, said in _affirmed(after, before)]
    return list(dict.fromkeys(found))


def _affirmed(denying: Stance, other: Stance) -> Iterator[tuple[Denied, str]]:
    """What one text denies and never affirms, with the words in which the other affirms it and never denies it."""
    for each in denying.denied:
        own = _said(denying, each.what)
        if own[0]:
            continue
        affirmed, denied = _said(other, each.what, each.clause, each.open)
        if affirmed and not denied:
            yield each, affirmed


def _said(text: Stance, what: str, clause: str = "", open: bool = False) -> tuple[str, bool]:
    """How a text affirms something, "" when it does not, and whether it denies it.

    With the clause that denies it elsewhere, only a clause much like that one affirms it, and none that asks when
    that one is `open`.
    """
    if what[0].isascii():
        near = frozenset(clause.split())
        same = [at for at, (word, _) in enumerate(text.english) if word == what]
        like = [at for at in same if not text.english[at][1] and (not near or near & _around(text.english, at))]
        return (what if like else ""), any(text.english[at][1] for at in same)
    affirmed, denied = "", False
    if what[0] not in text.text or what[1:] not in text.text:
        return affirmed, denied
    for match in _phrase(what).finditer(text.text):
        if match.start() in text.places:
            denied = True
            continue
        before = _END.split(text.text[max(match.start() - _NEARBY, 0) : match.start()])[-1]
        if _ANY_NOT.search(before):
            denied = True
        if denied or _ASKED in before or _WEAKLY.search(before):
            continue
        if open and _asks(text.text, match.end()):
            continue
        if clause and not _alike(clause, _clause(text.text, match.start(), match.end()), what):
            continue
        affirmed = affirmed or before[-2:] + match.group()
    return affirmed, denied


@lru_cache(maxsize=1 << 13)
def _phrase(what: str) -> re.Pattern[str]:
    return re.compile(what if len(what) == 1 else f"{what[0]}{_INSIDE}{what[1:]}")


def _asks(text: str, at: int) -> bool:
    """Whether the sentence around a place is a question."""
    begin = max((text.rfind(each, 0, at) for each in "。！!?？\n"), default=-1) + 1
    end = _SENTENCE_END.search(text, at)
    return _ASKING.search(text[begin : end.end() if end else len(text)]) is not None


def _around(words: tuple[tuple[str, bool], ...], at: int) -> frozenset[str]:
    """The three content words before and after one."""
    return frozenset(word for word, _ in (*words[max(at - 3, 0) : at], *words[at + 1 : at + 4]))


def _clause(text: str, begin: int, end: int) -> str:
    """The clause around a phrase, without the phrase."""
    before = _STOP.split(text[max(begin - 24, 0) : begin])[-1]
    return before + _STOP.split(text[end : end + 24])[0]


def _alike(denying: str, affirming: str, what: str) -> bool:
    """Whether two clauses are about the same: the shorter's other characters are mostly those of the longer."""
    left, right = (set(each) - set(what) - _EMPTY for each in (denying, affirming))
    fewer = min(len(left), len(right))
    return fewer <= 2 or len(left & right) * 2 >= fewer


@lru_cache(maxsize=1 << 13)
def stance(text: str) -> Stance:
    """What a text denies."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    plain = _EITHER.sub(_ASKED, plain)
    masked = _IDIOMS.sub(lambda match: "　" * len(match.group()), plain)
    denied: list[Denied] = []
    places: set[int] = set()
    if "◇" in masked or any(each in masked for each in "不没未无别勿莫禁避忌防"):
        for match in _NEGATED.finditer(masked):
            for at, what in _objects(masked, match.end()):
                places.add(at)
                if what not in _VAGUE:
                    said = match.group() + plain[match.end() : at + len(what)]
                    clause = _clause(masked, match.start(), at + len(what)) + masked[match.end() : at]
                    open = match.group() in _WITHOUT and _asks(masked, match.start())
                    denied.append(Denied(what, said, clause, open))
    english = tuple(_english(plain)) if re.search(r"[a-z]{2}", plain) else ()
    denied += [
        Denied(word, f"not {word}", " ".join(sorted(_around(english, at))))
        for at, (word, not_so) in enumerate(english)
        if not_so
    ]
    return Stance(masked, tuple(denied), frozenset(places), english)


def _objects(text: str, begin: int) -> Iterator[tuple[int, str]]:
    """Where what is denied begins, and its first two characters: the phrase at `begin` and those joined to it by 、."""
    end = _END.search(text, begin)
    clause = text[begin : end.start() if end else len(text)]
    at = begin
    for number, part in enumerate(clause.split("、")):
        if number < 4 and part and part[0] != _ASKED and (number == 0 or at - begin <= 12):
            what = part[0] + part[2:3] if part[1:2] in tuple("着了过") and part[2:3] not in ("的", "吗") else part[:2]
            if len(what) == 2 and what[1] in "的了吗么呢吧过着":
                what = what[0] if len(part) > 2 or what[1] in "了吗么呢吧" else ""
            if len(what) == 2 or (len(part) <= 2 and what in _SYMPTOMS):
                yield at, what
        if number == 0 and len(part) > 3:
            return
        at += len(part) + 1


def _english(text: str) -> Iterator[tuple[str, bool]]:
    """Every content word, without its ending, and whether it is denied: the first one after a negation."""
    denying, listed = 0, False
    for word in _WORD.findall(_ASKING_EN.sub(" . ", text)):
        if word in _NOT_EN or word.endswith("n't"):
            denying = 4
        elif not word[0].isalpha():
            denying = 0
            listed = listed and word == ","
        elif word in ("or", "nor"):
            denying = 4 if listed else max(denying - 1, 0)
        elif word in _PASSED_EN or word.endswith("ly"):
            denying = max(denying - 1, 0)
        elif word in _VAGUE_EN or len(word) < 3:
            denying = 0
        else:
            listed = denying > 0
            yield _stem(word), listed
            denying = 0


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e")
