"""Whether a picture is what its label says: by teachers of the seeds, by a classifier, by a CLIP; and who is not asked."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from augment.errors import RecipeError
from filters.pictures.label_check import QUALITY, LabelCheck
from filters.pictures.teacher import teach
from tests.images.models import save_clip
from tests.images.picture_rows import SHAPES, context_of, noisy, reasons, scored, shape, shapes, source, variants

pytestmark = pytest.mark.usefixtures("place")
WRONG = "not what its label says"


def digits(per_class: int, first: int = 0, classes: int = 10) -> list[tuple[str, Image.Image]]:
    data = load_digits()
    found = []
    for label in range(classes):
        of_class = data.images[data.target == label][first : first + per_class]
        found += [(str(label), Image.fromarray((each * 15.9).astype(np.uint8)).convert("RGB")) for each in of_class]
    return found


def accuracy(seeds: list[tuple[str, Image.Image]], held: list[tuple[str, Image.Image]]) -> float:
    known, real = source(seeds), source(held, "e")
    teachers = teach(*(known[name].to_list() for name in ("id", "image", "label")))
    found = teachers.probabilities(real["image"].to_list(), [None] * len(real)).argmax(axis=1)
    return float(np.mean([teachers.labels[at] == label for at, label in zip(found, real["label"], strict=True)]))


def test_teachers_of_few_digits_know_most_others():
    assert accuracy(digits(5), digits(10, 40)) > 0.8


def test_teachers_of_few_shapes_know_others():
    assert accuracy(shapes(6), shapes(6, 50)) > 0.85


def test_a_picture_of_another_class_is_dropped_and_the_judge_is_measured():
    context = context_of(shapes(8), shapes(8, 60))
    right = [(f"s{8 * at}", shape(label, 30 + at)) for at, label in enumerate(SHAPES)]
    wrong = [(f"s{8 * at}", shape(SHAPES[at - 1], 40 + at)) for at in range(3)]
    out = scored(LabelCheck(), variants(context, *right, *wrong), context)
    assert out["reason"].to_list() == [None, None, None, WRONG, WRONG, WRONG]
    assert out["label_check_label"].to_list()[3:] == [SHAPES[-1], SHAPES[0], SHAPES[1]]
    quality = context.memory[QUALITY]
    assert quality["of"] == 24 and quality["on"] == "exam" and quality["judge"] == "teacher"
    assert 0 <= quality["false_rejects"] < 0.3


def test_without_an_exam_the_judge_is_measured_on_seeds_that_it_did_not_see():
    context = context_of(shapes(8))
    scored(LabelCheck(), variants(context, ("s0", shape("bars", 30))), context)
    assert context.memory[QUALITY]["on"] == "seeds" and context.memory[QUALITY]["of"] == 24


def test_a_parent_is_never_known_to_the_teacher_that_judges_its_children():
    """A seed with a wrong label: whoever saw it would say that it is right."""
    seeds = shapes(8)
    seeds[0] = ("bars", shape("disc", 77))
    context = context_of(seeds)
    child = noisy(shape("disc", 77), 3)
    out = scored(LabelCheck(), variants(context, ("s0", child), ("s1", child)), context)
    assert out["label_check_label"][0] == "disc"
    assert out["label_check_score"][0] < out["label_check_score"][1], "the other child's teacher did see it"


def test_equal_pictures_are_left_out_together():
    known = source([*shapes(6), ("bars", shape("bars", 0))])
    teachers = teach(*(known[name].to_list() for name in ("id", "image", "label")))
    assert teachers.fold_of["s0"] == teachers.fold_of["s18"]
    assert len(set(teachers.fold_of.values())) > 3


def test_verdicts_depend_neither_on_batches_nor_on_the_order_of_seeds():
    made = [(f"s{at}", noisy(shape(SHAPES[at % 3], 80 + at), 20)) for at in range(12)]
    whole = context_of(shapes(5))
    frame = variants(whole, *made)
    expected = scored(LabelCheck(), frame, whole)
    parts, turned = context_of(shapes(5)), context_of(shapes(5))
    turned.seeds = turned.seeds.reverse()
    assert pl.concat([scored(LabelCheck(), part, parts) for part in frame.iter_slices(5)]).equals(expected)
    assert scored(LabelCheck(), frame, turned).equals(expected)


def test_only_what_may_have_changed_is_judged():
    context = context_of(shapes(5), keeps_label=frozenset({"classical"}))
    wrong = shape("disc", 33)
    kept = variants(context, ("s0", wrong), generator="classical")
    unlabelled = variants(context, ("s0", wrong), label=[None])
    same = variants(context, ("s0", shape("bars", 0)))
    for frame in (kept, unlabelled, same):
        out = scored(LabelCheck(), frame, context)
        assert out["reason"].to_list() == [None] and out["label_check_score"].to_list() == [None]
    assert QUALITY not in context.memory, "nobody was asked, so nothing was learnt"


@pytest.mark.parametrize("seeds", [[("disc", shape("disc", at)) for at in range(9)], shapes(2)], ids=["class", "few"])
def test_too_few_seeds_judge_nothing_and_it_is_said_once(seeds, caplog):
    context = context_of(seeds)
    with caplog.at_level(logging.WARNING):
        for first in (0, 1):
            assert reasons(LabelCheck(), variants(context, ("s0", shape("bars", 5)), first=first), context) == [None]
    assert [each.getMessage() for each in caplog.records] == [
        "label check: too few seeds to judge by: fewer than 2 classes have 3; "
        "name a classifier with --set label_check.model=FOLDER"
    ]
    assert context.memory[QUALITY] is None


def test_a_class_with_too_few_seeds_is_not_judged():
    context = context_of([*shapes(5), ("star", shape("disc", 90))])
    frame = variants(context, ("s15", shape("bars", 44)), ("s0", shape("disc", 44)))
    assert reasons(LabelCheck(), frame, context) == [None, WRONG]


def test_labels_that_the_judge_does_not_know_are_said_once(caplog):
    context = context_of([*shapes(5), ("star", shape("disc", 90))])
    for label in ("star", "star", "zebra", "bars"):
        scored(LabelCheck(), variants(context, ("s0", shape("disc", 33)), label=[label]), context)
    said = [each for each in caplog.messages if "does not know" in each]
    assert [each.split(" (")[0] for each in said] == [
        "label check: the teacher does not know star",
        "label check: the teacher does not know zebra",
    ]


def test_teachers_that_know_nothing_are_not_listened_to(caplog):
    rng = np.random.default_rng(0)
    clouds = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(40)]
    context = context_of([("ab"[at % 2], each) for at, each in enumerate(clouds)])
    with caplog.at_level(logging.WARNING):
        assert reasons(LabelCheck(trust=0.9), variants(context, ("s0", DISC)), context) == [None]
    assert "seeds that they had not seen, and judge nothing" in caplog.text


DISC = shape("disc", 1)


def save_classifier(folder: Path, labels: list[str], bright: int) -> Path:
    """A classifier that says `labels[bright]` of bright pictures and the label after it of dark ones."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16, patch_size=8
    )
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: at for at, label in enumerate(labels)}
    model = ViTForImageClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.vit.layernorm.weight.fill_(1)
        model.vit.embeddings.patch_embeddings.projection.weight[0].fill_(0.05)
        model.vit.embeddings.position_embeddings[:, :, 1] = 0.1
        attention = (
            model.vit.layers[0].attention if hasattr(model.vit, "layers") else model.vit.encoder.layer[0].attention
        )
        for name, parameter in attention.named_parameters():
            if parameter.ndim == 2 and ("v_proj" in name or "value" in name or "o_proj" in name or "dense" in name):
                parameter.copy_(torch.eye(8))
        for name, parameter in model.vit.named_parameters():
            if "layernorm_before.weight" in name:
                parameter.fill_(1)
        model.classifier.weight[bright, 0], model.classifier.weight[(bright + 1) % len(labels), 0] = 4.0, -4.0
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


BRIGHT, DARK = Image.new("RGB", (40, 40), "white"), Image.new("RGB", (40, 40), "black")


def test_the_users_classifier_judges_by_its_own_names(place):
    folder = save_classifier(place / "model", ["Some_Thing", "day time, noon", "NIGHT"], bright=1)
    seeds = [("night", noisy(DARK, 5)), ("noon", noisy(BRIGHT, 5)), ("dawn", DISC)]
    context = context_of(seeds, [("night", noisy(DARK, 9)), ("night", BRIGHT)])
    made = [("s0", DARK), ("s0", BRIGHT), ("s1", BRIGHT), ("s2", BRIGHT)]
    out = scored(LabelCheck(model=str(folder)), variants(context, *made), context)
    assert out["reason"].to_list() == [None, WRONG, None, None]
    assert out["label_check_label"].to_list() == ["night", "noon", "noon", None]
    assert context.memory[QUALITY] == {"false_rejects": 0.5, "of": 2, "judge": "classifier", "on": "exam"}


def test_a_classifier_that_knows_none_of_the_labels_is_refused(place):
    folder = save_classifier(place / "model", ["LABEL_0", "LABEL_1"], bright=0)
    context = context_of(shapes(3))
    with pytest.raises(RecipeError, match=r"label_check.model: .* knows none of the labels bars, disc, triangle"):
        LabelCheck(model=str(folder)).score(variants(context, ("s0", DISC)), context)


def test_a_model_that_is_not_there_is_one_line(place):
    context = context_of(shapes(3))
    for name in ("./nowhere", str(place)):
        with pytest.raises(RecipeError, match=r"^label_check.model: [^\n]*$"):
            LabelCheck(model=name).score(variants(context, ("s0", DISC)), context)


def test_a_clip_judges_where_there_are_too_few_seeds(place):
    folder = save_clip(place / "clip")
    context = context_of(shapes(1))
    frame = variants(context, ("s0", DISC), ("s1", noisy(DISC, 90)))
    out = scored(LabelCheck(clip=str(folder)), frame, context)
    assert out["label_check_label"].null_count() == 0 and context.memory[QUALITY]["judge"] == "clip"
    assert all(0 < each < 1 for each in out["label_check_score"])
