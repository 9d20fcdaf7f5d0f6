"""The engine `diffusers` on tiny pipelines of three families: every kind, and that a picture depends on its request alone."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from PIL import Image

from augment.drawing.calls import steps_of
from augment.errors import EngineError
from augment.images.canvas import canvas_for
from augment.images.drawn import Drawn, drawn
from augment.images.pictures import decode
from augment.images.stamp import DRAWN, EDITED, recipe_of
from augment.images.store import pictures
from augment.records import Reply, Request
from tests.images import models
from tests.images.asking import INNER, PARENT, answered, ask, make, mask, opened, parent, pixels
from tests.images.words import chat_tokenizer

torch.set_num_threads(1)

KINDS = {
    "sd": ("text", "image", "inpaint", "control", "reference"),
    "instruct": ("instruct",),
    "z": ("text", "image", "inpaint"),
    "klein": ("text", "inpaint", "instruct", "reference"),
    "qwen": ("text", "image", "inpaint"),
}
EVERY = [(name, kind) for name, kinds in KINDS.items() for kind in kinds]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def _place(place: Path) -> None:
    """A picture store of its own for each test."""


@pytest.mark.parametrize(("model", "kind"), EVERY)
def test_each_kind_has_its_size_and_says_what_it_is(known: dict[str, str], model: str, kind: str) -> None:
    engine, request = opened(known[model]), ask(kind, 3)
    (reply,) = engine.generate([request])
    found = drawn(reply)
    assert isinstance(found, Drawn) and found.drawing == request.drawing
    assert (found.width, found.height) == decode(reply.picture).size
    assert (found.width, found.height) == ((64, 48) if kind in ("text", "reference") else INNER)
    told = {"dtype": "float32", "threads": 1, "torch": torch.__version__, "device": "cpu", "steps": 2}
    assert {**found.about, **told} == found.about
    alone = model == "klein" and kind != "inpaint" and kind != "text"
    assert found.about["batch"] == (1 if alone or kind == "reference" else 4)
    assert recipe_of(reply.picture)[1] == (DRAWN if kind == "text" else EDITED)
    assert pixels(reply).std() > 10


@pytest.mark.parametrize(("model", "kind"), EVERY)
def test_neither_order_nor_neighbours_nor_where_a_run_ends_changes_a_pixel(
    known: dict[str, str], model: str, kind: str
) -> None:
    requests = [ask(kind, seed) for seed in range(7)]
    whole = answered(opened(known[model]), requests)
    assert len({drawn(each).pixels for each in whole.values()}) == 7
    other = opened(known[model], concurrency=1)  # groups hardly fill: nearly every batch is padded
    assert answered(other, requests[::-1]) == whole
    again = opened(known[model])
    parts = [answered(again, part) for part in (requests[5:6], requests[:3], requests[3:])]
    assert parts[0] | parts[1] | parts[2] == whole


def test_prompts_that_are_padded_to_one_another_are_not_drawn_together(known: dict[str, str]) -> None:
    """With a mask over the padding a GPU adds up in another order; on a CPU that can be seen with Qwen-Image alone."""
    short, long = (ask("text", seed, prompt="a dog " * seed) for seed in (1, 90))
    for model, together in {"plain": True, "klein": True, "z": False, "qwen": False}.items():
        engine = opened(known[model])
        assert (engine._asked(short) == engine._asked(long)) == together, model
    engine = opened(known["z"])
    for request in (short, long):
        (embedded,), _ = engine._load().base.encode_prompt([request.drawing.prompt], do_classifier_free_guidance=False)
        assert engine._asked(request).words == (math.ceil(len(embedded) / 32) * 32, 0)


@pytest.mark.parametrize(("model", "dtype"), [("sd", "bfloat16"), ("klein", "float32")])
def test_drawing_several_kinds_in_turn_changes_none(known: dict[str, str], model: str, dtype: str) -> None:
    requests = [ask(kind, seed) for seed in range(2) for kind in KINDS[model]]
    mixed = answered(opened(known[model], dtype=dtype, batch=2, concurrency=4), requests)
    for kind in KINDS[model]:
        lone = answered(opened(known[model], dtype=dtype, batch=2), [ask(kind, seed) for seed in range(2)])
        assert {key: mixed[key] for key in lone} == lone


def test_it_draws_what_the_pipeline_itself_draws(known: dict[str, str]) -> None:
    requests = [ask("text", seed, guidance=3.0, negative="blue") for seed in range(2)]
    pipe = DiffusionPipeline.from_pretrained(known["plain"])
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.enable_slicing()
    chosen = [requests[0], requests[1], requests[1], requests[1]]
    made = pipe(
        [each.drawing.prompt for each in chosen],
        negative_prompt=["blue"] * 4,
        guidance_scale=3.0,
        num_inference_steps=2,
        width=64,
        height=48,
        generator=[torch.Generator().manual_seed(each.seed) for each in chosen],
    ).images
    replies = answered(opened(known["plain"]), requests)
    for request, picture in zip(requests, made[:2], strict=True):
        assert (pixels(replies[request.key]) == np.asarray(picture)).all()


def test_the_models_own_numbers_are_used_where_none_are_asked_for(known: dict[str, str]) -> None:
    (reply,) = opened(known["plain"]).generate([ask("text", 1)])
    assert drawn(reply).about["guidance"] == 7.5
    (other,) = opened(known["plain"]).generate([ask("text", 1, guidance=7.5)])
    assert drawn(reply).pixels == drawn(other).pixels
    (far,) = opened(known["plain"]).generate([ask("text", 1, guidance=2.0)])
    assert drawn(far).pixels != drawn(reply).pixels


@pytest.mark.parametrize("model", ["sd", "z", "klein"])
def test_nothing_changes_outside_the_mask(known: dict[str, str], model: str) -> None:
    (reply,) = opened(known[model]).generate([ask("inpaint", 1)])
    before = np.asarray(pictures().open(parent(40)).resize(INNER, Image.Resampling.LANCZOS)).astype(int)
    inside = np.asarray(pictures().open(mask()).resize(INNER, Image.Resampling.NEAREST))[..., 0] > 0
    difference = np.abs(pixels(reply) - before).sum(-1)
    assert difference[~inside].max() == 0
    assert (difference[inside] > 0).mean() > 0.9


def test_a_reference_is_not_mixed_with_its_neighbours(known: dict[str, str]) -> None:
    """Same prompt and seed, two references: as different as drawn alone, and different from one another."""
    for model in ("sd", "klein"):
        pair = [ask("reference", 1, image=parent(shade)) for shade in (0, 200)]
        both = answered(opened(known[model]), pair)
        assert [both[each.key] for each in pair] == [next(opened(known[model]).generate([each])) for each in pair]
        assert drawn(both[pair[0].key]).pixels != drawn(both[pair[1].key]).pixels


def test_even_the_smallest_strength_draws_a_step(known: dict[str, str]) -> None:
    for model in ("sd", "z"):
        (reply,) = opened(known[model]).generate([ask("image", 1, strength=0.07)])
        assert drawn(reply).about["steps"] == 15
    for strength in (0.01, 1 / 49, 0.07, 0.3, 1 / 3, 0.5, 1.0):
        for steps in (1, 2, 4, 50):
            assert steps_of(steps, strength) >= steps
            assert int(steps_of(steps, strength) * strength) >= 1
            assert steps_of(steps, strength) <= max(steps, 1 / strength + 2)


def test_a_refused_picture_is_no_picture(tmp_path: Path) -> None:
    for above, refused in ((models.FLAG_ALL, 6), (models.FLAG_NONE, 0)):
        folder = models.save_sd(tmp_path / str(above), flag_above=above)
        requests = [ask(kind, seed) for seed in range(3) for kind in ("text", "image")]
        replies = answered(opened(str(folder)), requests)
        assert [each.finish for each in replies.values()].count("content_filter") == refused
        assert all(not each.picture and not each.text for each in replies.values() if each.finish != "stop")
        assert all(pixels(each).std() > 10 for each in replies.values() if each.finish == "stop")


def test_what_a_model_cannot_draw_is_one_line(known: dict[str, str]) -> None:
    cases = {
        ("plain", "control"): "plain cannot draw kind control, only image, inpaint, text; add a ControlNet",
        ("plain", "reference"): "add an IP-Adapter",
        ("plain", "instruct"): "only image, inpaint, text; choose generators of those",
        ("klein", "image"): "klein cannot draw kind image, only inpaint, instruct, reference, text",
        ("instruct", "text"): "instruct cannot draw kind text, only instruct;",
    }
    for (model, kind), line in cases.items():
        with pytest.raises(EngineError) as told:
            list(opened(known[model]).generate([ask(kind, 1)]))
        assert line.replace("plain", "sd") in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("model", "kind", "more", "line"),
    [
        ("klein", "text", {"negative": "blue"}, "klein cannot take the negative prompt 'blue' for kind text"),
        ("plain", "text", {"negative": "blue", "guidance": 1.0}, "cannot take the negative prompt 'blue'"),
        ("plain", "text", {"image_guidance": 2.0}, "cannot take image_guidance 2 for kind text"),
        ("plain", "text", {"strength": 0.5}, "cannot take strength 0.5 for kind text"),
        ("instruct", "instruct", {"strength": 0.5}, "cannot take strength 0.5 for kind instruct"),
        ("plain", "text", {"adapters": ("a" * 32,)}, "no adapter aaaa"),
    ],
)
def test_what_a_pipeline_does_not_take_is_never_dropped(
    known: dict[str, str], model: str, kind: str, more: dict[str, Any], line: str
) -> None:
    with pytest.raises(EngineError) as told:
        list(opened(known[model]).generate([ask(kind, 1, **more)]))
    assert line in str(told.value) and "\n" not in str(told.value)


def test_what_a_pipeline_takes_changes_what_it_draws(known: dict[str, str]) -> None:
    cases = [
        ("plain", "text", {"negative": "blue"}),
        ("plain", "text", {"guidance": 2.0}),
        ("plain", "image", {"strength": 1.0}),
        ("z", "text", {"negative": "blue"}),
        ("klein", "text", {"guidance": 2.0}),
        ("qwen", "text", {"guidance": 2.0}),
        ("qwen", "image", {"negative": "blue"}),
        ("instruct", "instruct", {"image_guidance": 4.0}),
    ]
    for model, kind, more in cases:
        replies = answered(opened(known[model]), [ask(kind, 1), ask(kind, 1, **more)])
        assert len({drawn(each).pixels for each in replies.values()}) == 2, (model, more)


def test_one_bad_request_costs_one_reply(known: dict[str, str]) -> None:
    bad = {
        "no picture: picture ffff": ask("image", 0, image="f" * 32),
        "strength 0 is not above 0": ask("image", 1, strength=0.0),
        "no image to draw kind inpaint from": ask("inpaint", 2, image=None),
        "no mask to inpaint": ask("inpaint", 3, mask=None),
        "no control to draw kind control from": ask("control", 3, control=None),
        "wrong size: the parent's canvas is 64 × 48": ask("image", 4, width=64, height=64),
        "no drawing": Request("r", "g", 0, (("user", "?"),), "t@1", 1),
    }
    good = [ask("image", seed) for seed in range(2)]
    replies = answered(opened(known["sd"]), [*bad.values(), *good])
    for line, request in bad.items():
        assert (replies[request.key].error or "").startswith(line)
    assert {each.key: replies[each.key] for each in good} == answered(opened(known["sd"]), good)


def test_a_picture_too_narrow_to_look_at_costs_its_row(known: dict[str, str]) -> None:
    narrow = pictures().add(Image.new("RGB", (1200, 60), "red"))
    bad, good = ask("reference", 1, image=narrow), ask("reference", 2)
    replies = answered(opened(known["klein"]), [bad, good])
    assert (replies[bad.key].error or "").startswith("not drawn: ") and pixels(replies[good.key]).any()


def test_another_size_than_asked_for_is_no_silent_answer(known: dict[str, str], tmp_path: Path) -> None:
    """A model whose VAE has two halvings more draws multiples of 32, whatever it is asked for."""
    pipe = DiffusionPipeline.from_pretrained(known["plain"])
    deep = {**pipe.vae.config, "block_out_channels": (8,) * 6}
    deep |= {"down_block_types": ("DownEncoderBlock2D",) * 6, "up_block_types": ("UpDecoderBlock2D",) * 6}
    pipe.register_modules(vae=AutoencoderKL.from_config(deep))
    pipe.save_pretrained(tmp_path / "deep")
    with pytest.raises(EngineError, match="deep: drawn 64 × 32, not 64 × 48; give another --size"):
        list(opened(str(tmp_path / "deep")).generate([ask("text", 1)]))


def test_a_model_that_needs_torchvision_says_so_in_a_line(tmp_path: Path) -> None:
    folder = models.save_sd(tmp_path / "film")
    index = json.loads((folder / "model_index.json").read_text())
    index["feature_extractor"] = ["transformers", "Qwen2VLProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    chat_tokenizer().save_pretrained(folder / "feature_extractor")
    settings = {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor"}
    (folder / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(EngineError, match="it needs torchvision, which is not installed; pip install") as told:
        list(opened(str(folder)).generate([ask("text", 1)]))
    assert "\n" not in str(told.value)


def test_a_batch_that_does_not_fit_is_halved_and_drawn_again(known: dict[str, str]) -> None:
    engine = opened(known["plain"], batch=8)

    def full(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if len(arguments[0] if arguments else named["sample"]) > 2 * 2:  # twice, for guidance
            raise torch.OutOfMemoryError("CUDA out of memory")

    engine._load().base.unet.register_forward_pre_hook(full, with_kwargs=True)
    requests = [ask("text", seed) for seed in range(7)]
    replies = answered(engine, requests)
    assert {drawn(each).about["batch"] for each in replies.values()} == {2}
    assert replies == answered(opened(known["plain"], batch=2), requests)
    tight = opened(known["plain"], batch=1)
    tight._load().base.unet.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    with pytest.raises(EngineError, match="no room on the GPU for a picture of 64 × 48; give a smaller --size"):
        list(tight.generate(requests[:1]))


def test_a_reply_is_kept_before_it_is_yielded_and_draining_ends_between_batches(known: dict[str, str]) -> None:
    kept: list[Reply] = []
    engine = opened(known["plain"], batch=2)
    replies = engine.generate((ask("text", seed) for seed in range(9)), lambda _, reply: kept.append(reply))
    first = next(replies)
    assert kept == [first]
    threading.Thread(target=engine.drain).start()
    assert [first, *replies] == kept and len(kept) == 2


def test_no_more_requests_are_drawn_ahead_than_may_wait(known: dict[str, str]) -> None:
    for concurrency, batch in ((1, 4), (3, 2), (16, 2)):
        out = most = 0

        def source() -> Iterator[Request]:
            nonlocal out, most
            for seed in range(12):
                out += 1
                most = max(most, out)
                yield ask("text", seed, steps=1 + seed % 3)

        for _ in opened(known["plain"], concurrency=concurrency, batch=batch).generate(source()):
            out -= 1
        assert most <= 2 * concurrency, "a worker is given no more before it has answered"


def test_weights_are_loaded_once_for_all_kinds_and_let_go(known: dict[str, str]) -> None:
    engine = opened(known["sd"])
    assert engine._loaded is None
    before = answered(engine, [ask(kind, 1) for kind in KINDS["sd"]])
    pipes = engine._load()._pipes.values()
    assert (
        len(pipes) == 4 and len({id(each.unet) for each in pipes}) == 1 and len({id(each.vae) for each in pipes}) == 1
    )
    engine.release()
    assert engine._loaded is None
    assert answered(engine, [ask(kind, 1) for kind in KINDS["sd"]]) == before


def test_parents_of_any_shape_come_back_in_it(known: dict[str, str]) -> None:
    for size in ((16, 100), (100, 99), PARENT):
        canvas = canvas_for(*size, longest=64)
        name = pictures().add(Image.effect_noise(size, 60).convert("RGB"))
        for model, kind in (("sd", "image"), ("instruct", "instruct"), ("z", "image"), ("klein", "inpaint")):
            more = {"mask": pictures().add(Image.new("RGB", size, "white"))} if kind == "inpaint" else {}
            request = ask(kind, 1, image=name, width=canvas.width, height=canvas.height, **more)
            (reply,) = opened(known[model]).generate([request])
            assert decode(reply.picture).size == canvas.inner
