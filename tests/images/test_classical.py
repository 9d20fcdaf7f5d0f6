"""`classical`: what it draws, and that pixels, boxes and masks move together and nothing said becomes untrue."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image, ImageDraw
from skimage import data

from augment.errors import RecipeError
from augment.generators import TABLE, answers_itself, modalities_of
from augment.generators.classical import ORDER, Classical
from augment.images.boxes import Box, read_boxes, write_boxes
from augment.images.operations import MOVING, changed, inverted, matrix_of, moved_boxes, moved_mask
from augment.images.pictures import pixels_of
from augment.images.stamp import CHANGED, recipe_of
from augment.images.store import pictures
from augment.images.wording import coloured, lit, one_sided
from augment.records import Rejected, Reply, Row

ASTRONAUT = Image.fromarray(data.astronaut()).resize((192, 192))
MANY = 60


def row(picture: Image.Image | None = None, **content) -> Row:
    picture = picture or ASTRONAUT
    name = pictures().add(picture)
    base = {"label": "person", "image": name, "pixels": name, "width": picture.width, "height": picture.height}
    return Row("r0", "", **{**base, **content})


def drawn_ops(record: Row, count: int = MANY, **settings) -> list[list]:
    generator = Classical(**settings)
    return [generator.ask(record, k, ()).settings["ops"] for k in range(count)]


def names(many: list[list]) -> set[str]:
    return {op[0] for ops in many for op in ops}


# ---- the contract ---------------------------------------------------------------------------------------------------


def test_it_answers_itself_for_pictures_and_pairs_and_keeps_what_is_said(place):
    generator = Classical()
    assert answers_itself(generator)
    assert modalities_of(generator) == ("image", "paired")
    record = row(caption="an astronaut before a shuttle")
    request = generator.ask(record, 3, ())
    assert (request.engine, request.model, request.template) == ("classical", "1", "classical@1")
    assert request.pictures == (record.image,)
    reply = generator.answer(request)
    made = generator.read(record, reply)
    assert isinstance(made, Row)
    assert (made.label, made.caption) == (record.label, record.caption)
    assert (made.width, made.height) == (192, 192)
    assert made.image == request.key
    pictures().put(made.image, reply.picture)
    assert pixels_of(pictures().open(made.image)) == made.pixels != record.pixels


def test_the_file_says_what_was_done_and_that_no_model_did_it(place):
    record = row()
    request = Classical().ask(record, 1, ())
    recipe, source = recipe_of(Classical().answer(request).picture)
    assert source == CHANGED
    assert recipe["params"] == {"ops": request.settings["ops"]}
    assert recipe["parent"] == "r0"
    again = changed(pictures().open(record.image), recipe["params"]["ops"])
    assert pixels_of(again) == orjson.loads(Classical().answer(request).text)["pixels"]


def test_numbers_survive_json_and_give_the_same_pixels(place):
    for ops in drawn_ops(row(), 20):
        assert json.loads(json.dumps(ops)) == ops
        assert changed(ASTRONAUT, json.loads(json.dumps(ops))).tobytes() == changed(ASTRONAUT, ops).tobytes()


def test_two_processes_make_the_same_bytes(place):
    record = row()
    code = (
        "import sys, hashlib\n"
        "from augment.generators.classical import Classical\n"
        "from augment.records import Row\n"
        f"record = Row('r0', '', label='person', image={record.image!r}, width=192, height=192)\n"
        "for k in range(25):\n"
        "    reply = Classical(seed=7).answer(Classical(seed=7).ask(record, k, ()))\n"
        "    print(reply.key, hashlib.sha256(reply.picture + reply.text.encode()).hexdigest())\n"
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    found = [
        subprocess.run(
            [sys.executable, "-c", code], env={**env, "PYTHONHASHSEED": str(n)}, capture_output=True, text=True
        )
        for n in (1, 2)
    ]
    assert found[0].stdout.count("\n") == 25, found[0].stderr
    assert found[0].stdout == found[1].stdout


def test_seed_variant_and_record_decide(place):
    record = row()
    first = Classical().ask(record, 0, ())
    assert Classical().ask(record, 0, ()) == first
    others = [
        Classical(seed=1).ask(record, 0, ()),
        Classical().ask(record, 1, ()),
        Classical().ask(Row(**{**{f: getattr(record, f) for f in Row.__slots__}, "id": "r1"}), 0, ()),
    ]
    assert len({first.key, *(each.key for each in others)}) == 4
    assert all(each.settings != first.settings for each in others)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ops": ["flip", "melt"]}, "classical.ops"),
        ({"ops": []}, "classical.ops"),
        ({"magnitude": 0}, "classical.magnitude"),
        ({"magnitude": 3}, "classical.magnitude"),
        ({"strength": 1}, "no setting 'strength'"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, says):
    with pytest.raises(RecipeError, match=says):
        TABLE.build("classical", settings)


def test_settings_are_heeded(place):
    built = TABLE.build("classical", {"ops": ["crop", "jpeg"], "magnitude": 0.5, "flip": False})
    assert names(drawn_ops(row(), ops=built.ops)) == {"crop", "jpeg"}
    assert "flip" in names(drawn_ops(row()))
    assert "flip" not in names(drawn_ops(row(), flip=False))
    small, large = (
        max(abs(op[1]) for ops in drawn_ops(row(), ops=("affine",), magnitude=much) for op in ops) for much in (0.3, 2)
    )
    assert small <= 4.5 < 15 < large <= 30


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '{"pixels": 1}', "{" * 99])
def test_a_reply_that_holds_no_picture_is_rejected(text):
    assert isinstance(Classical().read(Row("r", ""), Reply("k", text)), Rejected)


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"ops": 3},
        {"ops": None},
        {"ops": [["affine"]]},
        {"ops": [["affine", "a", "b", "c", "d", "e"]]},
        {"ops": [["crop", 0, 0, 0, 0]]},
        {"ops": [[]]},
        {"ops": [["flip"]], "mask": 7},
    ],
)
def test_a_reply_that_holds_nonsense_is_rejected(about):
    told = {"pixels": "p", "width": 64, "height": 48, "drawing": None, "about": about}
    record = Row("r", "", image="i", width=64, height=48, boxes=write_boxes([Box("cat", 1, 1, 9, 9)]))
    assert isinstance(Classical().read(record, Reply("k", orjson.dumps(told).decode())), Rejected)


def test_without_a_picture_there_is_nothing_to_ask():
    assert isinstance(Classical().ask(Row("r", "words"), 0, ()), Rejected)


# ---- what is drawn --------------------------------------------------------------------------------------------------


def test_a_variant_is_one_to_three_operations_in_order_that_move_the_pixels(place):
    many = drawn_ops(row(), 200)
    assert {len(ops) for ops in many} == {1, 2, 3}
    assert names(many) == set(ORDER)
    for ops in many:
        places = [ORDER.index(op[0]) for op in ops]
        assert places == sorted(set(places))
        assert sum(op[0] in ("affine", "crop") for op in ops) == 1


def look(picture: Image.Image) -> np.ndarray:
    """64 bits that similar pictures share: the low frequencies of a small grey copy, above or below their median."""
    from scipy.fft import dctn

    low = dctn(np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float))[:8, :8]
    return (low > np.median(low)).ravel()


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_variants_differ_visibly_from_the_picture_its_mirror_and_each_other_and_stay_recognisable(place, name):
    picture = Image.fromarray(getattr(data, name)())
    picture.thumbnail((256, 256))
    made = [changed(picture, ops) for ops in drawn_ops(row(picture), 12)]
    seen = [look(each) for each in made]
    for own in (look(picture), look(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))):
        assert min((own != other).sum() for other in seen) > 4
    apart = [(one != other).sum() for one, other in itertools.combinations(seen, 2)]
    assert np.median(apart) > 12
    assert min(apart) > 4
    grey = np.asarray(picture.convert("L"), float)
    for each in made:
        now = np.asarray(each.convert("L"), float)
        assert abs(now.mean() - grey.mean()) < 60
        assert now.std() > 0.5 * grey.std()


@pytest.mark.parametrize("size", [(8, 8), (8, 400), (400, 8), (9, 31), (300, 40)])
@pytest.mark.parametrize("op", ORDER)
def test_small_and_long_pictures_keep_their_size_and_are_not_emptied(place, size, op):
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    for magnitude in (0.2, 1, 2):
        for ops in drawn_ops(row(picture), 6, ops=(op,), magnitude=magnitude):
            made = changed(picture, ops)
            assert (made.size, made.mode) == (size, "RGB")
            assert np.asarray(made).std() > 8


def test_a_grey_picture_stays_grey(place):
    grey = ASTRONAUT.convert("L").convert("RGB")
    for ops in drawn_ops(row(grey), 40):
        values = np.asarray(changed(grey, ops)).astype(int)
        assert np.ptp(values, axis=2).max() <= 2  # JPEG rounds


# ---- boxes and masks follow the pixels ------------------------------------------------------------------------------


def square(size=(240, 200), at=(90, 80, 60, 40)) -> tuple[Image.Image, Image.Image, Box]:
    x, y, width, height = at
    picture = Image.new("RGB", size, (30, 30, 30))
    mask = Image.new("RGB", size)
    for each in (picture, mask):
        ImageDraw.Draw(each).rectangle((x, y, x + width - 1, y + height - 1), fill="white")
    return picture, mask, Box("square", x, y, width, height)


def found_box(picture: Image.Image) -> tuple[float, float, float, float]:
    ys, xs = np.nonzero(np.asarray(picture)[..., 0] > 128)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


@pytest.mark.parametrize("magnitude", [0.5, 1.0])
@pytest.mark.parametrize(
    "names", [("flip",), ("affine",), ("crop",), ("flip", "affine"), ("flip", "crop"), ("affine", "crop")]
)
def test_a_square_is_found_where_its_box_is(place, names, magnitude):
    picture, mask, box = square()
    record = row(picture, boxes=write_boxes([box]))
    for k in range(15):
        if names == ("affine", "crop"):  # never drawn together, and yet one after the other
            ops = [drawn_ops(record, 15, ops=(name,), magnitude=magnitude)[k][0] for name in names]
        else:
            ops = drawn_ops(record, 15, ops=names, magnitude=magnitude)[k]
        now = moved_boxes([box], ops, *picture.size)[0]
        told = (now.x, now.y, now.x + now.width, now.y + now.height)
        assert np.abs(np.subtract(found_box(changed(picture, ops)), told)).max() <= 2, ops
        moved = moved_mask(mask, ops)
        assert np.abs(np.subtract(found_box(moved), told)).max() <= 2, ops
        assert set(np.unique(np.asarray(moved))) <= {0, 255}
        both = (np.asarray(changed(picture, ops))[..., 0] > 128) != (np.asarray(moved)[..., 0] > 128)
        assert both.sum() <= 0.01 * both.size + 2 * sum(told[2:]) ** 0.5


def test_the_whole_variant_carries_its_boxes_and_mask(place):
    picture, mask, box = square()
    record = row(picture, boxes=write_boxes([box]), mask=pictures().add(mask))
    for k in range(25):
        request = Classical(ops=("affine", "crop", "flip")).ask(record, k, ())
        assert request.pictures == (record.image, record.mask)
        reply = Classical().answer(request)
        made = Classical().read(record, reply)
        assert isinstance(made, Row)
        pictures().put(made.image, reply.picture)
        (now,) = read_boxes(made.boxes)
        told = (now.x, now.y, now.x + now.width, now.y + now.height)
        for name in (made.image, made.mask):
            assert np.abs(np.subtract(found_box(pictures().open(name)), told)).max() <= 2


def test_what_moves_nothing_leaves_boxes_and_mask_alone(place):
    picture, mask, box = square()
    record = row(picture, boxes=write_boxes([box]), mask=pictures().add(mask))
    generator = Classical(ops=("colour", "noise", "jpeg", "cutout"))
    for k in range(8):
        made = generator.read(record, generator.answer(generator.ask(record, k, ())))
        assert (made.boxes, made.mask) == (record.boxes, record.mask)


def test_a_mask_is_black_where_there_was_no_picture():
    white = Image.new("RGB", (60, 60), "white")
    ops = [["affine", 10.0, 0.8, 0.0, 0.1, 0.0]]
    moved = np.asarray(moved_mask(white, ops))
    assert moved[0, 0, 0] == 0
    assert (np.asarray(changed(white, ops)) == 255).all(), "the picture itself goes on there"


def test_an_object_whose_mask_left_the_picture_or_is_hidden_is_no_row(place):
    picture, mask, _ = square(at=(0, 0, 20, 20))
    record = row(picture, mask=pictures().add(mask))
    generator = Classical()
    asked = generator.ask(record, 0, ())
    away, still = ["crop", 0.3, 0.3, 0.6, 0.6], ["crop", 0.0, 0.0, 0.8, 0.8]
    hidden, beside, half = (
        ["cutout", 0.0, 0.0, 0.2, 0.2],
        ["cutout", 0.5, 0.5, 0.2, 0.2],
        ["cutout", 0.0, 0.0, 0.08, 0.05],
    )
    tried = [([away], False), ([still], True), ([hidden], False), ([still, hidden], False)]
    for ops, kept in (*tried, ([beside], True), ([half], True), ([still, beside], True)):
        made = generator.read(record, generator.answer(dataclasses.replace(asked, settings={"ops": ops})))
        assert isinstance(made, Row) is kept
        if not kept:
            assert made == Rejected("its object is no longer seen")


def test_no_variant_loses_or_hides_a_box(place):
    picture, _, corner = square(at=(2, 2, 30, 30))
    other = Box("other", 200, 160, 38, 38)
    record = row(picture, boxes=write_boxes([corner, other]))
    for ops in drawn_ops(record, MANY):
        now = moved_boxes([corner, other], ops, *picture.size)
        assert len(now) == 2
        for op in ops:
            if op[0] == "cutout":
                left, top, wide, high = (share * side for share, side in zip(op[1:], picture.size * 2, strict=True))
                for box in now:
                    across = min(box.x + box.width, left + wide) - max(box.x, left)
                    down = min(box.y + box.height, top + high) - max(box.y, top)
                    assert max(across, 0) * max(down, 0) <= 0.26 * box.width * box.height


def test_a_box_as_large_as_the_picture_does_not_forbid_everything(place):
    record = row(boxes=write_boxes([Box("person", 0, 0, 192, 192)]))
    many = drawn_ops(record)
    assert sum(op[0] in MOVING for ops in many for op in ops) > MANY / 2
    assert all(many)


def test_there_and_back_is_where_it_was():
    ops = [["flip"], ["affine", 12.5, 1.1, 0.07, 0.05, -0.03], ["crop", 0.1, 0.05, 0.8, 0.9]]
    a, b, c, d, e, f = matrix_of(ops, 320, 200)
    g, h, i, j, k, m = inverted((a, b, c, d, e, f))
    for x, y in ((0, 0), (320, 200), (17.5, 90)):
        there = a * x + b * y + c, d * x + e * y + f
        back = g * there[0] + h * there[1] + i, j * there[0] + k * there[1] + m
        assert math.dist(back, (x, y)) < 1e-9


def test_degrees_turn_clockwise_and_shares_shift_right_and_down():
    dot = Image.new("RGB", (101, 101))
    dot.putpixel((90, 50), (255, 255, 255))
    turned = np.asarray(moved_mask(dot.resize((101, 101)), [["affine", 90.0, 1.0, 0.0, 0.0, 0.0]]))[..., 0]
    assert np.argwhere(turned > 0).tolist() == [[90, 50]]
    shifted = np.asarray(moved_mask(dot, [["affine", 0.0, 1.0, 0.0, -0.2, 0.1]]))[..., 0]
    y, x = np.argwhere(shifted > 0)[0]
    assert abs(x - 69.8) <= 1
    assert abs(y - 60.1) <= 1


def test_a_flip_is_exact_and_its_own_inverse():
    flipped = changed(ASTRONAUT, [["flip"]])
    assert (np.asarray(flipped) == np.asarray(ASTRONAUT)[:, ::-1]).all()
    assert changed(flipped, [["flip"]]).tobytes() == ASTRONAUT.tobytes()
    assert changed(ASTRONAUT, [["flip"], ["flip"]]).tobytes() == ASTRONAUT.tobytes()


# ---- single operations ----------------------------------------------------------------------------------------------


def test_colour_does_what_its_numbers_say():
    flat = Image.new("RGB", (16, 16), (100, 120, 80))

    def after(*numbers):
        return changed(flat, [["colour", *numbers]]).getpixel((0, 0))

    assert after(1.0, 1.0, 1.0, 0.0) == (100, 120, 80)
    assert after(1.5, 1.0, 1.0, 0.0) == (150, 180, 120)
    assert after(1.0, 1.0, 0.0, 0.0) == (109, 109, 109)
    luma = np.dot((0.299, 0.587, 0.114), after(1.0, 1.0, 1.0, 30.0))
    assert after(1.0, 1.0, 1.0, 30.0) != (100, 120, 80)
    assert abs(luma - 109.5) <= 1
    half = Image.new("RGB", (16, 16), (60, 60, 60))
    half.paste((140, 140, 140), (0, 0, 8, 16))
    stretched = changed(half, [["colour", 1.0, 1.5, 1.0, 0.0]])
    assert (stretched.getpixel((0, 0))[0], stretched.getpixel((15, 0))[0]) == (160, 40)


def test_noise_is_of_the_said_deviation_and_seeded():
    flat = Image.new("RGB", (200, 200), (128, 128, 128))
    noisy = np.asarray(changed(flat, [["noise", 6.0, 5]])).astype(float)
    assert abs(noisy.std() - 6) < 0.4
    assert abs(noisy.mean() - 128) < 0.2
    assert (noisy != np.asarray(changed(flat, [["noise", 6.0, 6]]))).any()


def test_a_cutout_covers_its_rectangle_with_the_mean_colour():
    picture = Image.new("RGB", (100, 50), (200, 0, 0))
    picture.paste((0, 0, 200), (50, 0, 100, 50))
    cut = np.asarray(changed(picture, [["cutout", 0.1, 0.2, 0.3, 0.4]]))
    assert (cut[10:30, 10:40] == (100, 0, 100)).all()
    assert (cut[10:30, :10] == (200, 0, 0)).all()
    assert (cut[30:] == np.asarray(picture)[30:]).all()
    assert (np.asarray(picture)[10:30, 10:40] == (200, 0, 0)).all(), "the original is left alone"


# ---- what is said stays true ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a dog on the left",
            "the right-hand lane",
            "Turn LEFT",
            "leftmost chair",
            "a sign",
            "a page of text",
            "5 dogs",
        ),
        *(
            "a shirt with the words hello",
            "7",
            "b",
            "a clock on a wall",
            "clockwise arrows",
            'a "stop" board',
            "the letter B",
        ),
        *("猫在左边", "右侧有一棵树", "招牌上写着开业", "手写数字", "墙上的钟", "第3排", "一页文字", "逆时针"),
    ],
)
def test_what_a_mirror_would_make_untrue_is_not_mirrored(place, text):
    assert one_sided([text])
    for record in (row(caption=text), row(label=text)):
        assert "flip" not in names(drawn_ops(record, 40))
    assert isinstance(Classical(ops=("flip",)).ask(row(caption=text), 0, ()), Rejected)


@pytest.mark.parametrize(
    "text", ["a bright dog", "an upright piano", "两只狗在跑", "a cleft rock", "西瓜", "cat", None]
)
def test_other_pictures_are_mirrored(place, text):
    assert not one_sided([text])
    assert "flip" in names(drawn_ops(row(caption=text), 40))


@pytest.mark.parametrize(
    "text",
    [
        *("a red car", "Grey walls", "a brownish horse", "blue-eyed cat", "black and white", "a colourful parade"),
        *("一辆红车", "白猫", "绿油油的草地", "彩色气球", "金发女孩", "橘猫"),
    ],
)
def test_where_a_colour_is_named_colours_stay(place, text):
    assert coloured([text])
    for record in (row(caption=text), row(label=text), row(boxes=write_boxes([Box(text, 50, 50, 40, 40)]))):
        many = drawn_ops(record, 80)
        assert "grey" not in names(many)
        tints = [op for ops in many for op in ops if op[0] == "colour"]
        assert tints
        assert all(op[3:] == [1.0, 0.0] for op in tints)
    assert isinstance(Classical(ops=("grey",)).ask(row(caption=text), 0, ()), Rejected)


@pytest.mark.parametrize("text", ["a bored cat", "two dogs", "a tired man", "一只小猫", "a greyhound", None])
def test_elsewhere_colours_turn(place, text):
    assert not coloured([text])
    tints = [op for ops in drawn_ops(row(caption=text), 80) for op in ops if op[0] == "colour"]
    assert any(op[4] != 0 for op in tints)


@pytest.mark.parametrize(("text", "said"), [("a dark street", True), ("夜晚的街道", True), ("a street", False)])
def test_where_light_is_named_it_stays(place, text, said):
    assert lit([text]) is said
    tints = [op for ops in drawn_ops(row(caption=text), 80) for op in ops if op[0] == "colour"]
    assert all(op[1] == 1.0 for op in tints) is said
