"""How good the sift is, by the rows that people looked at: shares with 95 % intervals, and how far reviewers agree.

A row counts as good when it is accepted as it stands; one that had to be edited was not. The share of kept rows that
are good is the precision of the sift; the share of rejected ones that are good is what its filters lose.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from augment.errors import needs
from augment.review.decisions import Decision
from augment.review.sample import Population
from augment.review.verdicts import BARRED, Verdict, current

with needs("scipy", "evaluate"):
    from scipy import stats

    from augment.intervals import LEVEL, Interval, rows_for

ENOUGH = 5
"""Rows that a generator or filter needs before its own rate is told."""


@dataclass(frozen=True)
class Stratum:
    """Rows that were sampled alike: `good` of `n` that were looked at, of `population`."""

    good: int
    n: int
    population: int


def rate(strata: Iterable[Stratum]) -> Interval:
    """The share of good rows in all strata, each weighed by its rows, with Wilson's interval (1927).

    Wilson's formula takes the number of independent rows that would tell as much (Kish, 1965, §11.7; Cochran, 1977,
    §5.6): fewer where the strata were not sampled by their size, more where much of a stratum was looked at, so that
    rows that were all looked at leave no doubt. For one large stratum this is `augment.intervals.share`. Strata that
    nobody looked at stay out.
    """
    known = [each for each in strata if each.n]
    n = sum(each.n for each in known)
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0)
    total = sum(each.population for each in known)
    weights = [each.population / total for each in known]
    mean = sum(weight * each.good / each.n for weight, each in zip(weights, known, strict=True))
    doubt = sum(
        weight**2 * (each.population - each.n) / max(each.population - 1, 1) / each.n
        for weight, each in zip(weights, known, strict=True)
    )
    low, high = _wilson(mean, doubt)
    return Interval(mean, low, high, n)


def _wilson(mean: float, doubt: float) -> tuple[float, float]:
    """Wilson's interval of a share known from 1 / `doubt` rows."""
    z = float(stats.norm.ppf((1 + LEVEL) / 2)) ** 2 * doubt
    middle = (mean + z / 2) / (1 + z)
    half = math.sqrt(z * mean * (1 - mean) + z * z / 4) / (1 + z)
    return max(0.0, middle - half), min(1.0, middle + half)


def rates(population: Population, verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """The two rates, and those by generator and by filter where there are enough, as plain data ready for JSON."""
    kept: dict[str, list[str]] = defaultdict(list)
    rejected: dict[tuple[str, str], list[str]] = defaultdict(list)
    for verdict in verdicts.values():
        row = verdict.decision.seen
        by = row.get("dropped_by")
        if by is None:
            kept[row["generator"]].append(verdict.verdict)
        elif by not in BARRED:
            rejected[by, row["reason"]].append(verdict.verdict)
    sizes = population.sizes
    everything = [verdict for each in kept.values() for verdict in each]
    reasons = {key: _stratum(rejected[key], size) for key, size in population.rejected.items()}
    filters = sorted({by for by, _ in reasons})
    return {
        "kept": {
            **_told(rate([_stratum(everything, sizes[0])]), everything, sizes[0]),
            "by_generator": {
                name: _told(rate([_stratum(kept[name], size)]), kept[name], size)
                for name, size in population.kept.items()
                if len(kept[name]) >= ENOUGH
            },
        },
        "rejected": {
            **_told(rate(reasons.values()), [one for key in reasons for one in rejected[key]], sizes[1]),
            "unseen": sum(each.population for each in reasons.values() if not each.n),
            "by_filter": {
                name: told for name in filters if (told := _of_filter(name, reasons, rejected))["reviewed"] >= ENOUGH
            },
        },
    }


def _of_filter(
    name: str, reasons: Mapping[tuple[str, str], Stratum], found: Mapping[tuple[str, str], list[str]]
) -> dict[str, Any]:
    own = {key: each for key, each in reasons.items() if key[0] == name}
    looked = [one for key in own for one in found[key]]
    return _told(rate(own.values()), looked, sum(each.population for each in own.values()))


def _stratum(verdicts: list[str], population: int) -> Stratum:
    n = min(len(verdicts), population)
    return Stratum(min(verdicts.count("accept"), n), n, population)


def _told(found: Interval, verdicts: list[str], population: int) -> dict[str, Any]:
    known = found.n > 0
    return {
        "population": population,
        "reviewed": found.n,
        "accepted": verdicts.count("accept"),
        "edited": verdicts.count("edit"),
        "rejected": verdicts.count("reject"),
        "rate": round(found.mean, 6) if known else None,
        "low": round(found.low, 6) if known else None,
        "high": round(found.high, 6) if known else None,
    }


def agreement(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """For each pair of reviewers, over the rows that both decided: the share they agree on, and Cohen's kappa (1960).

    Kappa is None where both gave one and the same verdict throughout, so that nothing could disagree.
    """
    rows = current(decisions)
    people = sorted({reviewer for each in rows.values() for reviewer in each})
    found = []
    for one, other in itertools.combinations(people, 2):
        pairs = [(each[one].verdict, each[other].verdict) for each in rows.values() if one in each and other in each]
        if not pairs:
            continue
        agreed = sum(ours == theirs for ours, theirs in pairs) / len(pairs)
        first, second = ([pair[side] for pair in pairs] for side in (0, 1))
        chance = sum(first.count(each) * second.count(each) for each in set(first)) / len(pairs) ** 2
        kappa = None if chance == 1 else round((agreed - chance) / (1 - chance), 6)
        found.append({"reviewers": [one, other], "rows": len(pairs), "agreed": round(agreed, 6), "kappa": kappa})
    return found


def proposed(sizes: tuple[int, int], bound: float) -> tuple[int, int]:
    """How many kept and how many rejected rows to look at, so that each rate is known to ± `bound` whatever it is."""
    kept, rejected = (rows_for(bound, population=size) if size else 0 for size in sizes)
    return kept, rejected


def bound_of(n: int, population: int) -> float:
    """The half width of a rate that `n` of `population` rows will give at worst."""
    spread = math.sqrt(0.25 / n * (population - n) / max(population - 1, 1)) if n else math.nan
    return float(stats.norm.ppf((1 + LEVEL) / 2)) * spread


def lines(found: Mapping[str, Any], pairs: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """The rates and the agreement as a person reads them, a line each."""
    kept, rejected = found["kept"], found["rejected"]
    told = [f"kept rows accepted: {_share(kept)}"] if kept["population"] else []
    told += [f"  {name}: {_share(each)}" for name, each in kept["by_generator"].items()]
    if rejected["population"]:
        unseen = f"; {rejected['unseen']:,} rows of reasons not looked at yet" if rejected["unseen"] > 0 else ""
        told.append(f"rejected rows a person would keep: {_share(rejected)}{unseen if rejected['reviewed'] else ''}")
    told += [f"  {name}: {_share(each)}" for name, each in rejected["by_filter"].items()]
    for pair in pairs:
        kappa = "" if pair["kappa"] is None else f", Cohen's kappa {pair['kappa']:.2f}"
        names = " and ".join(pair["reviewers"])
        told.append(f"{names} agree on {pair['agreed']:.0%} of {pair['rows']:,} rows{kappa}")
    return told


def _share(each: Mapping[str, Any]) -> str:
    if not each["reviewed"]:
        return f"none of {each['population']:,} looked at"
    edited = f", {each['edited']:,} edited" if each["edited"] else ""
    counted = f"{each['accepted']:,} of {each['reviewed']:,} looked at{edited}; {each['population']:,} in all"
    return f"{each['rate']:.1%} ({each['low']:.1%} to {each['high']:.1%}; {counted})"
