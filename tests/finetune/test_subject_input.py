"""What is given to `augment subject`: every fault is one line that says what, the value and the fix."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from PIL import Image

from finetune.subject.progress import ShowSubject
from finetune.subject.words import ordinary
from tests.finetune.subjects import draw_ball
from tests.images import models, words

QUICK = ("--size", 64, "--steps", 2, "--prior-images", 2, "--prior-steps", 1, "--rank", 2)


@pytest.fixture(scope="session")
def sd(tmp_path_factory):
    return models.save_sd(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture
def subject(augment, place, sd):
    """`subject("--steps", 3)` teaches a tiny model the ball; flags that are given win."""
    draw_ball(place / "photos")

    def run(*flags, quick=QUICK, **changes):
        given = {"images": "photos", "engine": f"diffusers:{sd}", "out": "mine", "noun": "car", **changes}
        named = [word for name, value in given.items() if value is not None for word in (f"--{name}", value)]
        return augment("subject", *named, "--accept-licence", *quick, *flags)

    return run


def test_what_libraries_say_on_their_way_in_stays_off_the_terminal(place):
    """In a process of its own: in this one they are imported already. bitsandbytes misses a kernel on some CPUs."""
    told = ("subject", "--images", "photos", "--noun", "car", "--out", "mine", "--engine", "noise:x")
    done = subprocess.run([sys.executable, "-m", "augment", *told], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "augment: --engine 'noise:x' cannot be trained; write diffusers:FOLDER or diffusers:owner/name"
    ]


@pytest.mark.parametrize(
    ("changes", "flags", "said"),
    [
        ({"images": None}, (), "no images given; try --images photos/"),
        ({"engine": None}, (), "no engine given; try --engine diffusers:"),
        ({"out": None}, (), "no out given; try --out subjects/mine"),
        ({"noun": None}, (), "no noun given: what is it? try --noun dog"),
        ({"noun": "a\nb"}, (), "noun: 'a\\nb' is no name; write a word or two"),
        ({"method": "lora"}, (), "no method called 'lora'; known: dreambooth-lora, textual-inversion"),
        ({"method": "textual-inversion"}, ("--rank", 4), "--rank is for --method dreambooth-lora; leave it out"),
        ({"engine": "openai-images:flux"}, (), "--engine 'openai-images:flux' cannot be trained; write diffusers:"),
        ({"engine": "diffusers:nowhere"}, (), "no model folder nowhere"),
        ({"images": "nothing"}, (), "no folder nothing; give --images a folder with a few pictures"),
        ({"images": "empty"}, (), "no pictures in empty (.png, "),
        ({"images": "broken"}, (), "no whole picture in broken (bad.jpg: not a picture; cut.png: broken or cut off)"),
        ({"token": "two words"}, (), "token: 'two words' is no token; write one word without spaces"),
        ({"size": 100}, (), "size: '100' is no multiple of 16; write 96"),
        ({"steps": 0}, (), "steps: input should be greater than or equal to 1 (got 0)"),
        ({"learning-rate": "-1"}, (), "learning-rate: input should be greater than 0 (got -1.0)"),
        ({}, ("--no-prior",), "--no-prior draws no class pictures; leave it out, or the other --prior flags"),
        ({"precision": "bf16"}, (), "--precision bf16 needs a GPU that has it; leave it out"),
        ({"precision": "fp8"}, (), "precision: input should be 'auto', 'fp32' or 'bf16' (got 'fp8')"),
        ({"out": "full"}, (), "full is not empty and not a subject's folder (notes.txt); choose another --out"),
        ({"out": "file"}, (), "cannot write to file: "),
    ],
)
def test_a_fault_is_one_line(subject, place, changes, flags, said):
    (place / "empty").mkdir()
    (place / "broken").mkdir()
    (place / "broken/bad.jpg").write_bytes(b"no picture")
    (place / "broken/cut.png").write_bytes((place / "photos/0.png").read_bytes()[:200])
    (place / "full").mkdir()
    (place / "full/notes.txt").write_text("mine")
    (place / "file").write_text("mine")
    quick = QUICK if changes.get("method") is None and "size" not in changes and "steps" not in changes else ()
    done = subject(*flags, quick=quick, **changes)
    assert done.code == 2
    assert done.out == ""
    assert said in done.err
    assert done.err.splitlines()[-1].startswith("augment: ")
    assert "Traceback" not in done.err
    assert not (place / "mine").exists()
    assert (place / "full/notes.txt").read_text() == "mine"


def test_a_model_of_unknown_terms_asks_to_be_read(augment, place, sd):
    draw_ball(place / "photos")
    done = augment("subject", "--images", "photos", "--engine", f"diffusers:{sd}", "--noun", "car", "--out", "mine")
    assert done.code == 2
    assert "read its terms, then give --accept-licence" in done.err


def test_models_that_cannot_learn_are_told_apart(subject, place):
    models.save_instruct(place / "instruct")
    done = subject(engine="diffusers:instruct")
    assert (
        "instruct is a StableDiffusionInstructPix2PixPipeline, which augment subject cannot train; known: " in done.err
    )
    models.save_z_image(place / "z")
    done = subject(engine="diffusers:z", method="textual-inversion", quick=())
    assert "needs a model with one CLIP text encoder" in done.err
    assert "z is a ZImagePipeline: use --method dreambooth-lora" in done.err
    masked = place / "masked"
    models.save_instruct(masked)
    index = json.loads((masked / "model_index.json").read_text("utf-8"))
    (masked / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionPipeline"}), "utf-8")
    done = subject(engine="diffusers:masked")
    assert "the UNet of masked takes 8 channels, a picture or mask besides the noise" in done.err
    assert done.code == 2
    assert not (place / "mine").exists()


def test_broken_weights_are_one_line(subject, place):
    models.save_sd(place / "torn")
    weights = place / "torn/unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    done = subject(engine="diffusers:torn")
    assert done.code == 2
    assert "cannot load the weights of torn: " in done.err
    assert not (place / "mine").exists()


def test_pictures_that_are_left_out_are_named(subject, place):
    photos = place / "photos"
    (photos / "bad.jpg").write_bytes(b"no picture")
    (photos / "twin.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "notes.txt").write_text("not a picture")
    Image.open(photos / "1.png").convert("CMYK").save(photos / "cmyk.jpg")
    done = subject("--dry-run")
    assert "bad.jpg: not a picture; left out" in done.err
    assert "twin.png: the same picture as 0.png; left out" in done.err
    assert "notes.txt" not in done.err
    assert "5 pictures, 64 × 64, learned as 'a photo of sks car' by sd" in done.err
    assert "2 pictures of 'a photo of a car' keep the class as it is" in done.err
    assert not (place / "mine").exists()


def test_few_pictures_and_ordinary_words_are_warned_of(subject, place):
    for name in ("1.png", "2.png", "3.png"):
        (place / "photos" / name).unlink()
    done = subject("--dry-run", token="dog")
    assert done.code == 0
    assert "only 1 picture: what is around the subject is learned as well" in done.err
    assert "the token 'dog' is a word that sd knows, with a meaning; better: --token sks" in done.err
    assert "is a word that" not in subject("--dry-run").err


def test_what_is_ordinary():
    for tokenizer in (words.clip_tokenizer(), words.chat_tokenizer()):
        assert ordinary("dog", tokenizer)
        assert not ordinary("sks", tokenizer)
        assert not ordinary("<subject>", tokenizer)


def test_a_learned_word_must_be_new(subject):
    done = subject(method="textual-inversion", token="<|endoftext|>", quick=())
    assert done.code == 2
    assert "the token '<|endoftext|>' is in the vocabulary of sd; write another: <my-car>" in done.err


def test_it_says_what_it_did_and_does_it_once(subject, place):
    done = subject()
    assert done.code == 0
    first, second, path = done.out.strip().splitlines()
    assert first.startswith("loss on its 4 pictures ")
    assert "in a prompt it is 'sks car'" in second
    assert path == "mine"
    assert {each.name for each in (place / "mine").iterdir()} == {
        *("pytorch_lora_weights.safetensors", "subject.json", ".augment.lock"),
    }
    before = (place / "mine/subject.json").stat().st_mtime_ns
    assert "it was trained before; nothing was done" in subject().out
    assert (place / "mine/subject.json").stat().st_mtime_ns == before
    done = subject(token="zwx")
    assert done.code == 2
    assert "mine holds another subject (" in done.err
    assert "choose another --out, or add --overwrite" in done.err
    done = subject("--overwrite", "--json", token="zwx")
    assert json.loads(done.out)["token"] == "zwx"
    done = subject("--overwrite", method="textual-inversion", quick=("--size", 64, "--steps", 1))
    assert done.code == 0
    assert not (place / "mine/pytorch_lora_weights.safetensors").exists()
    assert (place / "mine/learned_embeds.safetensors").is_file()


def test_torn_weights_are_trained_again(subject, place):
    subject()
    weights = place / "mine/pytorch_lora_weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    done = subject()
    assert "it was trained before" not in done.out
    assert weights.read_bytes() == whole


def test_ctrl_c_says_that_nothing_was_written(subject, place, monkeypatch):
    shown = ShowSubject.stepped

    def interrupted(self, step, loss):
        shown(self, step, loss)
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ShowSubject, "stepped", interrupted)
    done = subject(quick=("--size", 64, "--steps", 1000, "--no-prior"))
    assert done.code == 130
    assert "stopping: waiting for this step" in done.err
    assert "stopped. nothing was written to mine; to go on, give the same command again" in done.err
    assert not (place / "mine").exists()
