"""The engine `vllm` on a tiny model, in vLLM's own environment: AUGMENT_VLLM_PYTHON is its python.

One process sees all that the engine does; a second runs the command.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from augment.engines import EngineOptions, open_engine
from augment.engines.transformers import Transformers, parted
from augment.errors import RecipeError
from finetune import adapters
from finetune.export import export
from tests.benchmarks.measure import ROOT
from tests.finetune.bases import save_base
from tests.finetune.greedy import load
from tests.finetune.models import train
from tests.vllm_answers import SLOTS, chats, mixed
from tests.vllm_server import environment

VLLM = os.environ.get("AUGMENT_VLLM_PYTHON")
with_vllm = pytest.mark.skipif(not VLLM, reason="AUGMENT_VLLM_PYTHON names no environment with vLLM")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base; an adapter of it as plain LoRA, as it was trained with that beside it, and bare; a model for no CPU."""
    place = tmp_path_factory.mktemp("models")
    shape = {"initializer_range": 0.3, "max_position_embeddings": 4096}
    found = {name: place / name for name in ("base", "adapter", "native", "bare", "odd")}
    save_base(found["base"], head_dim=32, **shape)
    likely(found["base"], '"', 1.5)  # a string in JSON ends after tens of tokens
    save_base(found["odd"], head_dim=20, hidden_size=40, **shape)
    adapter = adapters.TABLE.load("nlora")(rank=6, alpha=9)
    train(adapter.attach(load(found["base"])), lr=1e-2).save_pretrained(found["bare"])
    export(found["bare"], found["adapter"])
    shutil.copytree(found["bare"], found["native"])
    shutil.copytree(found["adapter"], found["native"] / "plain")
    return found


def likely(folder: Path, word: str, factor: float) -> None:
    """Makes a model of random weights say a word more often."""
    model = load(folder)
    (token,) = AutoTokenizer.from_pretrained(folder)(word)["input_ids"]
    with torch.no_grad():
        model.get_input_embeddings().weight[token] *= factor
    model.save_pretrained(folder)


def run(words: list[str], place: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """A module of this checkout, by vLLM's python."""
    assert VLLM
    settings = {**environment(place), "PYTHONPATH": str(ROOT), "AUGMENT_HOME": str(place / "home")}
    command = [VLLM, "-m", *words]
    return subprocess.run(command, cwd=place, env=settings, capture_output=True, text=True, timeout=600, **more)


@pytest.fixture(scope="module")
def seen(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("vllm")
    job = {**{name: str(folder) for name, folder in folders.items()}, "out": str(place / "seen.json")}
    done = run(["tests.vllm_answers"], place, input=json.dumps(job))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    assert done.stdout == "", "vLLM speaks where our own output goes"
    assert " INFO " not in done.stderr
    return json.loads((place / "seen.json").read_text("utf-8"))


def by_key(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["key"]: each for each in found["replies"]}


@with_vllm
def test_every_request_gets_one_reply_that_was_kept_before(seen):
    for name in ("mixed", "again", "slow", "full", "near", "after"):
        found = seen[name]
        assert sorted(each["key"] for each in found["replies"]) == sorted(found["asked"]), name
        assert found["early"] == 0 and 0 < found["ahead"] <= 2 * SLOTS


@with_vllm
def test_what_cannot_be_asked_costs_its_row_only(seen):
    found = by_key(seen["mixed"])
    asked = {each.record: found[each.key] for each in mixed()}
    assert "the model sees 4,096" in asked["long"]["error"]
    assert "does not look at pictures" in asked["seen"]["error"]
    bad = [each for each in found.values() if each["error"] is not None]
    assert len(bad) == 2 and all(each["text"] == "" for each in bad)
    good = [each for each in found.values() if each["error"] is None]
    assert all(each["finish"] in ("stop", "length") and each["tokens_in"] > 5 for each in good)
    assert all(0 < each["tokens_out"] <= 200 for each in good)


@with_vllm
def test_a_schema_holds_the_decoder_or_goes_into_the_prompt(seen):
    found = by_key(seen["mixed"])
    held, told, plain = [], [], []
    for each in mixed():
        if not each.pictures and each.record != "long":
            kind = plain if each.schema is None else told if "multipleOf" in str(each.schema) else held
            kind.append(found[each.key])
    assert [each["rung"] for each in held] == ["schema"] * 6
    assert len({each["text"] for each in held}) > 3
    for each in held:  # of random weights
        read = json.loads(each["text"])
        assert read.keys() == {"said", "kind"} and 1 <= len(read["said"]) <= 9 and read["kind"] in ("a", "b")
    assert [each["rung"] for each in told] == ["prompt"] * 3 and [each["rung"] for each in plain] == [""] * 14
    assert min(each["tokens_in"] for each in told) > max(each["tokens_in"] for each in plain)


@with_vllm
def test_the_same_seed_says_the_same_whatever_it_is_batched_with(seen):
    first, again = by_key(seen["mixed"]), by_key(seen["again"])
    same = [key for key, each in first.items() if each == again[key]]
    assert len(same) >= len(first) - 1  # rounding may turn one
    drawn = [first[each.key]["text"] for each in chats(10)]
    assert len(set(drawn)) == 10


@with_vllm
def test_a_slow_answer_holds_its_own_slot_only(seen):
    order = [each["key"] for each in seen["slow"]["replies"]]
    slow = by_key(seen["slow"])[seen["slow"]["asked"][0]]
    assert slow["tokens_out"] > 250
    assert order.index(slow["key"]) == len(order) - 1


@with_vllm
def test_prompts_that_fill_a_step_are_not_cut(seen):
    """Two of them are more than the 4,096 tokens that a step on the CPU has room for."""
    assert all(each["error"] is None and each["tokens_in"] > 4096 / 2 for each in seen["full"]["replies"])


@with_vllm
def test_an_answer_ends_where_the_context_does(seen):
    (near,) = seen["near"]["replies"]
    assert near["finish"] == "stop" or near["tokens_in"] + near["tokens_out"] == 4096


@with_vllm
def test_a_pause_ends_with_the_next_reply(seen):
    assert seen["paused"][:2] == [0, 0]
    assert all(seen["paused"][place] >= place // 2 for place in range(2, 8))


@with_vllm
def test_draining_ends_after_what_is_in_flight(seen):
    assert 1 <= len(seen["drained"]) <= 2 * SLOTS


def text_of(replies: list[dict[str, Any]]) -> dict[str, str]:
    return {each["key"]: each["text"] for each in replies}


@with_vllm
def test_greedy_answers_are_those_of_transformers_with_and_without_an_adapter(seen, folders):
    requests = chats(4, temperature=0.0)
    said = {}
    for name, adapter in (("after", None), ("adapter", folders["adapter"])):
        engine = Transformers.open(str(folders["base"]), EngineOptions(), adapter)
        own = {reply.key: reply.text for reply in engine.generate(requests)}
        said[name] = text_of(seen[name]["replies"])
        assert sum(said[name][key] == text for key, text in own.items()) >= 3, name  # a tie may turn one
    assert all(said["after"][each.key] != said["adapter"][each.key] for each in requests)


@with_vllm
def test_provenance_is_of_the_files(seen, folders):
    base = Transformers.open(str(folders["base"]), EngineOptions())
    assert seen["who"] == ["vllm", "base", base.revision]
    plain = Transformers.open(str(folders["base"]), EngineOptions(), folders["adapter"])
    assert seen["adapter"]["who"] == ["base+adapter", plain.revision]
    assert seen["native"]["who"] == ["base+native", plain.revision]


@with_vllm
def test_what_cannot_be_used_is_one_line(seen, folders):
    expected = [
        ("FinetuneError", "no model folder /nowhere"),
        ("FinetuneError", "/nowhere is not an adapter"),
        ("EngineError", f"augment adapter export {folders['bare']}"),
        ("FinetuneError", "does not fit"),
        ("EngineError", "vLLM stopped with odd"),
    ]
    assert len(seen["errors"]) == len(expected)
    for (kind, line), (wanted, part) in zip(seen["errors"], expected, strict=True):
        assert kind == wanted and part in line and "\n" not in line


@with_vllm
def test_a_run_is_augmented_with_it(folders, tmp_path):
    words = ["augment", "text", "--source", "sample", "--n", "1x", "--limit", "6", "--llm", f"vllm:{folders['base']}"]
    words += ["--generators", "paraphrase", "--filters", "none", "--max-attempts", "1x", "--concurrency", "3", "--json"]
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout)
    rejected = sum(sum(each.values()) for each in counts["rejected"].values())
    assert counts["kept"] > 0
    assert counts["requests_sent"] == 6 == counts["kept"] + counts["failed"] + rejected
    assert counts["structured"] == {"schema": 6}


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_the_extra_is_named():
    with pytest.raises(RecipeError, match=r"needs vLLM, which is not installed; pip install 'augment\[vllm\]'"):
        open_engine("vllm:owner/name", EngineOptions())


def test_an_adapter_is_told_from_its_base(tmp_path):
    odd, base = tmp_path / "my+lora", tmp_path / "base+it"
    odd.mkdir(), base.mkdir()
    assert parted("owner/name") == ("owner/name", None)
    assert parted(str(base)) == (str(base), None)
    assert parted(f"{base}+{odd}") == (str(base), odd)
    assert parted("owner/name+/nowhere") == ("owner/name", Path("/nowhere"))
