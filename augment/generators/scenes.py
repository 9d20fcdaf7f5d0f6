"""Scenes: the words that a picture is drawn from, written without a model, in English or Chinese as the class is.

A scene is a subject in a place, in a light, seen in some way. The words suit a cat as well as a car, and name nothing
that could be another class.
"""

from __future__ import annotations

import re

from augment.language import language_of
from augment.records import Row, fingerprint, seed_for

PLACES = {
    "en": (
        ("in a garden", "on a quiet street", "in an open field", "near the waterside", "on a gravel path", "in a park"),
        (
            "in front of a plain wall",
            "by a large window",
            "in a bright room",
            "in a workshop",
            "in front of a dark background",
            "in a wooden interior",
        ),
    ),
    "zh": (
        ("花园里", "安静的街道上", "开阔的田野里", "水边", "碎石小路上", "公园里"),
        ("素色墙面前", "大窗户旁边", "明亮的房间里", "作坊里", "深色背景前", "木质装修的室内"),
    ),
}
LIGHTS = {
    "en": (
        (
            "soft morning light",
            "bright midday sun",
            "warm evening light",
            "overcast daylight",
            "light mist",
            "just after rain",
        ),
        ("soft diffuse light", "lamplight", "light from one side", "light from above", "warm light", "cool light"),
    ),
    "zh": (
        ("清晨柔和的光线", "正午明亮的阳光", "傍晚温暖的光线", "阴天的自然光", "薄雾", "雨后"),
        ("柔和的散射光", "灯光照明", "侧面打来的光", "顶光", "暖色光线", "冷色光线"),
    ),
}
"""Outdoors and indoors: every place with the lights that there are."""
VIEWS = {
    "en": ("close-up", "seen from the side", "seen from slightly above", "from some distance", "blurred background"),
    "zh": ("近景特写", "侧面视角", "略微俯视", "远一些的取景", "背景虚化"),
}
COUNT = 2 * 6 * 6 * len(VIEWS["en"])
"""How many scenes there are of one subject in one language: 360."""
_STRIDE = 97
"""Prime to `COUNT`, and one step of it changes place, light and view at once."""
_PHOTO = {"en": "a photo of {subject}", "zh": "一张{subject}的照片"}
_ARTICLE = re.compile(r"(?:an?|the|some|one|two|three|my|his|her|its)\s", re.IGNORECASE)
_MANY = re.compile(r"(?<![sui])s$")  # glasses, but no bus, no glass, no iris
_AN = re.compile(r"(?!uni|use|eu|one\b)[aeiou]|hour|honest", re.IGNORECASE)


def language_for(text: str) -> str:
    """The language that a picture of what `text` says is asked for in: Chinese where that is Chinese, else English."""
    return "zh" if language_of(text) == "zh" else "en"


def spoken(label: str) -> str:
    """A class's label as words: `golden_retriever` is "golden retriever"."""
    return " ".join(re.sub(r"[_\-/\\.]+", " ", label).split()) or label.strip()


def names(text: str, label: str) -> bool:
    """Whether a text names a class, in the singular or the plural."""
    words = re.escape(spoken(label))
    if language_for(label) == "zh":
        return spoken(label) in text
    return re.search(rf"(?<![^\W_]){words}(?:s|es)?(?![^\W_])", text, re.IGNORECASE) is not None


def noun_of(label: str) -> str:
    """A class as a sentence names one of it: "a cat", "an owl", "glasses", "3", "猫"."""
    words = spoken(label)
    if language_for(words) == "zh" or not words[:1].isalpha() or _ARTICLE.match(words) or _MANY.search(words):
        return words
    return f"{'an' if _AN.match(words) else 'a'} {words}"


def photo_of(label: str, form: str = "") -> str:
    """A photo of one of a class; `form` says it otherwise, with {label} where the class stands."""
    if form:
        return form.replace("{label}", spoken(label))
    return _PHOTO[language_for(spoken(label))].replace("{subject}", noun_of(label))


def exchanged(text: str, old: str, new: str) -> str | None:
    """A text with one class for another, "a cat and two cats" as "an owl and two owls"; None where that is not to be
    had: the text does not name the old one, or in its plural alone, or speaks another language than the new one."""
    if language_for(new) != language_for(text) or _MANY.search(spoken(old)):
        return None
    if language_for(old) == "zh":
        return text.replace(spoken(old), spoken(new)) if spoken(old) in text else None
    words = re.escape(spoken(old))
    pattern = re.compile(rf"(?<![^\W_])((?:an?)\s+)?{words}(s|es)?(?![^\W_])", re.IGNORECASE)

    def other(found: re.Match[str]) -> str:
        one = noun_of(new) if found[1] else spoken(new)
        one = one[:1].upper() + one[1:] if found[0][:1].isupper() else one
        return f"{one}s" if found[2] else one

    changed, count = pattern.subn(other, text)
    return changed if count else None


def scene_of(subject: str, place: int, language: str, photo: str = "", views: bool = True) -> str:
    """The scene number `place` (0 to `COUNT` - 1) of a subject that is named as in a sentence ("a cat", "sks dog").

    `photo` is what it begins with instead of "a photo of" the subject; without `views` nothing is said of how it is
    seen.
    """
    rest, side = divmod(place % COUNT, 2)
    rest, at = divmod(rest, 6)
    view, light = divmod(rest, 6)
    said = (PLACES[language][side][at], LIGHTS[language][side][light], VIEWS[language][view])[: 3 if views else 2]
    begun = photo or _PHOTO[language].replace("{subject}", subject)
    return f"{begun}，在{'，'.join(said)}" if language == "zh" else f"{begun} {', '.join(said)}"


def scenes_version(form: str) -> str:
    """The name and version of the words above: other words are another template."""
    return f"scenes@{fingerprint(PLACES, LIGHTS, VIEWS, _PHOTO, form)[:8]}"


def place_of(record: Row, generator: str, k: int, base: int) -> int:
    """Which scene is the record's k-th: another one for each k, from a start that depends on the record."""
    return (seed_for(record.id, generator, -1, base) + k * _STRIDE) % COUNT
