from __future__ import annotations

import pytest

from filters.encoding_damage import EncodingDamage, damage
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

QUESTION = "感冒后干咳两周还没好，正常吗"


def misread(text: str, wrote: str, read: str) -> str:
    return text.encode(wrote).decode(read, "replace")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (misread(QUESTION, "utf-8", "gbk"), "mojibake"),
        (misread("感冒怎么办？", "utf-8", "gbk").replace("\ufffd", "?"), "mojibake"),
        (misread("您好", "utf-8", "latin-1"), "mojibake"),
        (misread(QUESTION, "utf-8", "latin-1"), "mojibake"),
        (misread("It’s a café", "utf-8", "cp1252"), "mojibake"),
        (misread("38.5°C", "utf-8", "cp1252"), "mojibake"),
        (misread("感冒怎么办", "gbk", "latin-1"), "mojibake"),
        ("感冒\ufffd怎么办", "lost"),
        ("感冒锟斤拷怎么办", "lost"),
        ("烫烫烫烫怎么办", "lost"),
        (r"\u611f\u5192怎么办", "escape"),
        (r"感冒\ud83d怎么办", "escape"),
        (r"第一，多喝水。\n第二，多休息。", "escape"),
        ("感冒&nbsp;怎么办", "entity"),
        ("A &amp; B 怎么选", "entity"),
        ("疼&#30140;怎么办", "entity"),
        ("多喝水<br/>多休息", "tag"),
        ("<p>多喝水</p>", "tag"),
        ("感\u200b冒怎么办", "invisible"),
        ("感冒\u202e怎么办", "invisible"),
        ("感\u200d冒怎么办", "invisible"),
        ("感\ufeff冒怎么办", "invisible"),
    ],
)
def test_damage_is_told_by_kind_and_dropped(text, kind):
    assert kind in damage(text)
    context = context_of([(QUESTION, None)])
    assert reasons(EncodingDamage(), rows(context, ("s0", text, None)), context) != [None]


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        "Ärzte für Löwen: naïve café… “über”",
        "he said “café…” twice",
        "Ça va très bien",
        "温度 38.5°C ± 0.3，价格£5",
        "AT&T; R&D; Q&A",
        "a < b and c > d",
        "<3 你",
        r"C:\temp\new 和 $\nu \times \rho$",
        "👨‍👩‍👧 一家人 👍🏽 ☀️",
        "नमस्ते क्‍ष و‌می‌خواهم",
        "水很烫烫手",
        "锛炉 和 涓流",
        "屯门医院",
        "斤斤计较",
        "一千克拉",
        "",
    ],
)
def test_what_is_meant_is_not_damage(text):
    assert not damage(text)


def test_only_what_the_parent_does_not_have_is_dropped():
    context = context_of([("多喝水<br>多休息&nbsp;", None)])
    frame = rows(context, ("s0", "喝水要多<br>多休息&nbsp;", None), ("s0", "喝水<br>要多<br>多休息", None))
    out = scored(EncodingDamage(), frame, context)
    assert out["reason"].to_list() == [None, "markup left in"]
    assert out["encoding_damage_new"].to_list() == [0, 1]
    assert reasons(EncodingDamage(max_new=1), frame, context) == [None, None]


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_is_dropped_and_all_are_when_misread(texts):
    context = context_of()
    texts = [text for row in texts() for text in row if not text.isascii()]
    assert set(reasons(EncodingDamage(), rows(context, *((None, each, None) for each in texts)), context)) == {None}
    for wrote, read in (("utf-8", "gbk"), ("utf-8", "latin-1"), ("utf-8", "cp1252")):
        frame = rows(context, *((None, misread(each, wrote, read), None) for each in texts))
        assert None not in reasons(EncodingDamage(), frame, context)
