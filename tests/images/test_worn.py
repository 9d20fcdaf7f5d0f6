"""What a model wears for some drawings changes those, and no others by a pixel."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from augment.errors import EngineError
from augment.images.drawn import drawn
from augment.images.subjects import WEIGHTS
from tests.images import models
from tests.images.asking import answered, ask, make, opened, pixels

torch.set_num_threads(1)

LORA, TOKENS = WEIGHTS["dreambooth-lora"], WEIGHTS["textual-inversion"]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def _place(place: Path) -> None:
    """A picture store of its own for each test."""


def save_lora(folder: Path, model: str, seed: int) -> tuple[str, str]:
    """A LoRA of a model's attention with random weights, as diffusers writes one; its digest and folder."""
    pipe = DiffusionPipeline.from_pretrained(model)
    part = "unet" if hasattr(pipe, "unet") else "transformer"
    network = getattr(pipe, part)
    torch.manual_seed(seed)
    network.add_adapter(LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    weights = {name: value * 3 for name, value in get_peft_model_state_dict(network).items()}
    pipe.save_lora_weights(folder, **{f"{part}_lora_layers": weights})
    return hashlib.blake2b((folder / LORA).read_bytes(), digest_size=16).hexdigest(), str(folder)


def save_tokens(folder: Path, token: str, seed: int) -> tuple[str, str]:
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    save_file({token: torch.randn(models.WIDTH) * 5}, folder / TOKENS)
    return hashlib.blake2b((folder / TOKENS).read_bytes(), digest_size=16).hexdigest(), str(folder)


@pytest.mark.parametrize("model", ["plain", "z", "klein"])
def test_lora_is_worn_by_those_that_name_it(known: dict[str, str], tmp_path: Path, model: str) -> None:
    one, two = (save_lora(tmp_path / str(seed), known[model], seed) for seed in (1, 2))
    wearing = [(), (one[0],), (two[0],), (one[0], two[0])]
    kind = "text" if model == "klein" else "image"
    requests = [ask(kind, seed, adapters=each) for seed in range(2) for each in wearing]
    more = {"adapters": (one, two), "batch": 2}
    engine = opened(known[model], **more, concurrency=4)
    mixed = answered(engine, requests)
    assert answered(engine, requests[::-1]) == mixed  # now some without come after some with
    assert len({drawn(each).pixels for each in mixed.values()}) == len(requests)
    plain = [each for each in requests if not each.drawing.adapters]
    assert answered(opened(known[model], batch=2), plain).items() <= mixed.items()
    for each in wearing:  # whatever was worn before
        alone = answered(opened(known[model], **more), [r for r in requests if r.drawing.adapters == each])
        assert alone.items() <= mixed.items()


def test_a_learned_word_means_something_to_those_that_name_it(known: dict[str, str], tmp_path: Path) -> None:
    one, two = (save_tokens(tmp_path / str(seed), f"<thing{seed}>", seed) for seed in (1, 2))
    prompt = "a photo of <thing1> and <thing2>"
    wearing = [(), (one[0],), (two[0],), (one[0], two[0])]
    requests = [ask("text", seed, prompt=prompt, adapters=each) for seed in range(2) for each in wearing]
    requests += [ask("image", seed, prompt=prompt) for seed in range(2)]
    more = {"adapters": (one, two), "batch": 2}
    engine = opened(known["sd"], **more, concurrency=4)
    mixed = answered(engine, requests)
    assert answered(engine, requests[::-1]) == mixed
    assert len({drawn(each).pixels for each in mixed.values()}) == len(requests)
    plain = [each for each in requests if not each.drawing.adapters]
    assert answered(opened(known["sd"], batch=2), plain).items() <= mixed.items()
    for each in wearing[1:]:
        alone = answered(opened(known["sd"], **more), [r for r in requests if r.drawing.adapters == each])
        assert alone.items() <= mixed.items()


def test_lora_words_and_a_reference_are_worn_together(known: dict[str, str], tmp_path: Path) -> None:
    lora, word = save_lora(tmp_path / "l", known["plain"], 1), save_tokens(tmp_path / "w", "<it>", 2)
    both = (lora[0], word[0])
    kinds = ("text", "reference", "control", "inpaint")
    requests = [ask(kind, 1, prompt="a photo of <it>", adapters=each) for each in ((), both) for kind in kinds]
    mixed = answered(opened(known["sd"], adapters=(lora, word)), requests)
    assert len({drawn(each).pixels for each in mixed.values()}) == 8
    for request in requests:
        used = (lora, word) if request.drawing.adapters else ()
        assert answered(opened(known["sd"], adapters=used), [request]).items() <= mixed.items()


def test_what_does_not_fit_is_one_line(known: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "other"
    lora = save_lora(folder, known["z"], 1)
    word = save_tokens(tmp_path / "w", "<it>", 2)
    (tmp_path / "empty").mkdir()
    empty = "e" * 32, str(tmp_path / "empty")
    for model, adapter in (("plain", lora), ("klein", word), ("plain", empty)):
        with pytest.raises(
            EngineError, match="the adapters cannot be worn: .*; give those that were trained for this model"
        ) as told:
            list(opened(known[model], adapters=(adapter,)).generate([ask("text", 1, adapters=(adapter[0],))]))
        assert "\n" not in str(told.value), told.value


def test_an_adapter_is_strong_enough_to_see(known: dict[str, str], tmp_path: Path) -> None:
    """The tests above would hold for adapters that change a single pixel; these change much."""
    lora = save_lora(tmp_path / "l", known["plain"], 1)
    plain, worn = answered(
        opened(known["plain"], adapters=(lora,)), [ask("text", 1), ask("text", 1, adapters=(lora[0],))]
    ).values()
    assert np.abs(pixels(plain) - pixels(worn)).mean() > 5
