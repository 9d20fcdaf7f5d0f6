"""Copies among pictures: of seeds, of earlier pictures, of the exam; and what only looks alike."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from augment.images.store import pictures
from filters.pictures.exam_image import ExamImage, like_exam
from filters.pictures.features import features
from filters.pictures.image_dup import ImageDup, memorisation
from filters.pictures.index import Index, Sameness
from tests.images.picture_rows import context_of, noisy, reasons, scored, shape, shapes, source, variants
from tests.images.sample_pictures import draw

pytestmark = pytest.mark.usefixtures("place")
DISC, BARS, OTHER = shape("disc", 1), noisy(shape("bars", 3), 3), shape("triangle", 5)
SEED, EARLIER, EXAM = "copy of a seed", "copy of an earlier picture", "copy of an exam picture"
MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


def jpeg(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=70)
    return Image.open(file).convert("RGB")


def painted(picture: Image.Image) -> Image.Image:
    """The same picture in other colours of the same greys: channels swapped and the luma put back."""
    values = np.asarray(picture).astype(float)
    weights = np.array([0.299, 0.587, 0.114])
    turned = values[..., ::-1]
    turned = turned + ((values - turned) @ weights)[..., None]
    return Image.fromarray(np.clip(turned, 0, 255).astype(np.uint8))


def tilted() -> Image.Image:
    """A picture with detail that is not its own mirror image."""
    return draw("boat", 1).picture.convert("RGB")


def cut(by: int) -> Image.Image:
    """That picture without its borders, at its size: the hash changes by a few bits, the colours by little."""
    width, height = tilted().size
    return tilted().crop((by, by, width - by, height - by)).resize((width, height), Image.Resampling.BICUBIC)


def test_copies_of_seeds_and_of_earlier_pictures_are_dropped():
    context = context_of([("disc", DISC), ("bars", BARS)])
    frame = variants(context, ("s0", jpeg(DISC)), ("s0", OTHER), ("s1", BARS), ("s1", jpeg(OTHER)), ("s0", OTHER))
    out = scored(ImageDup(), frame, context)
    assert out["reason"].to_list() == [SEED, None, SEED, EARLIER, EARLIER]
    assert out["image_dup_of"].to_list()[2:] == ["s1", "v1", "v1"]
    assert out["image_dup_of_seed"].to_list() == [True, True, True, False, False]


def test_a_picture_in_other_colours_is_new():
    coloured = Image.fromarray((np.asarray(BARS) // (1, 2, 4)).astype(np.uint8))
    context = context_of([("bars", coloured)])
    frame = variants(context, ("s0", painted(coloured)), ("s0", ImageEnhance.Brightness(coloured).enhance(1.6)))
    out = scored(ImageDup(), frame, context)
    assert out["reason"].to_list() == [None, None]
    assert out["image_dup_distance"][0] <= 2 < 24 < out["image_dup_colours"][0]
    assert reasons(ImageDup(colours=255), frame, context_of([("bars", coloured)]))[0] == SEED


def test_a_mirror_image_is_a_copy_where_a_model_made_it():
    turned = tilted().transpose(MIRROR)
    for keeps, expected in ((frozenset(), SEED), (frozenset({"classical"}), None)):
        context = context_of([("bars", tilted())], keeps_label=keeps)
        frame = variants(context, ("s0", turned), generator="classical")
        assert reasons(ImageDup(), frame, context) == [expected]


def test_a_new_caption_of_the_same_picture_is_judged_by_its_words():
    context = context_of([("disc", DISC), ("bars", BARS)])
    context.seeds = context.seeds.with_columns(pl.Series("caption", ["A disc.", "Bars."]))
    said = ["A dark disc.", "a dark disc", "A disc", "Bars, three of them."]
    frame = variants(context, ("s0", DISC), ("s0", DISC), ("s0", DISC), ("s1", BARS), caption=said)
    out = scored(ImageDup(), frame, context)
    assert out["reason"].to_list() == [None, EARLIER, SEED, None]
    assert out["image_dup_nearest_seed"].null_count() == 4
    changed = variants(context, ("s0", jpeg(DISC)), caption="Something else.")
    assert reasons(ImageDup(), changed, context) == [SEED]


def test_the_distance_to_the_nearest_seed_counts_near_copies_and_drops_none():
    context = context_of([("disc", DISC), ("bars", tilted())])
    frame = variants(context, ("s1", cut(2)), ("s0", OTHER), ("s1", ImageEnhance.Contrast(tilted()).enhance(0.3)))
    out = scored(ImageDup(), frame, context)
    assert out["reason"].to_list() == [None, None, None]
    assert memorisation(out) == (2, 3)
    assert memorisation(out.head(0)) == (0, 0)


def test_the_exam_is_guarded_in_other_colours_mirrored_and_cut():
    exam = [("bars", tilted())]
    made = [tilted(), painted(tilted()), tilted().transpose(MIRROR), jpeg(tilted()).resize((320, 240)), cut(2), OTHER]
    context = context_of([("disc", DISC)], exam, keeps_label=frozenset({"img2img"}))
    out = scored(ExamImage(), variants(context, *(("s0", each) for each in made)), context)
    assert out["reason"].to_list() == [EXAM] * 5 + [None]
    assert out["exam_image_of"].to_list() == ["e0"] * 6
    assert out["exam_image_distance"][4] > 2, "the cut copy is to be told by its colours"
    none = context_of([("disc", DISC)])
    assert reasons(ExamImage(), variants(none, ("s0", tilted())), none) == [None]


def test_seeds_like_the_exam_are_found():
    exam = source([("bars", tilted()), (None, BARS)], "e")
    seeds = source([("disc", DISC), ("bars", jpeg(tilted()).transpose(MIRROR)), (None, OTHER)])
    assert like_exam(seeds, exam).to_list() == [False, True, False]
    assert like_exam(seeds, exam.head(0)).to_list() == [False] * 3
    assert like_exam(seeds.head(0), exam).to_list() == []


def test_different_pictures_are_no_copies_of_each_other():
    context = context_of(shapes(6), shapes(6, 10))
    frame = variants(context, *(("s0", picture) for _, picture in shapes(6, 20)))
    assert set(reasons(ImageDup(), frame, context)) == {None}
    assert set(reasons(ExamImage(), frame, context)) == {None}


def test_the_index_finds_the_first_that_is_the_same_or_else_the_nearest():
    store = pictures()
    names = [store.add(each) for each in (OTHER, BARS, jpeg(BARS), DISC)]
    found = features(names)
    index = Index.of(["o", "b", "j"], found[:3])
    same = Sameness(distance=4, colours=40)
    assert index.nearest(found[2], same).id == "b"
    assert not index.nearest(found[3], same).within(same)
    assert Index().nearest(found[0], same) is None
    many = Index.of([f"n{at}" for at in range(200)], [found[0]] * 199 + [found[3]])
    assert len(many) == 200 and many.nearest(found[3], same).id == "n199"


def test_features_are_the_same_alone_and_together():
    store = pictures()
    names = [store.add(picture.filter(ImageFilter.GaussianBlur(1))) for _, picture in shapes(3)]
    together = features([*names, None])
    assert together[-1] is None
    assert [each.hash for each in together[:-1]] == [features([name])[0].hash for name in names]
