"""From training to serving: a saved adapter, its export and its merge give the same greedy answers.

In processes of their own: our package on the saved folder, stock PEFT on the export, and, where AUGMENT_VLLM_PYTHON is
the python of an environment with vLLM, vLLM and its OpenAI-compatible server on the export.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from finetune import adapters
from finetune.export import export, merge
from tests.finetune.bases import tokenizer
from tests.finetune.greedy import TOKENS, Said, answer, load
from tests.finetune.models import SIZES, run, train
from tests.vllm_server import environment, served

VLLM = os.environ.get("AUGMENT_VLLM_PYTHON")
with_vllm = pytest.mark.skipif(not VLLM, reason="AUGMENT_VLLM_PYTHON names no environment with vLLM")

TIE = 1e-3
"""Two logits this close are a tie: rounding (1e-5 here, where logits spread over 10) may put either one first."""
PROMPTS = ("How long does a cough last?", "Is 150/95 too high?", "失眠怎么办", "I can't sleep.")
PATTERNS = {"rslora": True, "rank_pattern": {"k_proj": 4}, "alpha_pattern": {"up_proj": 3}}
FORMS: Mapping[str, tuple[str, float, Mapping[str, object]]] = {
    # the adapter, its learning rate, its options over rank 6 and alpha 9
    "lora": ("lora", 1e-2, {}),
    "lora-patterns": ("lora", 1e-2, PATTERNS),
    "lora-q-down": ("lora", 1e-2, {"targets": ("q_proj", "down_proj")}),  # vLLM packs q with k and v
    "pissa": ("pissa", 3e-3, {}),
    "pissa-20": ("pissa", 3e-3, {"rank": 20}),
    "slora": ("slora", 1e-2, PATTERNS),
    "nlora": ("nlora", 3e-3, {}),
    "nlora-patterns": ("nlora", 3e-3, PATTERNS),
    "nlora-pinv": ("nlora", 3e-3, {"core": "pinv"}),
    "nlora-copy": ("nlora", 3e-3, {"core": "copy"}),
    "nlora-released": ("nlora", 3e-3, {"core": "copy", "anchored": False}),
    "inttune": ("inttune", 3e-2, {}),
    "inttune-svd": ("inttune", 3e-2, {"bases": "svd"}),
    "inttune-released": ("inttune", 3e-2, {"anchored": False}),
}


@dataclass(frozen=True)
class Trained:
    """A base model, and each form's folders in `saved`, `exported` and `merged`; what base and merges say to `prompts`,
    by transformers."""

    place: Path
    words: PreTrainedTokenizerFast
    prompts: list[list[int]]
    said: Mapping[str, list[Said]]

    @property
    def exports(self) -> dict[str, str]:
        return {form: str(self.place / "exported" / form) for form in FORMS}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("served")
    base, words = place / "base", tokenizer(512)
    words.save_pretrained(base)
    shape = {**SIZES, "vocab_size": len(words), "head_dim": 32, "max_position_embeddings": 256}
    torch.manual_seed(0)
    Qwen3ForCausalLM(Qwen3Config(**shape, initializer_range=0.2)).save_pretrained(base)  # large: few ties
    prompts = [words(text)["input_ids"] for text in PROMPTS]
    said = {"base": [answer(load(base), prompt) for prompt in prompts]}
    for form, (name, lr, options) in FORMS.items():
        saved, exported, merged = (place / what / form for what in ("saved", "exported", "merged"))
        adapter = adapters.TABLE.load(name)(**{"rank": 6, "alpha": 9, **options})
        train(adapter.attach(load(base)), lr=lr).save_pretrained(saved)
        export(saved, exported)
        merge(saved, merged)
        whole = load(merged)
        said[form] = [answer(whole, prompt) for prompt in prompts]
    return Trained(place, words, prompts, said)


def agree(found: Mapping[str, Sequence[Sequence[Any]]], said: Mapping[str, Sequence[Said]]) -> None:
    """The same tokens with the same probabilities, up to the first tie of each answer; there are few."""
    assert found.keys() == said.keys()
    compared = whole = 0
    for form, answers in said.items():
        for (tokens, logprobs, *_), own in zip(found[form], answers, strict=True):
            until = next((place for place, margin in enumerate(own.margins) if margin < TIE), TOKENS)
            assert (form, tokens[:until]) == (form, own.tokens[:until])
            assert logprobs[:until] == pytest.approx(own.logprobs[:until], abs=TIE), form
            compared, whole = compared + until, whole + TOKENS
    assert compared > 0.9 * whole


def test_training_makes_each_adapter_say_something_of_its_own(trained):
    for place in range(len(PROMPTS)):
        own = [said[place].tokens for form, said in trained.said.items() if form != "base"]
        assert trained.said["base"][place].tokens not in own
    assert len({str([each.tokens for each in said]) for said in trained.said.values()}) == 1 + len(FORMS)


@pytest.mark.parametrize(("what", "stock"), [("saved", False), ("exported", True)])
def test_a_fresh_process_says_what_the_merged_model_says(what, stock, trained, tmp_path):
    out = tmp_path / "said.json"
    done = run(
        f"""
import json
from pathlib import Path
from peft import PeftModel
from tests.finetune.greedy import answer, load
if not {stock}:
    import finetune.adapters.tuner
place, said = Path({str(trained.place)!r}), {{}}
for folder in (place / {what!r}).iterdir():
    model = PeftModel.from_pretrained(load(place / "base"), folder).eval()
    assert (type(model.base_model).__name__ == "LoraModel") == {stock}
    said[folder.name] = [answer(model, prompt) for prompt in {trained.prompts!r}]
Path({str(out)!r}).write_text(json.dumps(said), "utf-8")
""",
        stock=stock,
    )
    assert done.returncode == 0, done.stderr
    agree(json.loads(out.read_text("utf-8")), {form: trained.said[form] for form in FORMS})


@with_vllm
def test_vllm_serves_every_export_with_the_merged_models_answers(trained, settings, tmp_path):
    found = vllm(trained.place / "base", trained.exports, trained.prompts, settings, tmp_path)
    agree(found, trained.said)


@with_vllm
def test_vllm_runs_a_merged_model(trained, settings, tmp_path):
    found = vllm(trained.place / "merged/nlora", {}, trained.prompts, settings, tmp_path)
    agree(found, {"base": trained.said["nlora"]})


@with_vllm
def test_the_openai_server_answers_as_the_adapter_that_is_named(trained, settings, tmp_path):
    assert VLLM
    loras = ["--enable-lora", "--max-lora-rank", "16", "--lora-modules", f"nlora={trained.exports['nlora']}"]
    flags = ["--max-model-len", "256", *loras]
    with served(VLLM, trained.place / "base", settings, tmp_path, *flags) as server:
        assert {each["id"] for each in asked(f"{server}/v1/models")["data"]} == {"base", "nlora"}
        greedy = {"temperature": 0, "max_tokens": TOKENS, "ignore_eos": True, "return_token_ids": True}
        found: dict[str, list[tuple[list[int], list[float]]]] = {"base": [], "nlora": []}
        for name, answers in found.items():
            for prompt in trained.prompts:
                body = {"model": name, "prompt": prompt, "logprobs": 1, **greedy}
                choice = asked(f"{server}/v1/completions", body)["choices"][0]
                answers.append((choice["token_ids"], choice["logprobs"]["token_logprobs"]))
        agree(found, {name: trained.said[name] for name in found})

        talk = [{"role": "user", "content": PROMPTS[0]}]
        reply = asked(f"{server}/v1/chat/completions", {"model": "nlora", "messages": talk, "logprobs": True, **greedy})
        choice = reply["choices"][0]
    prompt = trained.words.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
    assert reply["prompt_token_ids"] == prompt
    logprobs = [each["logprob"] for each in choice["logprobs"]["content"]]
    said = [answer(load(trained.place / "merged/nlora"), prompt)]
    agree({"chat": [(choice["token_ids"], logprobs)]}, {"chat": said})
    assert choice["message"]["content"] == trained.words.decode(choice["token_ids"], skip_special_tokens=True)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("vllm"))


def vllm(
    model: Path, loras: Mapping[str, str], prompts: list[list[int]], settings: Mapping[str, str], folder: Path
) -> Any:
    """What an engine on `model` says, by the name of each LoRA, and alone, as "base"."""
    assert VLLM
    out = folder / "said.json"
    job = {"model": str(model), "loras": loras, "rank": 64, "prompts": prompts, "tokens": TOKENS, "out": str(out)}
    done = subprocess.run(
        [VLLM, "-I", Path(__file__).with_name("vllm_greedy.py")],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        cwd=folder,
        env=settings,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return json.loads(out.read_text("utf-8"))


def asked(address: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error}: {error.read().decode()}") from None
