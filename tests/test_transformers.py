"""The `transformers` engine on a tiny model: what is drawn depends on the request alone, and every reply is accounted for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from augment.engines import EngineOptions, open_engine
from augment.engines.transformers import Transformers
from augment.errors import FinetuneError
from augment.records import Request
from augment.sources import open_source
from finetune import adapters
from tests.finetune.bases import save_base
from tests.finetune.greedy import load
from tests.finetune.models import train

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("models") / "base", initializer_range=0.3, max_position_embeddings=256)


def asked(count: int = 10, **changes) -> list[Request]:
    prompts = open_source("sample").seeds["prompt"].to_list()
    settings = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 20, **changes}
    return [Request(f"r{n}", "g", 0, (("user", prompts[n]),), "t@1", seed=n, **settings) for n in range(count)]


def answered(base: Path, requests: list[Request], concurrency: int = 64) -> dict[str, str]:
    engine = open_engine(f"transformers:{base}", EngineOptions(concurrency=concurrency))
    return {reply.key: reply.text for reply in engine.generate(iter(requests))}


def test_greedy_answers_are_the_models_own(base):
    request = asked(1)[0]
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    messages = [{"role": role, "content": content} for role, content in request.messages]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        for _ in range(20):
            following = model(ids).logits[0, -1].argmax()
            ids = torch.cat([ids, following.view(1, 1)], dim=1)
    said = tokenizer.decode(ids[0, -20:], skip_special_tokens=True).strip()
    assert answered(base, [request])[request.key] == said != ""


def test_a_long_question_beside_it_takes_no_room_from_an_answer(base):
    short, long = asked(2, max_tokens=200)
    long = dataclasses.replace(long, messages=(("user", "头疼怎么办？" * 24),))
    engine = open_engine(f"transformers:{base}", EngineOptions(concurrency=2))
    found = {reply.key: reply for reply in engine.generate([short, long])}
    lone = next(iter(engine.generate([short])))
    assert found[short.key] == lone and 0 < found[long.key].tokens_out < 200
    assert found[long.key].tokens_in + found[long.key].tokens_out <= 256


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_an_answer_is_the_same_whatever_it_is_batched_with(base, temperature):
    requests = asked(temperature=temperature, top_p=0.9)
    whole = answered(base, requests)
    assert answered(base, requests, concurrency=3) == whole
    assert answered(base, list(reversed(requests)), concurrency=1) == whole
    assert len(set(whole.values())) > 7


def test_the_seed_decides_what_is_drawn(base):
    request = asked(1, temperature=1.0)[0]
    others = [dataclasses.replace(request, seed=seed) for seed in range(8)]
    assert len(set(answered(base, others).values())) == 8
    cold = [dataclasses.replace(each, temperature=0.0) for each in others]
    assert len(set(answered(base, cold).values())) == 1


def test_draws_follow_the_models_distribution_and_keep_to_the_nucleus(base):
    request = asked(1, temperature=0.7, max_tokens=1)[0]
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": request.messages[0][1]}], tokenize=False, add_generation_prompt=True
    )
    with torch.no_grad():
        logits = model(tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]).logits[0, -1]
    chance = (logits / 0.7).softmax(-1)
    best = chance.topk(3)
    narrow = float(best.values[:2].sum()) - 1e-4  # a nucleus of exactly the two likeliest tokens
    requests = [dataclasses.replace(request, seed=seed, top_p=narrow) for seed in range(1500)]
    engine = Transformers.open(str(base), EngineOptions(concurrency=500))
    counts: dict[str, int] = {}
    for reply in engine.generate(requests):
        counts[reply.text] = counts.get(reply.text, 0) + 1
    words = [tokenizer.decode([int(token)], skip_special_tokens=True).strip() for token in best.indices]
    assert set(counts) == set(words[:2])
    share = float(best.values[0] / best.values[:2].sum())
    assert counts[words[0]] / 1500 == pytest.approx(share, abs=4 * (share * (1 - share) / 1500) ** 0.5)


def test_a_cut_off_answer_says_so_and_tokens_are_counted(base):
    requests = asked(4, max_tokens=7)
    engine = open_engine(f"transformers:{base}", EngineOptions())
    for reply in engine.generate(requests):
        assert (reply.finish, reply.tokens_out) == ("length", 7)
        assert reply.tokens_in > 10


def test_an_answer_ends_where_the_template_ends_a_turn(base, tmp_path):
    """A model made to close its turn at once: nothing is said, and that is a finished answer."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    end, last = tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer("assistant\n")["input_ids"][-1]
    assert end not in (tokenizer.eos_token_id, model.generation_config.eos_token_id)
    with torch.no_grad():
        for layer in model.model.layers:  # what comes out is what goes in: the last token of the prompt
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        words = model.get_input_embeddings().weight
        words[end] = 10 * words[last]
    model.save_pretrained(tmp_path / "mute")
    tokenizer.save_pretrained(tmp_path / "mute")
    reply = next(open_engine(f"transformers:{tmp_path / 'mute'}", EngineOptions()).generate(asked(1)))
    assert (reply.text, reply.finish, reply.tokens_out) == ("", "stop", 0)


def test_a_prompt_that_is_too_long_costs_its_row_only(base):
    requests = asked(3)
    long = dataclasses.replace(requests[1], messages=(("user", "头疼" * 400),))
    found = {
        reply.key: reply
        for reply in open_engine(f"transformers:{base}", EngineOptions()).generate([requests[0], long, requests[2]])
    }
    assert len(found) == 3
    assert found[long.key].error is not None and "the model sees 256" in found[long.key].error
    assert all(found[each.key].error is None for each in (requests[0], requests[2]))


def test_replies_are_kept_before_they_are_used_and_draining_ends_after_a_batch(base):
    engine = open_engine(f"transformers:{base}", EngineOptions(concurrency=4))
    kept: list[str] = []
    seen = []
    for reply in engine.generate(asked(10), lambda _, reply: kept.append(reply.key)):
        assert reply.key in kept
        seen.append(reply.key)
        engine.drain()
    assert len(seen) == 4


def test_the_revision_is_of_the_weights_wherever_they_lie(base, tmp_path):
    import shutil

    moved = tmp_path / "base"
    shutil.copytree(base, moved)
    first, second = (Transformers.open(str(folder), EngineOptions()) for folder in (base, moved))
    assert (first.model, first.revision) == (second.model, second.revision) == ("base", first.revision)
    other = Transformers.open(str(save_base(tmp_path / "other" / "base", initializer_range=0.2)), EngineOptions())
    assert other.model == "base" and other.revision != first.revision


def test_a_run_is_augmented_with_it(augment, base, place):
    ran = augment(
        "text",
        "--source",
        "sample",
        "--n",
        "1x",
        "--limit",
        6,
        "--llm",
        f"transformers:{base}",
        "--generators",
        "paraphrase",
        "--max-tokens",
        30,
        "--max-attempts",
        "1x",
        "--json",
    )
    import json

    counts = json.loads(ran.out)
    assert (
        counts["requests_sent"]
        == 6
        == counts["kept"] + counts["failed"] + sum(sum(each.values()) for each in counts["rejected"].values())
    )


def test_no_such_model_is_one_line():
    with pytest.raises(FinetuneError, match="no model folder /nowhere"):
        open_engine("transformers:/nowhere", EngineOptions())


def test_an_adapter_is_named_after_its_model(base, tmp_path):
    adapter = adapters.TABLE.load("lora")(rank=4, alpha=8)
    train(adapter.attach(load(base)), lr=1e-2).save_pretrained(tmp_path / "mine")
    named = open_engine(f"transformers:{base}+{tmp_path / 'mine'}", EngineOptions())
    given = Transformers.open(str(base), EngineOptions(), tmp_path / "mine")
    assert (named.model, named.revision) == (given.model, given.revision) == ("base+mine", given.revision)
    requests = asked(3)
    said = [[reply.text for reply in engine.generate(requests)] for engine in (named, given)]
    assert said[0] == said[1] != [answered(base, requests)[each.key] for each in requests]
