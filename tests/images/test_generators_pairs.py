"""Pairs of picture and caption: captions mixed, changed in one attribute, rewritten; and where a model draws."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import orjson
import pytest

from augment import generators
from augment.errors import RecipeError
from augment.images.boxes import read_boxes
from augment.images.store import pictures
from augment.records import Rejected, Reply, Request, Row
from tests.images import squares


def build(name: str, **settings: Any) -> Any:
    return generators.TABLE.build(name, {"size": 64, **settings})


def swap(old: str, new: str, caption: str, what: str = "square", attribute: str = "colour") -> Reply:
    told = {"object": what, "attribute": attribute, "from": old, "to": new, "caption": caption}
    return Reply("k", orjson.dumps(told).decode())


def test_without_an_llm_two_captions_are_joined(place):
    seed, partner = squares.record(caption="A cat on a sofa."), squares.record(caption="A dog in Paris.")
    assert build("promptmix").ask(seed, 0, (partner,)).drawing.prompt == "A cat on a sofa and a dog in Paris"
    seed, partner = squares.record(caption="沙发上的猫。"), squares.record(caption="雪地里的狗")
    assert build("promptmix").ask(seed, 0, (partner,)).drawing.prompt == "沙发上的猫，还有雪地里的狗"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (None, "a dog", "no caption"),
        ("a cat", None, "no partner with another caption"),
        ("a cat", "a cat", "no partner with another caption"),
        ("a cat", "雪地里的狗", "a partner of another language"),
    ],
)
def test_captions_that_cannot_be_joined_are_not(place, first, second, reason):
    seed, partner = squares.record(caption=first), squares.record(caption=second)
    assert build("promptmix").ask(seed, 0, (partner,)) == Rejected(reason)


def test_one_record_alone_is_not_mixed(place):
    for asked in (build("promptmix").ask, build("promptmix").draft):
        assert asked(squares.record(), 0, ()) == Rejected("no partner with another caption")


def test_an_llm_sees_both_captions_and_what_it_writes_is_drawn(place):
    seed, partner = squares.record(caption="沙发上的猫"), squares.record(caption="雪地里的狗")
    draft = build("promptmix").draft(seed, 0, (partner,))
    assert "<first>\n沙发上的猫\n</first>\n<second>\n雪地里的狗\n</second>" in draft.messages[1][1]
    made = build("promptmix").drafted(seed, 0, (partner,), Reply("k", '{"caption": "猫和狗\\n一起趴在雪地里"}'))
    assert (made.drawing.prompt, made.drawing.partners) == ("猫和狗 一起趴在雪地里", (partner.id,))
    assert made.template == draft.template


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a cat and a dog", "not the JSON asked for"),
        ('{"caption": ""}', "no new scene"),
        ('{"caption": "a cat"}', "no new scene"),
        ('{"caption": "a dog"}', "no new scene"),
        ('{"caption": "' + "x " * 300 + '"}', "no new scene"),
        ('{"caption": "一只猫和一只狗"}', "another language"),
    ],
)
def test_a_mix_that_is_none_is_not_drawn(place, text, reason):
    seed, partner = squares.record(caption="a cat"), squares.record(caption="a dog")
    assert build("promptmix").drafted(seed, 0, (partner,), Reply("k", text)) == Rejected(reason)


@pytest.mark.parametrize("how", ["image", "instruct"])
def test_a_swapped_attribute_makes_the_old_pair_the_hard_negative(place, how):
    generator, seed = build("attribute_swap", how=how), squares.record()
    request = generator.drafted(seed, 0, (), swap("red", "blue", "a blue square on a grey wall"))
    assert request.drawing.kind == generator.kind == how
    assert request.drawing.image == seed.image
    wanted = "a blue square on a grey wall" if how == "image" else "change the colour of the square from red to blue"
    assert request.drawing.prompt == wanted
    assert request.drawing.strength == (0.6 if how == "image" else None)
    row = generator.read(seed, squares.draw(request))
    assert (row.caption, row.negative) == ("a blue square on a grey wall", seed.id)
    assert (row.label, row.boxes, row.mask) == ("square", None, None)
    assert row.image != seed.image


def test_a_swap_in_chinese_is_told_in_chinese(place):
    seed = squares.record("方块", "灰墙上的一个红色方块")
    reply = swap("红色", "蓝色", "灰墙上的一个蓝色方块", "方块", "颜色")
    request = build("attribute_swap", how="instruct").drafted(seed, 0, (), reply)
    assert request.drawing.prompt == "把方块的颜色从红色改成蓝色"
    assert request.template.startswith("attribute_swap.zh@")


@pytest.mark.parametrize(
    ("caption", "reply", "reason"),
    [
        ("a red square", swap("red", "red", "a red square"), "nothing was swapped"),
        ("a red square", swap("red", "", "a square"), "nothing was swapped"),
        ("a red square", swap("green", "blue", "a blue square"), "the swap is not in the caption"),
        ("a red square", swap("red", "blue", "a green square"), "the swap is not in the caption"),
        ("a red square", swap("red", "blue", "a red and blue square"), "the swap is not in the caption"),
        ("a covered square", swap("red", "blue", "a blue square"), "the swap is not in the caption"),
        ("a red square", swap("red", "蓝色", "一个蓝色方块"), "another language"),
        ("a red square", swap("square", "circle", "a red circle"), "the class was swapped"),
        (
            "a red square on a wall in the sun",
            swap("red", "blue", "in the evening there hangs a blue square above an old wooden door"),
            "more than one attribute changed",
        ),
        ("a red square", Reply("k", '{"caption": "a blue square"}'), "not the JSON asked for"),
        ("a red square", Reply("k", "a blue square"), "not the JSON asked for"),
    ],
)
def test_what_is_no_swap_of_one_attribute_is_not_drawn(place, caption, reply, reason):
    assert build("attribute_swap").drafted(squares.record(caption=caption), 0, (), reply) == Rejected(reason)


@pytest.mark.parametrize(
    ("old", "found", "new", "caption"),
    [
        ("one dog sits by a red gate", ("one", "three"), "three dogs sit by a red gate", "number"),
        ("a red apple on a table", ("red", "old orange"), "an old orange apple on a table", "colour"),
        ("a dog sitting on grass", ("sitting", "running"), "a dog running on grass", "action"),
        ("桌上有两个红苹果", ("两个", "三个"), "桌上有三个红苹果", "数量"),
    ],
)
def test_articles_and_plurals_may_follow_a_swap(place, old, found, new, caption):
    made = build("attribute_swap").drafted(squares.record(None, old), 0, (), swap(*found, new, "x", caption))
    assert isinstance(made, Request), made
    assert made.drawing.caption == new


def test_attributes_come_in_turn_and_an_llm_is_needed(place):
    generator = build("attribute_swap")
    assert generator.needs_llm
    assert generator.ask(squares.record(), 0, ()) == Rejected("no LLM to edit the caption")
    assert len({generator.draft(squares.record(), k, ()).messages for k in range(7)}) == 7


def test_recaption_keeps_all_but_the_caption(place):
    seed = squares.record()
    made = generators.TABLE.build("recaption", {}).read(seed, Reply("k", '{"caption": "On a grey wall, a red square"}'))
    assert made == dataclasses.replace(seed, caption="On a grey wall, a red square")


@pytest.mark.parametrize(
    ("caption", "text", "reason"),
    [
        ("a red square", '{"caption": "A red square."}', "the same caption"),
        ("a red square", '{"caption": "  "}', "empty"),
        ("a red square", '{"caption": "一个红色方块"}', "another language"),
        ("红色方块", '{"caption": "a red square"}', "another language"),
        ("a red square", '{"caption": "' + "very " * 60 + 'red square"}', "no caption"),
        ("a red square", '{"title": "a square that is red"}', "not the JSON asked for"),
        ("a red square", "a square\ud83d that is red", "no caption"),
    ],
)
def test_a_caption_that_is_none_is_not_taken(place, caption, text, reason):
    made = generators.TABLE.build("recaption", {}).read(squares.record(caption=caption), Reply("k", text))
    assert made == Rejected(reason)


def test_a_plain_answer_is_taken_as_the_caption(place):
    made = generators.TABLE.build("recaption", {}).read(squares.record(), Reply("k", '"A square in red, on grey"'))
    assert made.caption == "A square in red, on grey"


def test_the_picture_is_shown_where_the_llm_sees(place):
    seed = squares.record(caption="一个红色方块")
    blind, seeing = (generators.TABLE.build("recaption", {"sees": sees}).ask(seed, 0, ()) for sees in (False, True))
    assert (blind.pictures, seeing.pictures) == ((), (seed.image,))
    assert blind.key != seeing.key
    assert seeing.template.startswith("recaption_seen.zh@") and "图片" in seeing.messages[0][1]
    bare = dataclasses.replace(seed, image=None)
    asked = generators.TABLE.build("recaption", {"sees": True}).ask(bare, 0, ())
    assert asked == Rejected("no picture to draw from")


def test_manners_of_captions_come_in_turn(place):
    asked = [generators.TABLE.build("recaption", {}).ask(squares.record(), k, ()) for k in range(8)]
    assert len({each.messages for each in asked}) == 8


def mask_of(record: Row, **settings: Any) -> np.ndarray[Any, Any]:
    """Where the engine is asked to draw."""
    request = build("inpaint", **settings).ask(record, 0, (record,))
    assert isinstance(request, Request), request
    found: np.ndarray[Any, Any] = pictures().array(request.drawing.mask)[..., 0] == 255
    return found


@pytest.mark.parametrize(("masked", "boxed"), [(True, True), (True, False), (False, True)])
def test_the_background_is_where_neither_mask_nor_box_is(place, masked, boxed):
    white = mask_of(squares.record(masked=masked, boxed=boxed), margin=0)
    assert not white[10:40, 20:50].any()
    assert white.sum() == 80 * 60 - 30 * 30


def test_a_margin_around_the_object_is_left_alone(place):
    white = mask_of(squares.record(), margin=0.05)
    assert not white[6:44, 24:46].any() and white[:5].all()


def test_the_object_is_drawn_in_a_rectangle_with_its_margin(place):
    seed = squares.record(boxed=False)
    white = mask_of(seed, what="object", labels=["circle"], margin=0.05)
    assert white[6:44, 16:54].all() and white.sum() == 38 * 38


@pytest.mark.parametrize("what", ["background", "object"])
def test_without_mask_and_box_there_is_nothing_to_draw_in(place, what):
    bare = squares.record(masked=False, boxed=False)
    made = build("inpaint", what=what, labels=["circle"]).ask(bare, 0, ())
    assert made == Rejected("no mask to draw in")


def test_another_class_is_drawn_by_the_seed_among_those_of_the_corpus(place):
    corpus = [squares.record(label) for label in ("square", "circle", "cross")]
    generator = build("inpaint", what="object")
    labels = {generator.ask(squares.record(), k, corpus).drawing.label for k in range(30)}
    assert labels == {"circle", "cross"}
    assert generator.ask(squares.record(), 0, corpus[:1]) == Rejected("no other class")
    assert generator.draft(squares.record(), 0, corpus) is None
    assert not generator.keeps_label and build("inpaint").keeps_label


def test_without_a_label_the_background_is_of_what_the_box_holds(place):
    seed = dataclasses.replace(squares.record("lamp"), label=None)
    request = build("inpaint").ask(seed, 0, ())
    assert request.drawing.prompt.startswith("a photo of a lamp ")
    row = build("inpaint").read(seed, squares.draw(request))
    assert row.label is None and read_boxes(row.boxes)[0].label == "lamp"


def test_edges_are_those_of_the_picture_at_the_size_that_is_drawn(place):
    request = build("control", size=160).ask(squares.record(), 0, ())
    edges = pictures().array(request.drawing.control)[..., 0]
    assert edges.shape == (120, 160)
    assert (edges[20:80, 38:42] == 255).any(axis=1).mean() > 0.9
    assert not edges[40:60, 50:90].any()


def test_a_mask_steers_at_the_size_that_is_drawn(place):
    request = build("control", size=160, map="mask").ask(squares.record(), 0, ())
    white = pictures().array(request.drawing.control)[..., 0] == 255
    assert white[20:80, 40:100].all() and white.sum() == 60 * 60
    bare = squares.record(masked=False, boxed=False)
    assert build("control", map="mask").ask(bare, 0, ()) == Rejected("no mask to steer by")


def test_depth_without_a_model_says_which_to_name(place):
    with pytest.raises(RecipeError, match=r"control.map 'depth' needs a model.*--set control.depth_model="):
        build("control", map="depth")


@pytest.mark.parametrize("key", ["strengths", "margin", "what", "map"])
def test_a_setting_that_makes_no_sense_is_one_line(place, key):
    name, value = {
        "strengths": ("img2img", [0.5, 1.5]),
        "margin": ("inpaint", 0.7),
        "what": ("inpaint", "sky"),
        "map": ("control", "pose"),
    }[key]
    with pytest.raises(RecipeError, match=rf"^{name}\.{key}"):
        build(name, **{key: value})
