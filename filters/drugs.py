"""Drug names in a text, brand and generic, Chinese and English, each as one name.

A lexicon (`data/drugs.txt`) knows the common ones; endings such as 沙星 and -statin tell those that it lacks.
"""

from __future__ import annotations

import re
from functools import cache

import polars as pl

from augment.places import data_dir

_ENDINGS = re.compile(
    r"[一-鿿]{2}(?:西林|沙星|他汀|洛尔|普利|沙坦|地平|替丁|拉唑|康唑|硝唑|西泮|唑仑|双胍|列汀|列净|昔布|鲁肽|司琼|普坦)"
    r"|(?<![a-z])[a-z]{2,14}(?:cillin|mycin|floxacin|statin|olol|[a-z]pril(?<!april)|sartan|dipine|prazole|tidine|conazole"
    r"|gliptin|gliflozin|azepam|azolam|triptan|glutide|coxib|setron)(?![a-z])"
)
_ENDS = (
    "西林|沙星|他汀|洛尔|普利|沙坦|地平|替丁|拉唑|康唑|硝唑|西泮|唑仑|双胍|列汀|列净|昔布|鲁肽|司琼|普坦"
    "|cillin|mycin|floxacin|statin|olol|pril|sartan|dipine|prazole|tidine|conazole|gliptin|gliflozin|azepam|azolam|triptan"
    "|glutide|coxib|setron"
)


def drugs(texts: pl.Series) -> list[frozenset[str]]:
    """The drugs that each text names, by the first of their names; null counts as "".

    Texts are looked at as they are but for case; NFKC is the caller's.
    """
    lower = texts.fill_null("").str.to_lowercase()
    named = lower.str.extract_many(list(_names()), leftmost=True)
    ended = lower.str.contains(_ENDS)
    nothing: frozenset[str] = frozenset()
    found = [nothing] * len(texts)
    for at in (named.list.len().gt(0) | ended).arg_true().to_list():
        found[at] = _drugs(lower[at], named[at].to_list() if named[at] is not None else [])
    return found


def same(drug: str, others: frozenset[str]) -> bool:
    """Whether a text that names `others` names the drug, or the class it is of, or one of its class."""
    if drug in others:
        return True
    return any(
        each.startswith(drug[:-1]) or (drug[:-1] in each and len(drug) > 3)
        if drug[-1] == "*"
        else each[-1] == "*" and each[:-1] in drug
        for each in others
    )


def _drugs(text: str, names: list[str]) -> frozenset[str]:
    found = set()
    for name in set(names):
        if name[0].isascii() and not re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", text):
            continue
        found.add(_names()[name])
    known = [name for name in names if name in text]
    for match in _ENDINGS.finditer(text):
        if not any(name in match.group() or match.group() in name or _overlap(match, name, text) for name in known):
            found.add(match.group())
    return frozenset(found)


def _overlap(match: re.Match[str], name: str, text: str) -> bool:
    """Whether a known name stands where the ending was found: 左氧氟沙星 of which 氧氟沙星 was seen."""
    at = text.find(name)
    while at >= 0:
        if at < match.end() and at + len(name) > match.start():
            return True
        at = text.find(name, at + 1)
    return False


@cache
def _names() -> dict[str, str]:
    """Every name and the first of its line, in lower case; a class ends with "*"."""
    names: dict[str, str] = {}
    for line in (data_dir() / "drugs.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        first, *others = (each.strip().lower() for each in line.split(" / "))
        for each in (first, *others):
            names[each.rstrip("*")] = first
    return names
