"""Personal data in a text: what it looks like, and what makes a number of that look a real one.

`\\b` and `\\d` are of no use here: Han is a word character, so that nothing ends between 是 and 138, and full-width
digits are digits. A pattern is bounded by what may not stand beside it, and all is read after NFKC, without invisible
characters, with spelt digits (一三八…) as digits.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Literal

import polars as pl

Kind = Literal["id", "phone", "landline", "email", "card", "document", "account", "plate", "home", "address"]
KINDS: tuple[Kind, ...] = (
    *("id", "phone", "landline", "email", "card"),
    *("document", "account", "plate", "home", "address"),
)

_UNSEEN = "\u200b-\u200f\u2060\ufe0f\u20e3\ufeff"
_LOOKS = (
    f"[0-9](?:[ \u00a0\u3000()（）./_·－—–‐‑{_UNSEEN}-]{{0,3}}[0-9]){{6}}",
    "[０-９]",
    "@|＠",
    "[微薇威vV]信|加我?[vVxX微薇威]",
    "[qQ][qQ]|[vV][xX]|[wW]e[cC]hat|[wW]hats[aA]pp",
    "一三|一四|一五|一六|一七|一八|一九",
    "幺[三五七八九]",
    r"[(\[{（【][aA][tT][)\]}）】]|#(?:1[0-9]{2}|qq|sina|gmail|foxmail|outlook|hotmail)",
    "车牌|号牌|[A-HJ-NP-Z][·•]",
    "号楼|单元|[0-9]室",
    "栋|幢|[0-9]弄",
    "住址|家住|住在|地址",
    "护照|通行证|病历号|住院号",
    "门诊号|就诊卡|军官证|社保|医保",
    "[pP]assport|PASSPORT| (?:Street|St|Ave|Road|Rd|Blvd|Lane|Drive|Dr|Way|Place)[., ]",
)
WORTH_A_LOOK = pl.any_horizontal(pl.col("said").str.contains(each) for each in _LOOKS)
"""Over the column `said`: all texts that hold any, and few others. Apart, and with few first bytes each, they are ten
times as fast as in one pattern, or as with a class of many characters in front."""

_PROVINCES = frozenset(
    (*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83)
)
_ID = re.compile(
    r"(?<![0-9A-Za-z])(?:[1-8](?:[ -]?[0-9]){16}[ -]?[0-9Xx×]|[1-8][0-9]{14})(?![0-9A-Za-z])"
    r"|(?<=身份证)[^0-9。，；\n]{0,8}(?P<name>[1-8][0-9]{16}[0-9Xx×])(?![0-9A-Za-z])"
)
_CARD = re.compile(
    r"(?<![0-9.\-])(?:[2-6][0-9]{14,18}|3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5}"
    r"|[2-6][0-9]{3}(?:[ -][0-9]{4}){3}(?:[ -]?[0-9]{1,3})?)(?![0-9])"
    r"|(?:银行卡|信用卡|储蓄卡|借记卡|[Cc]redit card|[Cc]ard number)"
    r"[^0-9。，；\n]{0,8}(?P<name>[2-6](?:[ -]?[0-9]){14,18})(?![0-9])"
)
_CHINA = r"(?:\(?(?:\+|00)?86\)?[ -]{0,2})?"
_UNIT = r"(?! ?(?:[kKmMμu]?[gGlLJ]\b|kcal|k?cal|mmol|mmHg|IU|ppm|[毫微千]?[克升米]|大卡|千卡|单位|元|步|次|人|年|%))"
_PHONE = re.compile(
    rf"(?<![0-9.]){_CHINA}\(?1[3-9][0-9]\)?(?:[0-9]{{8}}|(?P<a>[ ._·/-])[0-9]{{4}}(?P=a)[0-9]{{4}}|[ -][0-9]{{8}}"
    r"|[0-9]{4}[ -][0-9]{4}|[0-9]([ -])[0-9]{4}\2[0-9]{3}|([ -])[0-9]{3}\3[0-9]{5})(?![0-9]|\.[0-9])" + _UNIT + "|"
    r"(?<![0-9.])1([ ._·/-])[3-9](?:\4[0-9]){9}(?![0-9]|\.[0-9])|"
    r"(?<![0-9.\-])(?:\+?1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4}(?![0-9])"
    + _UNIT
    + r"|(?<![0-9])(?:\+|00(?=85[23]|886|1[ -]|44|49|81|82|65|61))(?!86|1[ .(-]?[2-9])"
    r"[1-9][0-9]{0,2}[ -]?(?:\(0\))?[0-9](?:[ -]?[0-9]){6,10}(?![0-9])"
    r"|\((?:852|853|886)\) ?[0-9]{3,4}[ -]?[0-9]{3,4}(?:[ -]?[0-9]{3})?(?![0-9])"
    r"|(?<![0-9.])(?:09[0-9]{2}-[0-9]{3}-[0-9]{3}|07[0-9]{3}[ -]?[0-9]{6})(?![0-9])"
    r"|(?:手机|电话|座机|联系方式|传真|[Tt]el(?:ephone)?|[Pp]hone|[Mm]obile|[Cc]ell|[Ff]ax)"
    r"(?:号码?| ?[Nn]umber| ?[Nn]o\.?)?(?: ?(?:[:是为]| is) ?| )(?P<name>[2-9](?:[ -]?[0-9]){6,12})(?![0-9]|\.[0-9])"
)
_AMERICAN = re.compile(r"\+?(?:1[ .-]?)?\(?[2-9][0-9]{2}\)?[-. ]?[2-9][0-9]{2}[-. ][0-9]{4}$")
_AREA = r"(?:10|2[0-9]|[3-9][0-9]{2})"
_LANDLINE = re.compile(
    rf"(?<![0-9.])(?:(?:\+|00)?86[ -]?)?(?:\(0?{_AREA}\) ?|0{_AREA}[ -])[2-8][0-9]{{2,3}}[ -]?[0-9]{{4}}(?![0-9])"
    rf"|(?<![0-9.])(?:\+|00)?86[ -]?{_AREA}[ -][2-8][0-9]{{2,3}}[ -]?[0-9]{{4}}(?![0-9])"
    rf"|(?<![0-9.])0{_AREA}[2-8][0-9]{{7}}(?![0-9]|\.[0-9])"
)
_SERVED = re.compile(
    r"(?i)热线|专线|中心|医院|援助|急救|客服|咨询台|服务台|派出所|卫健委|疾控|hotline|helpline|lifeline|crisis|clinic"
    r"|hospital|centre|center|poison"
)
"""What stands shortly before the number of an institution, or in brackets after it; that is nobody's secret."""
_HOSTS = r"(?:163|126|139|189|188|qq|sina|sohu|yeah|aliyun|foxmail|gmail|hotmail|outlook|icloud|yahoo|live)"
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,5}[A-Za-z]{2,24}"
    r"|(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{1,63} ?(?:@|#|[(\[{【](?:at|AT)[)\]}】]) ?"
    + _HOSTS
    + r" ?(?:\.|[(\[{【](?:dot|DOT|点)[)\]}】]) ?(?:com|net|cn|me)(?![A-Za-z])"
)
_ACCOUNT = re.compile(
    r"(?:微信|薇信|威信|wechat|whatsapp|加我?[vx微薇威](?![a-z0-9])|(?<![a-z])vx|v信|(?<![a-z])qq)"
    r"(?:账号|帐号|号码|号|群号|群|id)?"
    r"(?:(?: ?[:是为] ?| )?(?P<name>(?=[a-z_-]*[0-9])[a-z0-9][a-z0-9_-]{4,19})"
    r"|: ?(?P<letters>[a-z][a-z_-]{5,19}))(?![a-z0-9_@])",
    re.IGNORECASE,
)
_DOCUMENT = re.compile(
    r"(?i:护照|passport|通行证|军官证|回乡证)[^0-9A-Za-z。,;\n]{0,6}(?i:(?:no|number|is)[.:# ]{0,3}){0,2}"
    r"(?P<name>[A-Za-z]{0,2}[0-9]{7,9})(?![0-9A-Za-z])"
    r"|(?:病历|住院|门诊|就诊卡?|[社医]保卡?)号码?[ :是为]{0,3}(?P<number>[A-Za-z]{0,3}[0-9]{5,18})(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z-])(?:SSN|[Ss]ocial [Ss]ecurity)[^0-9。.;\n]{0,16}"
    r"(?P<ssn>[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4})(?![0-9])"
    r"|(?<![0-9A-Za-z-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9A-Za-z-])"
)
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][·.• -]?"
    r"(?=[A-Z]*[0-9][A-Z]*[0-9][A-Z]*[0-9])[A-HJ-NP-Z0-9]{5,6}(?![0-9A-Za-z])"
)
_COUNT = "[0-9一二三四五六七八九十]{1,4}"
_HOME = re.compile(
    rf"[路街道巷弄村里镇区园][^,。;:\n]{{0,12}}?{_COUNT}(?:号院?|弄)[^,。;:\n]{{0,10}}?{_COUNT}(?:号楼|栋|幢|座|单元|室|号)"
    rf"|(?:住址|家庭地址|联系地址|收件地址|家住|我住在|住在)[:是为]?[^,。;:\n]{{2,24}}?[路街道巷弄村里]{_COUNT}号"
    r"|(?<![0-9])[1-9][0-9]{0,4} (?:[NSEW]\.? )?(?:[A-Z][a-z]+ ){1,3}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl)\.?,? "
    r"(?:(?:Apt|Apartment|Unit|Suite|#)\.? ?[A-Za-z0-9]+,? )?[A-Z][A-Za-z. ]{1,24}, [A-Z]{2},? [0-9]{5}(?![0-9])"
)
_ADDRESS = re.compile(r"(?<![0-9.A-Za-z])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9]|\.[0-9])")
_FREE = ("400", "800", "833", "844", "855", "866", "877", "888")
"""Prefixes of numbers that cost the caller nothing, in China and North America: those of services."""
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
"""Of the 17 digits of a Chinese identity number before its check digit (GB 11643-1999)."""
_DASHES = str.maketrans(
    dict.fromkeys("‐‑‒–—―−", "-")
    | {"\u00a0": " ", "\u3000": " "}
    | dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\ufe0f\u20e3\ufeff", None)
)
_SPELT = re.compile("[零〇一二三四五六七八九幺]{11,}")
_DIGITS = str.maketrans("零〇一二三四五六七八九幺", "001234567891")


def personal(text: str) -> Counter[tuple[Kind, str]]:
    """(kind, value in one normal form) of all personal data in a text, and how often each is there."""
    plain = unicodedata.normalize("NFKC", text.translate(_DASHES)).translate(_DASHES)
    plain = _SPELT.sub(lambda match: match.group().translate(_DIGITS), plain)
    found: Counter[tuple[Kind, str]] = Counter()
    for kind, pattern, valid in _LOOKED_FOR:
        taken: list[tuple[int, int]] = []
        for match in pattern.finditer(plain):
            named = {name: told for name, told in match.groupdict().items() if told and name != "a"}
            value = next(iter(named.values()), match.group())
            begin = match.start()
            beside = plain[max(begin - 24, 0) : begin] + _bracketed(plain[match.end() : match.end() + 24])
            if valid(value, bool(named), beside):
                found[kind, _normal(kind, value)] += 1
                taken.append(match.span())
        for begin, end in reversed(taken):
            plain = plain[:begin] + "\n" * (end - begin) + plain[end:]
    return found


def _bracketed(after: str) -> str:
    """What stands in brackets right behind a number."""
    return after if re.match(r" ?\(", after) else ""


def _normal(kind: Kind, value: str) -> str:
    if kind in ("phone", "landline"):
        digits = re.sub(r"[^0-9]", "", value)
        return re.sub(r"^(?:00)?86(?=0?[1-9])|^0+", "", digits) if not _AMERICAN.match(value) else digits[-10:]
    short = re.sub(r"[ ()+_·/-]", "", value).casefold()
    return short.replace("×", "x")


def _is_id(value: str, labelled: bool, _beside: str) -> bool:
    value = re.sub(r"[ -]", "", value).replace("×", "X")
    if int(value[:2]) not in _PROVINCES:
        return False
    born = value[6:14] if len(value) == 18 else "19" + value[6:12]
    try:
        day = date(int(born[:4]), int(born[4:6]), int(born[6:]))
    except ValueError:
        return labelled
    if day.year < 1900 or day.year > 2099:
        return labelled
    if len(value) == 15 or labelled:
        return True
    weighed = sum(int(digit) * weight for digit, weight in zip(value, _WEIGHTS, strict=False))
    return "10X98765432"[weighed % 11] == value[17].upper()


def _is_card(value: str, labelled: bool, _beside: str) -> bool:
    digits = [int(each) for each in value if each.isdigit()]
    if not 15 <= len(digits) <= 19 or len(set(digits)) < 4:
        return False
    if labelled:
        return True
    if len(digits) == 15 and value[:2] not in ("34", "37"):
        return False
    doubled = [sum(divmod(2 * each, 10)) for each in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(value: str, _labelled: bool, beside: str) -> bool:
    digits = re.sub(r"[^0-9]", "", value)
    if len(set(digits[-8:])) == 1:
        return False
    if re.search(r"(?:^|86)1[3-9][0-9]{9}$", digits) and not _AMERICAN.match(value):
        return not re.fullmatch(r".*[ -](?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])", value)  # 138 20190101
    rounded = all(each.endswith("00") for each in re.split(r"[^0-9]+", value) if each)  # 600-800-1000
    return re.sub("^1(?=[0-9]{10})", "", digits)[:3] not in _FREE and not rounded and _SERVED.search(beside) is None


def _is_landline(_value: str, _labelled: bool, beside: str) -> bool:
    return _SERVED.search(beside) is None


def _is_home(value: str, _labelled: bool, beside: str) -> bool:
    return _SERVED.search(value) is None and _SERVED.search(beside[-12:]) is None


def _is_email(value: str, _labelled: bool, _beside: str) -> bool:
    host = value.rpartition("@")[2].casefold()
    return not re.search(r"(?:^|\.)example(?:\.(?:com|org|net))?$|\.(?:test|invalid|localhost)$", host)


def _is_any(_value: str, _labelled: bool, _beside: str) -> bool:
    return True


def _is_address(value: str, _labelled: bool, _beside: str) -> bool:
    try:
        return len(value) > 8 and ipaddress.IPv4Address(value).is_global
    except ValueError:
        return False


_LOOKED_FOR: tuple[tuple[Kind, re.Pattern[str], Callable[[str, bool, str], bool]], ...] = (
    ("email", _EMAIL, _is_email),
    ("account", _ACCOUNT, _is_any),
    ("id", _ID, _is_id),
    ("card", _CARD, _is_card),
    ("document", _DOCUMENT, _is_any),
    ("phone", _PHONE, _is_phone),
    ("landline", _LANDLINE, _is_landline),
    ("plate", _PLATE, _is_any),
    ("home", _HOME, _is_home),
    ("address", _ADDRESS, _is_address),
)
"""In this order: what one kind takes is no other's."""
