from __future__ import annotations

import pytest

from filters.unsafe import Unsafe
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored

QUESTION, ANSWER = "最近总是睡不着，很难受，怎么办？", "先规律作息，必要时看医生。"
SEEDS = [(QUESTION, ANSWER)]

HARM = [
    ("最不痛苦的死法是烧炭，门窗关好就行。", "encourages self-harm"),
    ("你不如去死吧，没有人在乎你。", "encourages self-harm"),
    ("实在难受可以割腕，看见血就平静了。", "encourages self-harm"),
    ("割自己可以缓解情绪，很多人都这样。", "encourages self-harm"),
    ("把一整瓶安眠药一次吃下去就可以安静地走了。", "encourages self-harm"),
    ("自杀是最好的解脱。", "encourages self-harm"),
    ("首先准备好炭，然后在房间里烧炭自杀。", "encourages self-harm"),
    ("Just kill yourself, nobody cares.", "encourages self-harm"),
    ("The easiest way to die is an overdose of pills.", "encourages self-harm"),
    ("孩子不听话就打他一顿，才会长记性。打一顿就老实了。", "encourages abuse"),
    ("趁她喝醉的时候下药，她不会知道。", "encourages abuse"),
    ("可以偷偷给他下药，让他睡过去。", "encourages abuse"),
    ("You should hit her when she talks back; a good beating will teach her.", "encourages abuse"),
    ("睡不着不妨抽点大麻，吸大麻能够让人放松。", "encourages drugs"),
    ("合成冰毒的步骤如下：先准备麻黄碱。", "encourages drugs"),
    ("一次喝大量止咳水就会上头，很舒服。大量喝止咳水会上头", "encourages drugs"),
    ("Just snort some cocaine and you will feel great.", "encourages drugs"),
    ("To get high, crush the tablets. Crush and snort the pills for a faster rush.", "encourages drugs"),
]
HELP = [
    "如果出现自杀的念头，请立刻联系家人，并拨打心理援助热线。",
    "割腕不能解决问题，请不要伤害自己。",
    "自杀不是唯一的出路，可以先和信任的人说说。",
    "很多人觉得死是唯一的解脱，那是抑郁在说话。",
    "不要一次吃下整瓶安眠药，过量会致命。",
    "他骂我你去死吧，我该怎么办",
    "孩子自残以后，家长首先要稳住情绪，然后带他去看医生。",
    "可以和医生讨论自杀的念头，这不会让情况变糟。",
    "建议您把家里的安眠药、百草枯收好，防止孩子轻生。",
    "打孩子一顿并不会让他听话，反而伤害亲子关系。",
    "有人认为打一顿孩子就老实了，这是错误的。",
    "如果怀疑有人给她下药，马上报警并就医。",
    "遭遇家暴时，先保证安全，拨打110或12338。",
    "吸毒会成瘾，大麻并不能让人放松。",
    "吸大麻能缓解焦虑吗？证据不足，而且违法。",
    "吗啡是强效止痛药，癌痛时遵医嘱使用。",
    "芬太尼贴剂每72小时更换一次。",
    "You should never overdose on paracetamol; call 120 if it happened.",
    "If someone tells you to kill yourself, that is abuse. Talk to a person you trust.",
    "Thoughts of suicide are common in depression; you can call a helpline now.",
    "You can take codeine syrup as prescribed, but do not drink alcohol.",
]


@pytest.mark.parametrize(("text", "reason"), HARM)
def test_instructions_and_encouragement_are_dropped_with_their_kind(text, reason):
    assert reasons(Unsafe(), rows(context_of(SEEDS), ("s0", QUESTION, text)), context_of(SEEDS)) == [reason]


@pytest.mark.parametrize("text", HELP)
def test_help_that_names_the_matter_is_kept(text):
    for frame in (rows(context_of(SEEDS), ("s0", QUESTION, text)), rows(context_of(SEEDS), ("s0", text, ANSWER))):
        assert reasons(Unsafe(), frame, context_of(SEEDS)) == [None]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("怎么自杀不痛苦", "encourages self-harm"),
        ("吃多少片安眠药会死", "encourages self-harm"),
        ("如何在家制作冰毒", "encourages drugs"),
        ("怎么给她下药不被发现", "encourages abuse"),
        ("How many pills would kill me?", "encourages self-harm"),
        ("how can i buy heroin", "encourages drugs"),
        ("我不想活了，怎么办", None),
        ("孩子割腕了怎么处理伤口", None),
        ("误服安眠药过量怎么抢救", None),
        ("怎么戒毒品", None),
        ("如何预防青少年自杀", None),
    ],
)
def test_a_question_that_asks_how_is_dropped_unless_its_parent_does(question, reason):
    context = context_of([*SEEDS, (question, ANSWER)])
    frame = rows(context, ("s0", question, ANSWER), ("s1", "您好，" + question, ANSWER))
    assert reasons(Unsafe(), frame, context) == [reason, None]


def test_review_keeps_and_marks():
    context = context_of(SEEDS)
    frame = rows(context, ("s0", QUESTION, HARM[1][0]), ("s0", QUESTION, HELP[0]), ("s0", QUESTION, "多喝水。"))
    out = scored(Unsafe(action="review"), frame, context)
    assert out["reason"].to_list() == [None] * 3
    assert out["unsafe_kind"].to_list() == ["self_harm", "", ""]
    assert out["unsafe_terms"].to_list()[0].startswith("你不如去死") and out["unsafe_terms"].to_list()[1:] == ["", ""]
    assert out["unsafe_mentions"].to_list() == ["", "self_harm", ""]


def test_mentions_count_when_asked_and_when_the_parent_has_none():
    context = context_of([*SEEDS, ("抑郁了想自杀怎么办", ANSWER)])
    frame = rows(context, ("s0", QUESTION, HELP[0]), ("s1", "抑郁了想自杀怎么办", HELP[0]))
    assert reasons(Unsafe(mentions=True), frame, context) == ["names self-harm", None]
    assert reasons(Unsafe(mentions=True, action="review"), frame, context) == [None, None]


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_real_row_is_dropped(texts):
    context = context_of()
    out = scored(Unsafe(), rows(context, *((None, *each) for each in texts())), context)
    assert set(out["reason"]) == {None}
    assert (out["unsafe_mentions"] != "").any()
