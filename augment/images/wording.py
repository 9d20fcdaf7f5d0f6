"""What is said of a picture, and which changes would make it untrue. English and Chinese; when in doubt, it would."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SIDES = re.compile(
    r"\b(?:left|right)(?:most|ward|wards|hand|handed)?\b|\b(?:anti|counter)?-?clockwise\b|\b(?:east|west)(?:ern|ward|wards)?\b|"
    r"\b(?:text|texts|words?|letters?|lettering|numbers?|numerals?|digits?|characters?|writing|written|inscription|"
    r"inscribed|caption|captions|captioned|logos?|signs?|signage|posters?|banners?|billboards?|clocks?|"
    r"plates?|says|reads|reading|spells|spelling|alphabet|handwriting|handwritten|scoreboard|keyboard|maps?)\b|"
    r"\d|[\"“”「」『』《》]|"
    r"[左右]|[东西東](?:边|侧|面|方|邊|側)|[顺逆順]时针|[順逆]時針|[字]|数码|號碼|号码|车牌|車牌|牌匾|招牌|路牌|标[志识语题牌]|標[誌識語題牌]|写[着有道]|寫[著有道]|"
    r"印[着有]|[书書]法|[钟鐘]|海[报報]|商标|商標|地[图圖]|键盘|鍵盤",
    re.IGNORECASE,
)
_COLOURS = re.compile(
    r"\b(?:red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|gr[ae]y|gold|golden|silver|silvery|beige|tan|teal|"
    r"turquoise|cyan|magenta|maroon|navy|crimson|scarlet|olive|lavender|khaki|ivory|amber|bronze|copper|indigo|mauve|"
    r"burgundy|blond|blonde|ginger|auburn|brunette|rosy|rust|rusty|lilac|azure|emerald|cream|peach|coral|"
    r"colou?r(?:s|ed|ful|less)?|multicolou?red|monochrome|sepia|rainbow|hue|tinted|tanned)\b|"
    r"\b(?:redd|yellow|green|blu|purpl|pink|brown|black|whit|gr[ae]y|orang)(?:ish)\b|"
    r"\b(?:red|orange|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y|golden)-|"
    r"[红紅橙橘黄黃绿綠青蓝藍紫粉棕褐黑白灰赤彩色]|[金银銀](?:发|髮)",
    re.IGNORECASE,
)
_LIGHT = re.compile(
    r"\b(?:dark|darkness|darkened|bright|brightly|dim|dimly|pale|light|lit|sunlit|moonlit|backlit|shadow|shadows|shady|night|"
    r"nighttime|dusk|dawn|overexposed|underexposed|faded|vivid|foggy|hazy|misty)\b|[暗亮夜影淡雾霧]|明亮|昏|阴|陰",
    re.IGNORECASE,
)


def one_sided(said: Iterable[str | None]) -> bool:
    """Whether a mirrored picture would be another: sides, text and digits are named, or it is a single character."""
    return any(text and (len(text.strip()) == 1 or _SIDES.search(text)) for text in said)


def coloured(said: Iterable[str | None]) -> bool:
    """Whether a colour is named."""
    return any(text and _COLOURS.search(text) for text in said)


def lit(said: Iterable[str | None]) -> bool:
    """Whether it is said how light or dark it is."""
    return any(text and _LIGHT.search(text) for text in said)
