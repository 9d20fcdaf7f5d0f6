"""What the doctor found: a line each for people, or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from augment.doctor import OK, PROBLEM, WARNING, Finding


def good(findings: Sequence[Finding]) -> bool:
    """Whether nothing is a problem; warnings are none."""
    return all(each.status != PROBLEM for each in findings)


def to_text(findings: Sequence[Finding]) -> str:
    """A line each, with the fix behind an arrow, and how many are not well."""
    wide = max(len(each.name) for each in findings)
    lines = [
        f"{each.status:<8} {each.name:<{wide}}  {each.said}{f' → {each.fix}' if each.fix else ''}" for each in findings
    ]
    counts = [(sum(each.status == status for each in findings), status) for status in (PROBLEM, WARNING)]
    told = [f"{count or 'no'} {status}{'' if count == 1 else 's'}" for count, status in counts]
    return "\n".join([*lines, ", ".join(told)])


def to_json(findings: Sequence[Finding]) -> str:
    """`ok`, how many are of each status, and every check."""
    counts = {status: sum(each.status == status for each in findings) for status in (OK, WARNING, PROBLEM)}
    told = {"ok": good(findings), "counts": counts, "checks": [each.to_dict() for each in findings]}
    return json.dumps(told, indent=2, ensure_ascii=True)
