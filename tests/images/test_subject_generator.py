"""The generator `subject`: whose picture is drawn for whom, in which words, and what the row then says."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from augment import generators
from augment.generators.subject import SubjectDriven, named
from augment.images.drawn import picture_reply
from augment.images.stamp import DRAWN
from augment.images.subjects import Subject
from augment.records import Rejected, Reply, Row
from tests.finetune.subjects import draw_ball
from tests.images.models import save_sd

REX = Subject("d1", Path("rex"), "dreambooth-lora", "sks", "dog")
WORD = Subject("d2", Path("tom"), "textual-inversion", "<tom>", "cat", "house_cat")
CHINESE = Subject("d3", Path("wang"), "dreambooth-lora", "sks", "狗")


def row(label=None):
    return Row("r1", "", label=label, image="i", pixels="i", width=64, height=64, mask="m", boxes="[]", caption="old")


def made(*subjects, **settings):
    return generators.TABLE.build("subject", {"subjects": subjects, **settings})


def test_a_record_gets_the_subject_of_its_label():
    generator = made(REX, WORD)
    assert generator.ask(row("Dog"), 0, ()).drawing.adapters == ("d1",)
    assert generator.ask(row("house cat"), 0, ()).drawing.adapters == ("d2",)
    assert generator.ask(row("cat"), 0, ()) == Rejected("no subject of this label")
    assert [generator.ask(row(), k, ()).drawing.adapters for k in range(3)] == [("d1",), ("d2",), ("d1",)]
    assert made().ask(row("dog"), 0, ()) == Rejected("no subject of this label")


def test_the_prompt_has_the_token_and_the_caption_the_noun():
    drawing = made(REX, size=64, steps=4, guidance=3.0).ask(row("dog"), 1, ()).drawing
    assert drawing.kind == "text"
    assert drawing.prompt.startswith("a photo of sks dog ")
    assert drawing.caption == drawing.prompt.replace("sks dog", "a dog")
    assert (drawing.width, drawing.height, drawing.steps, drawing.guidance) == (64, 64, 4, 3.0)
    drawing = made(WORD).ask(row(), 0, ()).drawing
    assert drawing.prompt.startswith("a photo of <tom> ")
    assert drawing.caption.startswith("a photo of a cat ")
    drawing = made(CHINESE).ask(row("狗"), 0, ()).drawing
    assert drawing.prompt.startswith("一张sks 狗的照片，在")
    assert drawing.caption.startswith("一张狗的照片，在")


def test_scenes_differ_and_come_back():
    generator = made(REX)
    asked = [generator.ask(row("dog"), k, ()) for k in range(40)]
    assert len({each.drawing.prompt for each in asked}) == 40
    assert len({each.seed for each in asked}) == 40
    assert asked == [made(REX).ask(row("dog"), k, ()) for k in range(40)]


@pytest.mark.parametrize(
    ("scene", "subject", "wanted"),
    [
        ("a dog asleep on a step", REX, "sks dog asleep on a step"),
        ("a photo of the Dog in snow", REX, "a photo of sks dog in snow"),
        ("two dogs by a river", REX, "sks dog, two dogs by a river"),
        ("a cat on a wall", WORD, "<tom> on a wall"),
        ("雪地里的狗", CHINESE, "雪地里的sks 狗"),
    ],
)
def test_a_written_scene_names_the_subject(scene, subject, wanted):
    assert named(scene, subject) == wanted


def test_an_llm_writes_scenes_of_the_noun():
    generator = made(WORD)
    draft = generator.draft(row("house cat"), 0, ())
    assert "<label>\ncat\n</label>" in draft.messages[-1][1]
    assert "<tom>" not in str(draft.messages)
    answer = Reply(draft.key, '{"scenes": ["a cat asleep on a warm roof"]}')
    drawing = generator.drafted(row("house cat"), 0, (), answer).drawing
    assert drawing.prompt == "a photo of <tom> asleep on a warm roof"
    assert drawing.caption == "a photo of a cat asleep on a warm roof"
    assert drawing.adapters == ("d2",)
    assert generator.drafted(row("house cat"), 0, (), None) == generator.ask(row("house cat"), 0, ())
    assert isinstance(generator.drafted(row("house cat"), 0, (), Reply("k", "sorry")), Rejected)
    assert isinstance(generator.draft(row("bird"), 0, ()), Rejected)


def test_the_row_is_of_the_class_and_keeps_no_box_and_no_mask(place):
    from PIL import Image

    for label, wanted in (("house cat", "house cat"), (None, "house_cat")):
        generator = made(WORD, size=64)
        request = generator.ask(row(label), 0, ())
        made_of = generator.read(row(label), picture_reply(request, Image.new("RGB", (64, 64), "red"), DRAWN))
        assert (made_of.label, made_of.mask, made_of.boxes) == (wanted, None, None)
        assert made_of.caption == request.drawing.caption
        assert made_of.prompt == request.drawing.prompt
        assert made_of.image == request.key
    for text in ("", "{", "null", "[]", '{"drawing": null}', "{" * 5000):
        assert isinstance(generator.read(row(), Reply("k", text)), Rejected)


def test_it_is_frozen_and_says_what_it_needs():
    assert SubjectDriven.modalities == ("image",)
    assert SubjectDriven.kind == "text"
    assert not SubjectDriven.keeps_label


@pytest.mark.parametrize("method", ["dreambooth-lora", "textual-inversion"])
def test_a_run_draws_with_what_was_learned(augment, place, method):
    """The same scenes and seeds, drawn by the taught model and by one that was hardly taught."""
    base, photos = save_sd(place / "sd"), draw_ball(place / "photos")
    flags = ("--images", photos, "--engine", f"diffusers:{base}", "--accept-licence", "--noun", "circle", "--size", 64)
    prior = () if method == "textual-inversion" else ("--no-prior",)
    for out, rate in (("weak", "1e-9"), ("strong", "0.05")):
        more = ("--method", method, "--label", "ball", "--steps", 10, "--learning-rate", rate, "--out", out)
        done = augment("subject", *flags, *prior, *more)
        assert done.code == 0, done.err
    source = draw_ball(place / "source/ball")
    drawn = {}
    for out in ("weak", "strong"):
        done = augment(
            *("image", "--source", source.parent, "--generators", "subject", "--subjects", out, "--n", "2x"),
            *("--engine", f"diffusers:{base}", "--accept-licence", "--size", 64, "--steps", 3, "--batch", 4),
            *("--filters", "none", "--out", f"run-{out}"),
        )
        assert done.code == 0, done.err
        rows = pl.read_parquet(place / f"run-{out}/curated/train.parquet").filter(pl.col("generator") == "subject")
        assert len(rows) == 8
        assert set(rows["label"]) == {"ball"}
        token = "sks circle" if method == "dreambooth-lora" else "<subject>"
        assert all(token in prompt for prompt in rows["prompt"])
        assert not any(token in caption for caption in rows["caption"])
        drawn[out] = dict(zip(rows["prompt"], rows["pixels"], strict=True))
    assert drawn["weak"].keys() == drawn["strong"].keys()
    assert all(drawn["weak"][prompt] != drawn["strong"][prompt] for prompt in drawn["weak"])


def test_without_a_subject_there_is_one_line(augment, place):
    done = augment("image", "--source", "sample-images", "--generators", "subject", "--engine", "noise")
    assert done.code == 2
    assert "generator 'subject' draws subjects; add --subjects DIR, a folder of augment subject" in done.err
    done = augment(
        *("image", "--source", "sample-images", "--generators", "subject", "--engine", "noise", "--subjects", place)
    )
    assert done.code == 2
    assert "holds no subject (no whole subject.json); make one with augment subject" in done.err
