"""Quantities in Chinese and English health texts, in one normal form.

"半小时", "30 min" and "三十分钟" are the same quantity, as are 38.5℃, 38.5度 and 38.5°C. A quantity is firm
when it states a fact; "一下", "一点", "十分" and the like are numerals of speech and are not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from string import ascii_lowercase

_DIGITS = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_TENS = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "亿": 100_000_000}
_ENGLISH = {
    "zero": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "thirteen": 13,
    "fourteen": 14,
    "fifteen": 15,
    "sixteen": 16,
    "seventeen": 17,
    "eighteen": 18,
    "nineteen": 19,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
}
_WRITTEN: tuple[tuple[str, Fraction, str], ...] = (  # normal form, how many of those, as written
    ("分钟", Fraction(1), "分钟|分鐘|minutes|minute|mins|min"),
    ("分钟", Fraction(60), "个半小时|个小时|小时|个钟头|钟头|个钟|hours|hour|hrs|hr|h"),
    ("秒", Fraction(1), "秒钟|秒|seconds|second|secs|sec|s"),
    ("天", Fraction(1), "天|日|days|day"),
    ("天", Fraction(7), "个星期|星期|个礼拜|礼拜|周|weeks|week|wks|wk"),
    ("月", Fraction(1), "个半月|个多月|个月|月|months|month"),
    ("月", Fraction(12), "年|years|year|yrs|yr"),
    ("岁", Fraction(1), "周岁|岁|year-olds|year-old|year old|years old|years-old|years of age|y/o"),
    ("晚", Fraction(1), "晚|夜|nights|night"),
    ("点", Fraction(1), "点钟|点|o'clock"),
    ("次", Fraction(1), "次|回|遍|趟|times|time"),
    ("mg", Fraction(1), "毫克|milligrams|milligram|mg"),
    ("mg", Fraction(1000), "克|grams|gram|g"),
    ("ug", Fraction(1), "微克|micrograms|microgram|mcg|ug|μg"),
    ("kg", Fraction(1), "公斤|千克|kilograms|kilogram|kilos|kilo|kgs|kg"),
    ("kg", Fraction(1, 2), "斤"),
    ("lb", Fraction(1), "磅|pounds|pound|lbs|lb"),
    ("ml", Fraction(1), "毫升|milliliters|millilitres|milliliter|millilitre|ml|cc"),
    ("ml", Fraction(1000), "升|liters|litres|liter|litre|l"),
    ("片", Fraction(1), "片|tablets|tablet|pills|pill"),
    ("度", Fraction(1), "摄氏度|°c|度|°"),
    ("°f", Fraction(1), "华氏度|°f"),
    ("mmhg", Fraction(1), "毫米汞柱|mmhg|mm hg"),
    ("mmol/l", Fraction(1), "毫摩尔每升|mmol/l|mmol"),
    ("mg/dl", Fraction(1), "mg/dl"),
    ("mm", Fraction(1), "毫米|mm"),
    ("mm", Fraction(10), "厘米|公分|cm"),
    ("米", Fraction(1), "米|meters|metres|m"),
    ("米", Fraction(1000), "公里|千米|km"),
    ("%", Fraction(1), "%|percent"),
    ("元", Fraction(1), "元|块钱|块"),
    *((each, Fraction(1), each) for each in "粒颗丸袋支滴勺杯瓶包针碗根倍步胎期级顿"),
)
_UNITS = {unit: (name, times) for name, times, written in _WRITTEN for unit in written.split("|")}
_OF_THINGS = (*"种类样项件份位名人句", "kind", "type", "sort", "people")
"""What is counted where no unit is left out: that there are four kinds does not tell four days."""
_PILLS = frozenset("片粒颗丸")
_EVEN_ONE = {"个星期", "星期", "个礼拜", "礼拜", "周", "个月", "个半月", "个多月", "小时", "个小时", "年"}
"""Units after which even 一 states a fact; 一次, 一点, 一片 and 一天 are mostly ways of speaking."""
_CHINESE = "零〇一二两三四五六七八九十百千万亿"
_NUMBER = (
    r"[0-9]{1,3}(?:,[0-9]{3}){1,4}(?:\.[0-9]{1,9})?|[0-9]{1,15}(?:\.[0-9]{1,9})?[万亿]?"
    rf"|[{_CHINESE}]{{1,20}}(?:点[零一二三四五六七八九]{{1,9}}(?!十|点))?|半"
)
_BY_LENGTH = sorted(_UNITS, key=len, reverse=True)
_UNIT = "|".join(
    re.escape(unit) + (r"(?![a-z])" if unit[-1].isascii() and unit[-1].isalpha() else "") for unit in _BY_LENGTH
)
_NAME = rf"(?<![a-z])[a-z]{{1,20}}-?[0-9]{{1,15}}(?![0-9.]|\s?(?![片粒颗丸针滴])(?:{_UNIT}))"
"""Letters and a number: "b12", "covid-19", "b6片"; not "ef45%" or "q8h", where a unit follows."""
_WORD = "|".join(sorted(_ENGLISH, key=len, reverse=True))
_QUANTITY = re.compile(  # its first characters alone first: what begins with none of them is most of a text
    rf"(?=[0-9a-z{_CHINESE}半])(?:(?P<name>{_NAME})|(?P<percent>百分之)?"
    rf"(?:(?P<low>{_NUMBER})(?:个|{_UNIT})?\s?[-~—–到至]\s?)?(?:(?P<number>{_NUMBER})|\b(?P<word>{_WORD})\b)"
    rf"[多来余几]?(?:个(?!半|多?月))?[\s-]?(?P<unit>{_UNIT})?(?P<half>半(?!夜|天|身))?)"
)
_ONE_OF = re.compile(r"\ban? (?=(?:minute|hour|day|week|month|year)\b)")
_ENGLISH_LETTERS = re.compile("[a-z]{2}")
_TENS_EN = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_ONES_EN = "one|two|three|four|five|six|seven|eight|nine"
_REWORDED = (
    (
        ("ty",),
        re.compile(rf"\b({_TENS_EN})[- ]({_ONES_EN})\b"),
        lambda match: str(_ENGLISH[match[1]] + _ENGLISH[match[2]]),
    ),
    (("st", "nd", "rd", "th"), re.compile(r"(?<=\d)(?:st|nd|rd|th)\b"), ""),
    (("度",), re.compile(r"(?<=\d)度(?=\d(?![\d.]))"), "."),
    ((":00",), re.compile(r"(?<!\d)([01]?\d|2[0-3])[:：]00(?!\d)"), r"\1点"),
    (("m",), re.compile(r"(?<=\d) ?[ap]\.?m\b\.?"), "点"),
    (("刻", "quarter"), re.compile(r"一刻钟|\ba quarter of an hour"), "15分钟"),
    (("1",), re.compile(r"1[⁄/]2(?![\d/])"), "0.5"),
    (("米",), re.compile(r"([12])米(\d{1,2})(?!\d)"), r"\1.\2米"),
    (("第",), re.compile(r"第[一二12](?=[天日])"), " "),
    (("把",), re.compile(r"个把月"), "一个月"),
    (("仨",), re.compile(r"仨"), "三个"),
    (("半",), re.compile(r"半个(?=小时|钟|月)"), "半"),
    (("俩",), re.compile(r"俩"), "两个"),
    (
        ("十", "万", "七", "三", "四"),
        re.compile(r"十分(?!钟|之)|万一|千万(?=别|不|要|记|小)|七上八下|三长两短|一年四季"),
        " ",
    ),
    (("百", "两"), re.compile(r"百度|[这那过前近]两(?=天|日|年|晚)"), " "),
    (("一", "三"), re.compile(r"[初高大小]一|第一|三七|一(?=点儿?[^零一二三四五六七八九\d钟半])"), " "),
)
_REWORDED_EN = (
    (("fortnight",), re.compile(r"\bfortnight"), "2 weeks"),
    (("couple", "pair"), re.compile(r"\ba (?:couple|pair) of "), "2 "),
    (("dozen",), re.compile(r"\bhalf a dozen"), "6"),
    (("dozen",), re.compile(r"\ba dozen"), "12"),
    (("half",), re.compile(r"\ba year and a half"), "18 months"),
    (("half",), re.compile(r"\b(?:one|1) and a half"), "1.5"),
    (("half",), re.compile(r"\b(?:two|2) and a half"), "2.5"),
    (("half",), re.compile(r"\bhalf a year"), "6 months"),
    (
        ("in the", "at night"),
        re.compile(r"(?<=[a-z\d]) (?:o'clock )?in the (?:morning|afternoon|evening)|(?<=\d) at night"),
        " 点",
    ),
    (("half",), re.compile(r"half an hour|half hour"), "30分钟"),
    (("twice",), re.compile(r"\btwice\b"), "2 times"),
    (("once",), re.compile(r"\bonce(?= (?:a|per|every|each|daily|weekly)\b)"), "1 times"),
)
"""What is told in other words, and how: of the first words one is in every match, and most texts have none."""
_PER = re.compile(
    rf"(?:每|一|1)个?(天|日|晚|周|星期|礼拜|月|年|小时)(?=[^\d，,。；;？?！!\n]{{0,5}}?(?:\d|[{_CHINESE}半])+多?个?(?:{_UNIT}))"
    r"|(?<=times) (?:a|per|each|every) (day|night|week|month|year|hour)|(?<=times) (daily|weekly|monthly)"
)
"""How often: 每天两次, 一周三次, twice a day."""
_EVERY = {"日": "天", "daily": "天", "星期": "周", "礼拜": "周", "weekly": "周", "monthly": "月"}
_EVERY |= {"day": "天", "night": "晚", "week": "周", "month": "月", "year": "年", "hour": "小时"}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in its unit's normal form ("" when it has none); a name such as "b12" has no number."""

    value: Fraction | str
    unit: str
    firm: bool
    around: tuple[str, str] = field(default=("", ""), compare=False)
    """The characters before and after it, without blanks."""

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{float(self.value):g}"
        return f"{value}{self.unit}"

    def told_by(self, other: Quantity) -> bool:
        """Whether `other`, in a rewrite, says the same; speech may leave the unit out, or use one unknown here."""
        if isinstance(self.value, str) or isinstance(other.value, str):
            return self._named_by(other)
        if self.unit != other.unit:
            for one, two in ((self, other), (other, self)):
                if (times := _MOSTLY.get((one.unit, two.unit))) and one.value * times == two.value:
                    return True
        if self.unit == other.unit == "点":
            return self.value % 12 == other.value % 12
        if self.value != other.value:
            return False
        pills = self.unit in _PILLS and other.unit in _PILLS
        return pills or other.unit == self.unit or self._bare or other._bare

    @property
    def _bare(self) -> bool:
        """Whether a unit may have been left out: none is written, and no things are counted, as in 四种药."""
        return not self.unit and not self.around[1].startswith(_OF_THINGS)

    def _named_by(self, other: Quantity) -> bool:
        """Whether two names, or a name and a number, may be the same: vb12 and b12, ALT82 and ALT 82, t39 and 39度."""
        if isinstance(self.value, str) and isinstance(other.value, str):
            return self.unit == other.unit and _code(self.value) == _code(other.value)
        name, number = (self.value, other.value) if isinstance(self.value, str) else (other.value, self.value)
        return str(name).lstrip(ascii_lowercase) == str(number)

    def told_in(self, text: str) -> bool:
        """Whether a text tells it without a number: 24 hours by "a day", once a year by "every year"."""
        words = _BY_WORDS.get((self.value, self.unit))
        return words is not None and words.search(text.lower()) is not None

    def like(self, other: Quantity) -> bool:
        """Whether both measure the same: minutes and days do, tablets and milligrams do not."""
        return _KIND.get(self.unit, self.unit) == _KIND.get(other.unit, other.unit)


_MOSTLY = {
    ("月", "天"): 30,
    ("岁", "月"): 12,
    ("岁", "天"): 365,
    ("天", "分钟"): 1440,
    ("月", "晚"): 30,
    ("天", "晚"): 1,
    ("米", "mm"): 1000,
    ("kg", "mg"): 1_000_000,
    ("mg", "ug"): 1000,
}
"""How many of the second unit the first is, as people say it."""
_KIND = dict.fromkeys(("分钟", "秒", "天", "月", "晚"), "time") | {"ug": "mg"}
_A_DAY = r"[每一1]天|天天|每日|一日|日均|一昼夜|整天|每餐|每顿|\b(?:a|per|each|every) ?(?:day|morning|evening)|daily"
_BY_WORDS = {
    (Fraction(1440), "分钟"): re.compile(_A_DAY),
    (Fraction(1), "天"): re.compile(_A_DAY + "|24 ?(?:小时|hours)"),
    ("每", "天"): re.compile(_A_DAY + "|每[早晚]|早晚|24 ?(?:小时|hours)"),
    ("每", "晚"): re.compile("每晚|每天晚上|夜夜|nightly|every night"),
    ("每", "周"): re.compile(r"[每一1]个?(?:周|星期|礼拜)|weekly|\b(?:a|per|each|every) week"),
    ("每", "月"): re.compile(r"[每一1]个?月|monthly|\b(?:a|per|each|every) month"),
    ("每", "年"): re.compile(r"[每一1]年|yearly|annual|\b(?:a|per|each|every) year"),
    ("每", "小时"): re.compile(r"[每一1]个?(?:小时|钟头)|hourly|\b(?:a|per|each|every) hour"),
    (Fraction(12), "点"): re.compile("中午|正午|noon|midday|midnight|午夜|零点"),
    (Fraction(2), "次"): re.compile("早晚|早上.{0,8}晚上|twice|morning and (?:night|evening)"),
    (Fraction(3), "次"): re.compile("早中晚|三餐|三顿|每餐|饭[前后]|with (?:each|every) meal"),
    (Fraction(1), "次"): re.compile(r"每[年月周天日]|定期|一[次回趟]|once|\bone\b"),
}


def _code(name: str) -> str:
    """A name's number and the letter before it."""
    return name[max(len(name.rstrip("0123456789")) - 1, 0) :]


@lru_cache(maxsize=1 << 14)  # a parent's text is read for each of its variants
def quantities(text: str) -> tuple[Quantity, ...]:
    """All quantities of a text, in order."""
    plain = unicodedata.normalize("NFKC", text).lower()
    for words, pattern, replacement in (*_REWORDED, *_REWORDED_EN) if _ENGLISH_LETTERS.search(plain) else _REWORDED:
        for word in words:
            if word in plain:
                plain = pattern.sub(replacement, plain)
                break
    found: list[Quantity] = []
    for match in _PER.finditer(plain):
        period = next(filter(None, match.groups()))
        found.append(Quantity("每", _EVERY.get(period, period), True))
    rest = _PER.sub(" ", plain) if found else plain
    rest = _ONE_OF.sub("one ", rest) if "a" in rest else rest
    for match in _QUANTITY.finditer(rest):
        around = (
            "".join(rest[max(match.start() - 8, 0) : match.start()].split()),
            "".join(rest[match.end() : match.end() + 8].split()),
        )
        found.extend(replace(each, around=around) for each in _read(match))
    return tuple(found)


def _read(match: re.Match[str]) -> list[Quantity]:
    if match["name"]:
        return [Quantity(match["name"].replace("-", ""), "", True)]
    written = match["number"] or match["word"]
    values = [value for text in (match["low"], written) if text for value in _values(text)]
    unit, times = _UNITS.get(match["unit"] or "", ("", Fraction(1)))
    if match["percent"]:
        unit = "%"
    if match["half"] and values and unit:
        values[-1] += Fraction(1, 2)
    if match["unit"] and match["unit"].startswith("个半"):
        values = [value + Fraction(1, 2) for value in values]
    firm = written[0].isdigit() and written[0].isascii()
    if not firm and match["word"]:
        firm = bool(unit) and values != [1]
    elif not firm and written == "半":
        firm = unit in ("分钟", "月", "片")
    elif not firm and unit:
        firm = values != [1] or match["unit"] in _EVEN_ONE
    elif not firm:
        firm = len(written) > 1 and written[0] in _DIGITS and any(each in _TENS or each == "点" for each in written)
    if match["unit"] == "年" and values and values[-1] > 1000:
        unit, times = "", Fraction(1)  # a year of the calendar
    return [Quantity(value * times, unit, firm) for value in values]


@lru_cache(maxsize=1 << 12)
def _values(written: str) -> Sequence[Fraction]:
    """The number written, or both of "两三" (two or three)."""
    if written in _ENGLISH:
        return [Fraction(_ENGLISH[written])]
    if written == "半":
        return [Fraction(1, 2)]
    if written[0].isascii() or not set(written) <= {*_DIGITS, *_TENS, "点"}:
        many = _TENS.get(written[-1], 1)
        return [Fraction(written.replace(",", "").rstrip("万亿")) * many]
    whole, _, decimals = written.partition("点")
    if len(whole) == 2 and set(whole) <= set(_DIGITS) and "零" not in whole and "〇" not in whole and not decimals:
        return [Fraction(_DIGITS[each]) for each in whole]
    value = Fraction(_whole(whole))
    return [value + Fraction(int("".join(str(_DIGITS[each]) for each in decimals) or "0"), 10 ** len(decimals))]


def _whole(written: str) -> int:
    if set(written) <= set(_DIGITS):
        return int("".join(str(_DIGITS[each]) for each in written))
    total = section = digit = 0
    last = 1
    for each in written:
        if each in _DIGITS:
            digit, last = _DIGITS[each], 1 if each in "零〇" else last
        elif _TENS[each] >= 10_000:
            total, section, digit, last = (total + section + digit) * _TENS[each], 0, 0, _TENS[each]
        else:
            section, digit, last = section + (digit or 1) * _TENS[each], 0, _TENS[each]
    if digit and last >= 100 and len(written) > 1:
        digit *= last // 10  # 一百五 is 150
    return total + section + digit
