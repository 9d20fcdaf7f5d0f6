"""Versions and ranges of them as packages write them, compared by their numbers; a pre-release is its release."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?\s*\(?([^;()]*)\)?\s*(?:;(.*))?$")
_ONE = re.compile(r"\s*(===|==|!=|>=|<=|~=|<|>)\s*v?([0-9][^\s,]*)\s*$")


@dataclass(frozen=True)
class Requirement:
    """`name[extras]specs ; marker`, as in "torch~=2.13.0"; the name is lower case with `-`."""

    name: str
    extras: tuple[str, ...]
    specs: str
    marker: str


def requirement(text: str) -> Requirement | None:
    """A requirement read from its text, or None where it names no range (an address)."""
    found = _REQUIREMENT.match(text)
    if found is None:
        return None
    name, extras, specs, marker = found.groups()
    listed = tuple(each.strip() for each in (extras or "").split(",") if each.strip())
    return Requirement(plain(name), listed, specs.strip(), (marker or "").strip())


def plain(name: str) -> str:
    """A package's name as all its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version: (2, 13, 0) of "2.13.0+cpu"."""
    found = re.match(r"v?(?:\d+!)?(\d+(?:\.\d+)*)", version.strip())
    return tuple(int(each) for each in found[1].split(".")) if found else ()


def local(version: str) -> str:
    """What stands behind the +: "cpu" of "2.13.0+cpu"."""
    return version.partition("+")[2]


def fits(version: str, specs: str) -> bool:
    """Whether a version is in the range ">=3.7,<4"; what cannot be read is taken to be fulfilled."""
    return all(_fits(version, each) for each in specs.split(",") if each.strip())


def _fits(version: str, spec: str) -> bool:
    found = _ONE.match(spec)
    if found is None or not release(version):
        return True
    sign, bound = found[1], found[2]
    have, want = release(version), release(bound)
    width = max(len(have), len(want))
    padded = have + (0,) * (width - len(have))
    limit = want + (0,) * (width - len(want))
    same = padded[: len(want)] == want if bound.endswith("*") else padded == limit
    if sign in ("==", "==="):
        return same
    if sign == "!=":
        return not same
    if sign == "~=":
        return padded >= limit and padded[: len(want) - 1] == want[:-1]
    return {">=": padded >= limit, "<=": padded <= limit, "<": padded < limit, ">": padded > limit}[sign]
