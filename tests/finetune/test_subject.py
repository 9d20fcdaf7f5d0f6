"""Subjects: they are learned, saved as diffusers loads them, with their class kept, and twice to the same bytes."""

from __future__ import annotations

import json
import re
import threading
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

from augment.errors import FinetuneError, Interrupted, RecipeError, RunError
from augment.images.store import pictures
from augment.images.subjects import WEIGHTS, read_subject
from augment.manifest import settle
from finetune.subject import folder, loading
from finetune.subject.families import family_of
from finetune.subject.loop import learn, wrong_by
from finetune.subject.prepare import prepare
from finetune.subject.recipe import read_subject_recipe
from finetune.subject.train import Watch, latents_of, lesson_of, pixels_in, prior_of, train
from tests.finetune.subjects import draw_ball, drawn_by
from tests.images import models

SAVERS = {
    "sd": models.save_sd,
    "v": lambda folder: models.save_sd(folder, prediction="v_prediction"),
    "sdxl": models.save_sdxl,
    "z": models.save_z_image,
    "klein": models.save_klein,
}
FAMILIES = list(SAVERS)
LORA, INVERSION = WEIGHTS
CPU = torch.device("cpu")
QUICK = {"size": 64, "steps": 30, "batch": 2, "learning_rate": 0.01, "prior_images": 4, "prior_steps": 2, "rank": 8}


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """`base("sd")` is the folder of a tiny model."""
    folder, saved = tmp_path_factory.mktemp("bases"), {}

    def at(name):
        if name not in saved:
            saved[name] = SAVERS[name](folder / name)
        return saved[name]

    return at


@pytest.fixture
def make(place, base):
    """`make("sd", steps=5)` is a prepared subject of the ball."""
    photos = draw_ball(place / "photos")

    def prepared(name="sd", out="subject", **changes):
        flags = {"images": photos, "engine": f"diffusers:{base(name)}", "out": place / out, "noun": "car"}
        flags |= {**QUICK, "accept_licence": True, **changes}
        if flags.get("method") == INVERSION:
            for each in ("rank", "prior_images", "prior_steps"):
                flags.pop(each)
        return prepare(read_subject_recipe(flags))

    return prepared


def watch(drawn=lambda *_: None, stepped=lambda *_: None):
    return Watch(drawn, stepped, threading.Event())


def learned(prepared, dtype=torch.float32):
    """A pipeline that has learned, what it drew of the subject, the lesson's file, and its losses before and after."""
    pipe = loading.load(prepared.model, dtype)
    family = family_of(pipe, "base", CPU)
    chance = torch.Generator().manual_seed(0)
    recipe, ours = prepared.recipe, watch()
    with lesson_of(prepared, pipe, family, ours, chance) as (lesson, _):
        before = wrong_by(lesson, 2)
        learn(lesson, recipe.steps, recipe.learning_rate, chance, ours.stepped, ours.stop)
        after = wrong_by(lesson, 2)
        return (
            pipe,
            drawn_by(pipe, prepared.prompt) if dtype == torch.float32 else None,
            lesson.saved(pipe),
            before,
            after,
        )


def same(one, other):
    return np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_lora_learns_and_draws_the_same_when_loaded_again(name, make, base, tmp_path):
    prepared = make(name)
    _, shown, weights, before, after = learned(prepared)
    assert after < 0.95 * before
    (tmp_path / WEIGHTS[LORA]).write_bytes(weights)
    assert all(re.search(r"\.(attn[12]?|attention)\.(to_|add_)\w+", key) for key in load_file(tmp_path / WEIGHTS[LORA]))
    again = DiffusionPipeline.from_pretrained(base(name))
    untaught = drawn_by(again, prepared.prompt)
    again.load_lora_weights(str(tmp_path), weight_name=WEIGHTS[LORA])
    assert same(drawn_by(again, prepared.prompt), shown)
    assert not same(untaught, shown)


@pytest.mark.parametrize("name", ["sd", "v"])
def test_a_word_is_learned_and_nothing_else_changes(name, make, base, tmp_path):
    prepared = make(name, method=INVERSION, token="<ball>", steps=60, learning_rate=0.1)
    pipe, shown, weights, before, after = learned(prepared)
    assert after < before - 0.002
    (tmp_path / WEIGHTS[INVERSION]).write_bytes(weights)
    (row,) = load_file(tmp_path / WEIGHTS[INVERSION]).values()
    untaught, again = (DiffusionPipeline.from_pretrained(base(name)) for _ in range(2))
    again.load_textual_inversion(str(tmp_path), weight_name=WEIGHTS[INVERSION])
    assert same(drawn_by(again, prepared.prompt), shown)
    words, parts = untaught.text_encoder.state_dict(), pipe.text_encoder.state_dict()
    table = next(key for key in words if key.endswith("token_embedding.weight"))
    for key, value in words.items():
        assert torch.equal(parts[key][: len(value)] if key == table else parts[key], value), key
    assert torch.equal(again.text_encoder.state_dict()[table][-1], row[0])
    assert not torch.equal(row[0], words[table][untaught.tokenizer.convert_tokens_to_ids("car</w>")])
    assert all(torch.equal(value, pipe.unet.state_dict()[key]) for key, value in untaught.unet.state_dict().items())


def test_the_word_begins_as_the_noun(make):
    prepared = make(method=INVERSION, token="<ball>")
    pipe = loading.load(prepared.model, torch.float32)
    before = drawn_by(pipe, "a photo of car")
    with lesson_of(prepared, pipe, family_of(pipe, "base", CPU), watch(), torch.Generator()):
        assert same(drawn_by(pipe, "a photo of <ball>"), before)


@pytest.mark.parametrize("name", ["sd", "sdxl", "z", "klein"])
def test_weights_in_bfloat16_learn_in_float32(name, make):
    prepared = make(name, steps=6, prior_images=0, prior_steps=None, gradient_checkpointing=True)
    pipe, _, weights, before, after = learned(prepared, torch.bfloat16)
    network = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    assert {each.dtype for each in network.parameters() if each.requires_grad} == {torch.float32}
    assert {each.dtype for each in network.parameters() if not each.requires_grad} == {torch.bfloat16}
    assert weights
    assert after != before


def test_gradient_checkpointing_changes_no_step(make):
    def history(**changes):
        return train(make(steps=5, out=f"{changes}", **changes), watch()).card["losses"]["subject"]

    assert history() == history(gradient_checkpointing=True)


def test_the_class_is_drawn_by_the_base_and_kept(make, place):
    def forgetting(prior_weight, out):
        prepared = make(out=out, steps=60, prior_weight=prior_weight, noun="boat")
        pipe = loading.load(prepared.model, torch.float32)
        family = family_of(pipe, "base", CPU)
        chance = torch.Generator().manual_seed(0)
        with lesson_of(prepared, pipe, family, watch(), chance) as (lesson, drawn):
            before = _class_loss(lesson)
            learn(lesson, 60, 0.01, chance, lambda *_: None, threading.Event())
            return drawn, _class_loss(lesson) - before

    drawn, kept = forgetting(1.0, "one")
    _, lost = forgetting(1e-9, "two")
    assert len(drawn) == len(set(drawn)) == 4
    assert kept < lost


def _class_loss(lesson):
    with torch.no_grad():
        chance = torch.Generator().manual_seed(9)
        return float(torch.cat([lesson._wrong("prior", range(4), chance) for _ in range(8)]).mean())


def test_class_pictures_are_what_the_base_draws_alone_and_are_drawn_once(make, base):
    told = []
    prepared = make(steps=1)
    card = train(prepared, watch(drawn=lambda done, whole: told.append((done, whole)))).card
    assert told == [(4, 4)]
    assert len(card["class_images"]) == 4
    assert card["class_prompt"] == "a photo of a car"
    assert set(card["losses"]) == {"subject", "prior"}
    prior = prior_of(prepared, CPU, torch.float32)
    pipe = DiffusionPipeline.from_pretrained(base("sd"))
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.enable_slicing()
    chance = [torch.Generator().manual_seed(prior.seed_of(2)) for _ in range(4)]
    alone = pipe(prompt=[card["class_prompt"]] * 4, width=64, height=64, num_inference_steps=2, generator=chance).images
    assert same(alone[0], pictures().open(prior.name(2)))
    told.clear()
    train(make(steps=2, out="other"), watch(drawn=lambda done, whole: told.append((done, whole))))
    assert told == []
    train(make(steps=2, out="more", prior_images=6), watch(drawn=lambda done, whole: told.append((done, whole))))
    assert told == [(6, 6)]


def test_black_squares_of_a_safety_checker_are_never_learned(make, base, monkeypatch):
    SAVERS["flagged"] = lambda folder: models.save_sd(folder, flag_above=models.FLAG_ALL)
    SAVERS["some"] = lambda folder: models.save_sd(folder, flag_above=0.3)
    with pytest.raises(FinetuneError, match="refused all 4 pictures of 'a photo of a car'"):
        train(make("flagged", steps=1), watch())
    prepared = make("some", steps=1, prior_images=12, prior_steps=4)
    card = train(prepared, watch()).card
    assert 0 < card["class_refused"] < 12
    assert len(card["class_images"]) == 12 - card["class_refused"]
    prior = prior_of(prepared, CPU, torch.float32)
    names = [prior.name(each) for each in range(12)]
    assert all(np.asarray(pictures().open(name)).std() > 0 for name in names if name in pictures())


@pytest.mark.parametrize("method", [LORA, INVERSION])
def test_twice_to_the_same_bytes(method, make, place, monkeypatch):
    def files(out, home):
        monkeypatch.setenv("AUGMENT_HOME", str(place / home))
        torch.manual_seed(len(out))  # whatever was drawn by chance before
        folder = train(make(out=out, method=method, steps=6), watch()).path
        return {name: (folder / name).read_bytes() for name in (WEIGHTS[method], "subject.json")}

    assert files("one", "home1") == files("other", "home2")


def test_another_seed_learns_another_way(make):
    one = train(make(out="one", steps=2), watch()).card
    other = train(make(out="two", steps=2, seed=1), watch()).card
    assert one["losses"] != other["losses"]
    assert one["identity"] != other["identity"]


def test_the_card_tells_everything(make):
    done = train(make(steps=3, label="vehicle"), watch())
    card = json.loads((done.path / "subject.json").read_text("utf-8"))
    assert card == done.card
    assert (card["method"], card["token"], card["noun"], card["label"]) == (LORA, "sks", "car", "vehicle")
    assert card["base"]["pipeline"] == "StableDiffusionPipeline"
    assert len(card["base"]["revision"]) == 32
    assert [each["name"] for each in card["images"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert card["recipe"]["rank"] == 8
    assert len(card["losses"]["subject"]) == 3
    assert {"torch", "diffusers", "transformers", "peft", "augment"} == set(card["versions"])
    subject = read_subject(done.path)
    assert subject.name == "sks car"
    assert subject.label == "vehicle"


def test_stopped_before_the_end_nothing_is_there(make, place):
    (place / "old").mkdir()
    for out in ("new", "old"):
        stop = threading.Event()
        ours = Watch(lambda *_: None, partial(_stop_at_three, stop), stop)
        with pytest.raises(Interrupted, match="step 3 of 30"):
            train(make(out=out), ours)
    assert not (place / "new").exists()
    assert [each.name for each in (place / "old").iterdir()] in ([], [".augment.lock"])
    assert train(make(out="new", steps=2), watch()).path == place / "new"


def _stop_at_three(stop, step, _):
    if step == 3:
        stop.set()


def test_a_loss_that_is_not_finite_is_one_line(make):
    with pytest.raises(FinetuneError, match="not finite at step [0-9]+; lower --learning-rate"):
        train(make(learning_rate=9.9, steps=400, prior_images=0, prior_steps=None), watch())


def oracle(name, pipe, latents):
    """What a network would say that knows the only picture there is: the noise, v or velocity that leads to it."""
    steps = pipe.scheduler.alphas_cumprod if name in ("sd", "v") else None

    def noise(noisy, time, *_, **__):
        share = steps[time].view(-1, 1, 1, 1)
        guess = (noisy - share.sqrt() * latents) / (1 - share).sqrt()
        return (guess if name == "sd" else share.sqrt() * guess - (1 - share).sqrt() * latents,)

    def listed(noisy, time, *_, **__):
        return ([-(each - latents[0][:, None]) / (1 - t) for each, t in zip(noisy, time, strict=True)],)

    def packed(hidden_states, timestep, **_):
        return ((hidden_states - latents.flatten(2).transpose(1, 2)) / timestep.view(-1, 1, 1),)

    return {"sd": noise, "v": noise, "z": listed, "klein": packed}[name]


@pytest.mark.parametrize("name", ["sd", "v", "z", "klein"])
def test_who_makes_the_pipeline_draw_the_picture_is_not_wrong(name, make, monkeypatch):
    """A wrong sign, scale or time would let a loss fall all the same, and the pipeline draw something else."""
    prepared = make(name)
    pipe = loading.load(prepared.model, torch.float32)
    pipe.set_progress_bar_config(disable=True)
    family = family_of(pipe, "base", CPU)
    latents = latents_of(pipe, family, [prepared.photos[0].square])
    if name in ("sd", "v"):
        pipe.scheduler.final_alpha_cumprod = torch.tensor(1.0)  # else a little noise stays to the end
    with torch.no_grad():
        words = family.words([prepared.prompt])
        monkeypatch.setattr(family.network, "forward", oracle(name, pipe, latents))
        seen = pipe.vae.decode(pipe.vae.encode(pixels_in(prepared.photos[0].square)).latent_dist.mode()).sample
        seen = np.asarray(pipe.image_processor.postprocess(seen, output_type="pil")[0]).astype(int)
        assert np.abs(np.asarray(drawn_by(pipe, prepared.prompt, steps=40)).astype(int) - seen).mean() < 2
        chance = torch.Generator().manual_seed(0)
        found = family.loss(latents.repeat(8, 1, 1, 1), family.repeated(words, 8), chance)
        assert found.shape == (8,)
        assert found.max() < 1e-4
        assert family.loss(latents.repeat(8, 1, 1, 1) + 0.5, family.repeated(words, 8), chance).min() > 1e-3


def test_the_card_comes_last_and_a_full_disk_leaves_no_half_subject(make, place, monkeypatch):
    done = []

    def full(beside, target):
        if len(done) == 1:
            raise OSError(28, "No space left on device")
        done.append(target.name)
        settle(beside, target)

    monkeypatch.setattr(folder, "settle", full)
    with pytest.raises(RunError, match="cannot write to .*: No space left on device; make room"):
        train(make(steps=1), watch())
    assert done == [WEIGHTS[LORA]]
    with pytest.raises(RecipeError, match="holds no subject"):
        read_subject(place / "subject")
    monkeypatch.undo()
    monkeypatch.setenv("AUGMENT_HOME", str(place / "home"))
    assert not train(make(steps=1), watch()).already
    assert train(make(steps=1), watch()).already
