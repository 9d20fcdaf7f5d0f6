"""The sentences of a text, Chinese or English."""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[。！？!?；;…])[”’」』）)\"']*|\n+|(?<=[a-z0-9)\"'][.])\s+(?=[A-Z\"'(])")
_SAYS = re.compile(r"\w")
LEAST = 4
"""Letters and digits without which a piece says nothing that could be supported."""


def sentences(text: str) -> list[str]:
    """Its sentences without blanks around them; pieces that say nothing (numbers of a list, headings) are left out."""
    pieces = (each.strip() for each in _END.split(text))
    return [each for each in pieces if len(_SAYS.findall(each)) >= LEAST]
