"""Personal data that a rewrite invents or leaks: identity numbers, phones, e-mails, bank cards, accounts, addresses.

`\\b` and `\\d` are of no use here: Han is a word character, so that nothing ends between 是 and 138, and full-width
digits are digits. A pattern is bounded by what may not stand beside it, and all is read after NFKC.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from filters import Context

Kind = Literal["id", "phone", "landline", "email", "card", "account", "address"]
KINDS: tuple[Kind, ...] = ("id", "phone", "landline", "email", "card", "account", "address")

_WORTH_A_LOOK = (
    pl.col("changed").str.contains("[0-9](?:[ \u00a0\u3000()（）./－—–-]{0,2}[0-9]){6}")
    | pl.col("changed").str.contains("[０-９]")
    | pl.col("changed").str.contains("@", literal=True)
    | pl.col("changed").str.contains("＠", literal=True)
    | pl.col("changed").str.contains("[微薇威vV]信")
    | pl.col("changed").str.contains("[qQ][qQ]|[vV][xX]|[wW]e[cC]hat|[wW]hats[aA]pp")
)
"""Apart they are ten times as fast as in one pattern."""
_PROVINCES = frozenset(
    (*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83)
)
_ID = re.compile(r"(?<![0-9A-Za-z])(?:[1-8][0-9]{16}[0-9Xx]|[1-8][0-9]{14})(?![0-9A-Za-z])")
_CARD = re.compile(r"(?<![0-9.\-])(?:[2-6][0-9]{14,18}|[2-6][0-9]{3}(?:[ -][0-9]{4}){3}(?:[ -]?[0-9]{1,3})?)(?![0-9])")
_PHONE = re.compile(
    r"(?<![0-9.])(?:(?:\+|00)86[ -]?|86[ -])?1[3-9][0-9](?:[0-9]{8}|[ -][0-9]{4}[ -][0-9]{4})(?![0-9]|\.[0-9])"
    r"|(?<![0-9.\-])(?:\+?1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4}(?![0-9])"
    r"|(?<![0-9])\+(?!86|1[ .(-]?[2-9])[1-9][0-9]{0,2}[ -]?(?:\(0\))?[0-9](?:[ -]?[0-9]){6,10}(?![0-9])"
)
_LANDLINE = re.compile(
    r"(?<![0-9.])(?:\(0(?:10|2[0-9]|[3-9][0-9]{2})\) ?|0(?:10|2[0-9]|[3-9][0-9]{2})[ -])[2-8][0-9]{6,7}(?![0-9])"
    r"|(?<![0-9.])0(?:10|2[0-9])[2-8][0-9]{7}(?![0-9])"
)
_SERVED = re.compile(
    r"(?i)热线|专线|中心|医院|援助|急救|客服|咨询台|服务台|派出所|卫健委|疾控|hotline|helpline|lifeline|crisis|clinic"
    r"|hospital|centre|center"
)
"""What stands shortly before the number of an institution, which is nobody's secret."""
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,5}[A-Za-z]{2,24}"
)
_ACCOUNT = re.compile(
    r"(?:微信|薇信|威信|wechat|whatsapp|(?<![a-z])vx|v信|(?<![a-z])qq)(?:账号|帐号|号码|号|群号|群|id)?"
    r"(?: ?[:是为] ?| )?(?P<name>(?=[a-z_-]*[0-9])[a-z0-9][a-z0-9_-]{4,19})(?![a-z0-9_@])",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?<![0-9.A-Za-z])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9]|\.[0-9])")
_TOLL_FREE = ("800", "833", "844", "855", "866", "877", "888")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
"""Of the 17 digits of a Chinese identity number before its check digit (GB 11643-1999)."""


@dataclass(frozen=True)
class Pii:
    """Drops texts with personal data that their parent does not have, or with any (`inherited`).

    `kinds` are those that count: "id" (Chinese identity numbers of 18 digits with a right check digit, or 15),
    "phone", "landline", "email", "card" (Luhn), "account" (WeChat and the like), "address" (public IPv4). Numbers of
    institutions, toll-free numbers and addresses at example.com are nobody's. The scores are counts and kinds; what
    was found is not copied into them.
    """

    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = KINDS
    inherited: bool = False
    name: ClassVar[str] = "pii"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"pii_new": ("kinds",), "pii_found": ("kinds", "inherited")}
    scores: ClassVar[dict[str, Any]] = {
        "pii_found": pl.String,
        "pii_new": pl.String,
        **{f"pii_{kind}": pl.Int64 for kind in KINDS},
    }
    """Kinds in the text, kinds of which it has something that the parent lacks, and how many there are of each."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        looked = frame.with_row_index("_at").filter(_WORTH_A_LOOK)
        rows: list[dict[str, Any]] = []
        for at, text, *parents in looked.select("_at", "changed", "parent_prompt", "parent_response").iter_rows():
            found = personal(text)
            if not found:
                continue
            known = personal("\n".join(filter(None, parents)))
            new = {kind for kind, value in found if (kind, value) not in known}
            counts = Counter(kind for kind, _ in found.elements())
            rows.append(
                {
                    "_at": at,
                    "pii_found": " ".join(kind for kind in KINDS if counts[kind]),
                    "pii_new": " ".join(kind for kind in KINDS if kind in new),
                    **{f"pii_{kind}": counts[kind] for kind in KINDS},
                }
            )
        found_rows = pl.DataFrame(rows, schema={"_at": pl.UInt32, **self.scores})
        scored = frame.with_row_index("_at").join(found_rows, on="_at", how="left", maintain_order="left")
        return scored.drop("_at").with_columns(
            pl.col(name).fill_null("" if dtype == pl.String else 0) for name, dtype in self.scores.items()
        )

    def verdict(self) -> pl.Expr:
        which = pl.col("pii_found" if self.inherited else "pii_new").str.split(" ")
        return pl.coalesce(pl.when(which.list.contains(kind)).then(pl.lit(_REASONS[kind])) for kind in self.kinds)


_REASONS: dict[Kind, str] = {
    "id": "an identity number",
    "phone": "a phone number",
    "landline": "a phone number",
    "email": "an e-mail address",
    "card": "a bank card number",
    "account": "a messenger account",
    "address": "an IP address",
}


def personal(text: str) -> Counter[tuple[Kind, str]]:
    """(kind, value in one normal form) of all personal data in a text, and how often each is there."""
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES)
    found: Counter[tuple[Kind, str]] = Counter()
    for kind, pattern, valid in _LOOKED_FOR:
        taken: list[tuple[int, int]] = []
        for match in pattern.finditer(plain):
            value = match.groupdict().get("name") or match.group()
            if valid(value, plain[max(match.start() - 24, 0) : match.start()]):
                found[kind, re.sub(r"[ ()+-]", "", value).casefold()] += 1
                taken.append(match.span())
        for begin, end in reversed(taken):
            plain = plain[:begin] + "\n" * (end - begin) + plain[end:]
    return found


_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−", "-") | {"\u00a0": " "})


def _is_id(value: str, _before: str) -> bool:
    if int(value[:2]) not in _PROVINCES:
        return False
    born = value[6:14] if len(value) == 18 else "19" + value[6:12]
    try:
        day = date(int(born[:4]), int(born[4:6]), int(born[6:]))
    except ValueError:
        return False
    if day.year < 1900 or day.year > 2099:
        return False
    if len(value) == 15:
        return True
    weighed = sum(int(digit) * weight for digit, weight in zip(value, _WEIGHTS, strict=False))
    return "10X98765432"[weighed % 11] == value[17].upper()


def _is_card(value: str, _before: str) -> bool:
    digits = [int(each) for each in value if each.isdigit()]
    if not 15 <= len(digits) <= 19 or (len(digits) == 15 and value[:2] not in ("34", "37")) or len(set(digits)) < 4:
        return False
    doubled = [sum(divmod(2 * each, 10)) for each in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(value: str, _before: str) -> bool:
    digits = re.sub(r"[^0-9]", "", value)
    return digits.removeprefix("1")[:3] not in _TOLL_FREE and len(set(digits[-8:])) > 1


def _is_landline(_value: str, before: str) -> bool:
    return _SERVED.search(before) is None


def _is_email(value: str, _before: str) -> bool:
    host = value.rpartition("@")[2].casefold()
    return not re.search(r"(?:^|\.)example(?:\.(?:com|org|net))?$|\.(?:test|invalid|localhost)$", host)


def _is_account(_value: str, _before: str) -> bool:
    return True


def _is_address(value: str, _before: str) -> bool:
    try:
        return len(value) > 8 and ipaddress.IPv4Address(value).is_global
    except ValueError:
        return False


_LOOKED_FOR: tuple[tuple[Kind, re.Pattern[str], Callable[[str, str], bool]], ...] = (
    ("email", _EMAIL, _is_email),
    ("account", _ACCOUNT, _is_account),
    ("id", _ID, _is_id),
    ("card", _CARD, _is_card),
    ("phone", _PHONE, _is_phone),
    ("landline", _LANDLINE, _is_landline),
    ("address", _ADDRESS, _is_address),
)
"""In this order: what one kind takes is no other's."""
