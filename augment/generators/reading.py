"""What the answer of a model must be before it is data: the fields asked for, and nothing of the request in them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from augment.generators.prompt import fields_of, plain_text
from augment.records import Rejected
from filters.quantities import quantities

_TAG = re.compile(r"</?\s*(?:question|answer|translation|passage|example|sketch|label|text|dialogue)\s*>", re.I)
_TALK = re.compile(
    r"(?:改写|演化|给定|给出)[后的]{1,2}(?:新)?(?:问题|提问)|原(?:问题|提问)\s*[：:]|只输出\s*JSON"
    r"|^\W*(?:(?:好的|当然|没问题)\W*)?(?:以下|下面|这)是[^\n]{0,16}(?:译文|翻译|问题|提问|对话|改写)[^\n]{0,8}[:：]"
    r"|\b(?:given|rewritten|evolved|original) (?:question|prompt)\b|#\s*(?:given|rewritten|created) prompt"
    r"|^\W*(?:(?:sure|certainly|of course|okay)\W*)?here(?:'s| is| are)[^\n]{0,40}"
    r"(?:question|translation|conversation|dialogue|version)[^\n]{0,40}:|\boutput json\b",
    re.I,
)
_REFUSED = re.compile(
    r"^\W*(?:很|非常|十分)?(?:抱歉|对不起|遗憾)[^。\n]{0,30}?(?:无法|不能|没办法)"
    r"|^\W*(?:作为|我是)[^，,。]{0,12}(?:AI|人工智能|语言模型|大模型)"
    r"|^\W*(?:i'?m |i am )?(?:very |so )?sorry\b[^.\n]{0,60}?(?:can't|cannot|unable)|^\W*as an? (?:ai|large language)\b"
    r"|^\W*i (?:can't|cannot|am unable to|won't) (?:help|assist|answer|provide|comply|translate|rewrite|write|create)",
    re.I,
)


def read_fields(text: str, names: Sequence[str]) -> dict[str, str] | Rejected:
    """The named fields of a JSON answer, each usable; a plain text is taken for the field where one is asked for."""
    found = fields_of(text, names)
    if found is None and len(names) == 1 and (plain := plain_text(text)) is not None:
        found = {names[0]: plain}
    if found is None:
        return Rejected("not the JSON asked for")
    return next((fault for name, each in found.items() if (fault := fault_of(each, name))), found)


def fault_of(text: str, name: str = "question") -> Rejected | None:
    """Why a text of the field `name` is no data; a question that has a question mark is not taken for a refusal."""
    if not re.search(r"\w", text):
        return Rejected("empty")
    if _TAG.search(text):
        return Rejected("a tag of the request is in it")
    if _TALK.search(text.replace("’", "'")):
        return Rejected("talks about the request")
    if _REFUSED.search(text.replace("’", "'")) and (name == "answer" or not re.search("[?？]", text)):
        return Rejected("refused")
    return None


def numbers_missing(stated: str, text: str) -> list[str]:
    """The numbers with their units that `stated` states and `text` does not tell."""
    held = quantities(text)
    return [
        str(each)
        for each in quantities(stated)
        if each.firm and not any(each.told_by(other) for other in held) and not each.told_in(text)
    ]
