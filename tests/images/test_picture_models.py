"""Filters that ask a model: unsafe_image, image_band, caption_match; with tiny real models."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augment.errors import RecipeError
from augment.images.store import pictures
from filters.pictures.caption_match import CaptionMatch
from filters.pictures.image_band import ImageBand
from filters.pictures.models import Twin
from filters.pictures.unsafe_image import UnsafeImage
from tests.images.models import save_clip
from tests.images.picture_rows import context_of, noisy, reasons, scored, shape, shapes, variants
from tests.images.test_label_check import BRIGHT, DARK, save_classifier

pytestmark = pytest.mark.usefixtures("place")
DISC, BARS = shape("disc", 1), shape("bars", 2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


def test_what_a_classifier_finds_unsafe_is_dropped(place):
    folder = save_classifier(place / "model", ["SFW", "nsfw"], bright=1)
    context = context_of([(None, DISC)])
    frame = variants(context, ("s0", BRIGHT), ("s0", DARK))
    out = scored(UnsafeImage(model=str(folder)), frame, context)
    assert out["reason"].to_list() == ["unsafe", None]
    assert out["unsafe_image_score"][0] > 0.5 > out["unsafe_image_score"][1]
    with pytest.raises(RecipeError, match="unsafe_image.labels: .* has none of them; its classes are SFW, nsfw"):
        UnsafeImage(model=str(folder), labels=("gore",)).score(frame, context_of([(None, DISC)]))


def test_vectors_do_not_depend_on_what_comes_with_them(clip):
    twin = Twin.load(str(clip), "image_band.model")
    names = [pictures().add(picture) for _, picture in shapes(7)]
    together = twin.images(names)
    alone = np.concatenate([Twin.load(str(clip), "image_band.model").images([name]) for name in names[:4]])
    assert np.array_equal(together[:4], alone)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert twin.images([]).shape[0] == 0
    long = "a disc " * 500
    assert twin.texts([long, "bars"]).shape == (2, together.shape[1])


def test_a_picture_may_be_neither_its_parent_again_nor_another_one(clip):
    context = context_of(shapes(4))
    noise = noisy(DISC, 200)
    frame = variants(context, ("s4", shape("disc", 0)), ("s4", noisy(shape("disc", 0), 1)), ("s4", noise), ("s5", DISC))
    out = scored(ImageBand(model=str(clip), highest=0.9999), frame, context)
    similar, lowest = out["image_band_similarity"].to_list(), out["image_band_lowest"][1]
    assert similar[0] is None and -1 <= lowest < 1, "the parent's own picture is not compared"
    assert similar[1] > similar[2]
    band = ImageBand(model=str(clip), lowest=similar[2] + 0.001, highest=similar[1] - 0.0001)
    assert reasons(band, frame, context)[:3] == [
        None,
        "nearly its parent's picture",
        "unrelated to its parent's picture",
    ]


def test_the_lower_bound_is_what_most_pairs_of_a_class_reach(clip):
    context = context_of(shapes(6))
    out = scored(ImageBand(model=str(clip)), variants(context, ("s0", DISC)), context)
    vectors = Twin.load(str(clip), "x").images(context.seeds["image"].to_list())
    pairs = [
        float(vectors[a] @ vectors[b])
        for c in range(3)
        for a in range(6 * c, 6 * c + 6)
        for b in range(a + 1, 6 * c + 6)
    ]
    assert out["image_band_lowest"][0] == pytest.approx(np.quantile(pairs, 0.05), abs=1e-3)


def captioned(clip: Path):
    context = context_of(shapes(4))
    said = [f"{label} number {number}" for label in ("bars", "a disc", "a triangle") for number in range(4)]
    context.seeds = context.seeds.with_columns(pl.Series("caption", said))
    return context, CaptionMatch(model=str(clip))


def test_bounds_are_those_of_the_users_own_pairs(clip):
    context, check = captioned(clip)
    out = scored(check, variants(context, ("s0", DISC), caption="a disc"), context)
    twin = Twin.load(str(clip), "x")
    shown, words = twin.images(context.seeds["image"].to_list()), twin.texts(context.seeds["caption"].to_list())
    own = (shown * words).sum(axis=1)
    assert out["caption_match_text_least"][0] == pytest.approx(np.quantile(own, 0.05), abs=1e-3)
    assert (own >= out["caption_match_text_least"][0]).mean() > 0.9


def test_each_bound_drops_with_its_own_reason(clip):
    context, check = captioned(clip)
    frame = variants(context, ("s0", DISC), caption="a disc")
    out = scored(check, frame, context)
    text, image, way = (out[f"caption_match_{name}"][0] for name in ("text", "image", "direction"))
    open_ = {"text": -1.0, "image": -1.0, "direction": -1.0}

    def why(**bounds: float) -> str | None:
        return reasons(CaptionMatch(model=str(clip), **{**open_, **bounds}), frame, context)[0]

    assert why() is None
    assert why(text=text + 0.001) == "its caption is not what it shows"
    assert why(image=image + 0.001) == "another picture than its parent's"
    assert why(highest=image - 0.001) == "its caption changed and it did not"
    assert why(direction=way + 0.001) == "changed otherwise than its caption"


def test_only_what_changed_is_compared(clip):
    context, check = captioned(clip)
    same_picture = variants(context, ("s0", shape("bars", 0)), caption="three bars")
    out = scored(check, same_picture, context)
    assert out["caption_match_text"][0] is not None
    assert out["caption_match_image"][0] is None and out["caption_match_direction"][0] is None
    same_words = scored(check, variants(context, ("s0", DISC)), context)
    assert same_words["caption_match_image"][0] is not None and same_words["caption_match_direction"][0] is None
    orphan = scored(check, variants(context, (None, DISC), caption="a disc"), context)
    assert orphan["caption_match_text"][0] is not None and orphan["caption_match_image"][0] is None


def test_the_way_is_that_of_pictures_and_words(clip):
    context, check = captioned(clip)
    out = scored(check, variants(context, ("s0", DISC), caption="a disc"), context)
    twin = Twin.load(str(clip), "x")
    before, after = twin.images([context.seeds["image"][0], pictures().add(DISC)])
    was, now = twin.texts([context.seeds["caption"][0], "a disc"])
    one, other = after - before, now - was
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert out["caption_match_direction"][0] == pytest.approx(expected, abs=1e-4)


def test_without_a_model_captions_pass_and_it_is_said_once(caplog):
    context = context_of([(None, DISC)])
    with caplog.at_level(logging.WARNING):
        for caption in ("a disc", "nothing of the sort"):
            assert reasons(CaptionMatch(), variants(context, ("s0", BARS), caption=caption), context) == [None]
    assert len(caplog.records) == 1 and "caption_match.model" in caplog.text


def test_models_of_another_kind_are_one_line(place, clip):
    folder = save_classifier(place / "model", ["a", "b"], bright=0)
    context = context_of(shapes(2))
    frame = variants(context, ("s0", DISC))
    with pytest.raises(RecipeError, match=r"^image_band.model: .* is not a CLIP or SigLIP that can be loaded: [^\n]*$"):
        ImageBand(model=str(folder)).score(frame, context)
    with pytest.raises(RecipeError, match=r"^unsafe_image.model: [^\n]*$"):
        UnsafeImage(model=str(place / "empty")).score(frame, context)
