"""The engine `openai` asks a real vLLM: its decoder, seeds, adapters, limits and its death.

Skipped where AUGMENT_VLLM_PYTHON does not name the python of an environment with vLLM. The model is tiny and its
weights are random, but it ends its strings and its answers, so that both whole and cut answers come back.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from augment.engines import EngineOptions
from augment.engines.openai import OpenAI
from augment.generators.prompt import TEXT
from augment.records import Reply, Request
from finetune import adapters
from finetune.export import export
from tests.finetune.bases import save_base
from tests.finetune.models import train
from tests.vllm_server import Serving, environment

ROOT = Path(__file__).parent.parent
VLLM = os.environ.get("AUGMENT_VLLM_PYTHON")
CONTEXT = 4096
CHAT = {"handler": "/v1/chat/completions"}
pytestmark = pytest.mark.skipif(not VLLM, reason="AUGMENT_VLLM_PYTHON names no environment with vLLM")


def save_talker(folder: Path) -> Path:
    """A base that closes a string after about 12 tokens, or escapes something in it, and ends an answer after about 30.

    The first dimension of its hidden state is all but constant: what the head makes of it is a token's bias.
    """
    save_base(folder, head_dim=32, tie_word_embeddings=False, max_position_embeddings=CONTEXT)  # 16: not on a CPU
    words = PreTrainedTokenizerFast.from_pretrained(folder)
    model = Qwen3ForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 1.0  # 7.7 once normalised; the others have a deviation of 0.3
        model.lm_head.weight *= 10.0  # some tokens are likelier than others, and which ones hangs on the context
        model.lm_head.weight[:, 0] = 0.0
        model.lm_head.weight[words.convert_tokens_to_ids('"'), 0] = 0.83
        model.lm_head.weight[words.convert_tokens_to_ids("\\"), 0] = 0.83  # an escape follows
        model.lm_head.weight[words.convert_tokens_to_ids("<|im_end|>"), 0] = 0.71
    model.generation_config.eos_token_id = words.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server of the talker, "base", and of an adapter of ours on it, "mine"."""
    assert VLLM
    folder = tmp_path_factory.mktemp("vllm")
    base = save_talker(folder / "base")
    adapter = adapters.TABLE.load("nlora")(rank=6, alpha=9)
    train(adapter.attach(Qwen3ForCausalLM.from_pretrained(base)), lr=1e-3).save_pretrained(folder / "saved")
    export(folder / "saved", folder / "mine")
    # In chunks, a prompt with a seed ends vLLM on CPU (0.32: CPU Generator does not use offset).
    flags = ["--max-model-len", str(CONTEXT), "--max-num-batched-tokens", str(CONTEXT), "--no-enable-chunked-prefill"]
    flags += ["--enable-lora", "--max-lora-rank", "16", "--lora-modules", f"mine={folder / 'mine'}"]
    made = Serving(VLLM, base, environment(folder), folder, tuple(flags))
    made.start()
    try:
        made.ready()
        yield made
    finally:
        made.kill()


def chats(count: int, schema: dict[str, Any] | None = None, **more: Any) -> list[Request]:
    """Different requests, each with a seed of its own."""
    asked = [(("system", "你是一名医生。"), ("user", f"{n}点了还睡不着，怎么办？")) for n in range(count)]
    return [
        Request(f"r{n}", "g", 0, each, "t@1", n, **{"schema": schema, "max_tokens": 200, **more})
        for n, each in enumerate(asked)
    ]


def answers(server: Serving, requests: list[Request], model: str = "base", concurrency: int = 32) -> list[Reply]:
    """The replies, in the order of the requests."""
    engine = OpenAI.open(model, EngineOptions(base_url=f"{server.address}/v1", concurrency=concurrency))
    found = {each.key: each for each in engine.generate(requests)}
    assert len(found) == len(requests)
    return [found[each.key] for each in requests]


def asked(server: Serving) -> int:
    """Chats that it was asked for since it was started, refused ones too."""
    return server.counted("http_requests_total", **CHAT)


def flags(server: Serving, model: str = "base", source: str = "sample", **more: object) -> list[str]:
    """What `augment` is told; without filters, for nothing that a random model says gets through them."""
    told = {"generators": "persona", "filters": "none", "n": "1x", "max_attempts": "1x", "max_tokens": 200, **more}
    words = ["text", "--source", source, "--llm", f"openai:{model}", "--base-url", f"{server.address}/v1"]
    for name, value in told.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return words


def accounted(found: dict[str, Any]) -> None:
    """In = kept + rejected + failed, of all and of each generator."""
    rejected = sum(sum(each.values()) for each in found["rejected"].values())
    assert found["candidates"] == found["kept"] + rejected + found["failed"]
    for each in found["per_generator"].values():
        assert each["candidates"] == each.get("kept", 0) + each.get("rejected", 0) + each.get("failed", 0)
    assert found["candidates"] == sum(each["candidates"] for each in found["per_generator"].values())


def test_the_decoder_follows_every_schema_and_escapes_what_must_be(server):
    texts = {"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2}
    scores = {"good": {"type": "boolean"}, "score": {"enum": [-1, 0, 1]}}
    for properties in ({"question": TEXT}, {"questions": texts}, scores, {"question": TEXT, "answer": TEXT}):
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        replies = answers(server, chats(20, schema | {"additionalProperties": False}))
        whole = [json.loads(each.text) for each in replies if each.finish == "stop"]
        assert {each.rung for each in replies} == {"schema"}
        assert len(whole) > 10 and all(list(each) == list(properties) for each in whole)
        assert all(each["score"] in (-1, 0, 1) and each["good"] in (True, False) for each in whole if "score" in each)
        assert all(len(each["questions"]) == 2 for each in whole if "questions" in each)
        said = "".join(text for each in whole for text in each.values() if isinstance(text, str))
        assert ("question" in properties) == any(escaped in said for escaped in '\n\t\\"')


def test_a_run_accounts_for_every_row_and_says_what_held_the_answers(server, augment):
    ran = augment(*flags(server, limit=40, n="2x"))
    assert ran.code == 0, ran.err
    line = re.search(r"^(\d+) candidates = (\d+) kept \+ (\d+) rejected \+ (\d+) failed$", ran.out, re.M)
    assert line, ran.out
    candidates, kept, rejected, failed = map(int, line.groups())
    assert candidates == 80 == kept + rejected + failed and kept > 40
    (run,) = Path("runs").iterdir()
    found = json.loads((run / "summary.json").read_text("utf-8"))
    accounted(found)
    assert found["structured"] == {"schema": 80}
    assert "not the JSON asked for" not in found["rejected"].get("reply", {})
    rows = pl.read_parquet(run / "curated/train.parquet").filter(pl.col("generator") == "persona")
    assert rows.select("engine", "model", "revision").unique().rows() == [("openai", "base", str(server.base))]


def test_the_same_seed_says_the_same_and_another_another(server):
    requests = chats(24, max_tokens=48)
    first = [each.text for each in answers(server, requests)]
    assert len(set(first)) > 20
    assert [each.text for each in answers(server, requests, concurrency=1)] == first, "alone as among others"
    others = answers(server, [replace(each, seed=each.seed + 1000) for each in requests])
    assert sum(other.text != text for other, text in zip(others, first, strict=True)) > 20  # some are very short


def test_an_adapter_is_asked_by_its_name_and_every_row_says_whose_weights(server, augment):
    # not at the same time as the base, which would be given the adapter's weights (vLLM 0.32 on CPU)
    requests = chats(4, temperature=0.0, max_tokens=24)
    said = {model: [each.text for each in answers(server, requests, model)] for model in ("base", "mine")}
    assert said["base"] != said["mine"]
    assert augment(*flags(server, limit=10, out="base")).code == 0
    ran = augment(*flags(server, "mine", limit=10, out="mine", json=True))
    assert json.loads(ran.out)["requests_sent"] == 10, "the base's replies are not the adapter's"
    rows = pl.read_parquet("mine/curated/train.parquet").filter(pl.col("generator") == "persona")
    assert rows.select("model", "revision").unique().rows() == [("mine", str(server.folder / "mine"))]


def test_a_model_that_is_not_served_is_one_line_and_writes_nothing(server, augment, place):
    before = asked(server)
    ran = augment(*flags(server, "nobody"))
    assert ran.code == 2 and ran.out == ""
    assert ran.err.strip().endswith("/v1 does not serve 'nobody'; it serves: base, mine")
    assert len(ran.err.strip().splitlines()) == 1
    assert not list(place.rglob("*.parquet")) and not (place / "runs").exists()
    assert asked(server) == before


def test_a_prompt_longer_than_the_context_costs_its_row_alone(server, augment, place):
    texts = [f"第{n}天还是咳嗽，要去医院吗？" for n in range(9)] + ["咳嗽，睡不着，头也疼。" * CONTEXT]
    (place / "rows.jsonl").write_text("\n".join(json.dumps({"question": each}) for each in texts), "utf-8")
    ran = augment(*flags(server, source="rows.jsonl", holdout="0%", out="r", json=True))
    found = json.loads(ran.out)
    accounted(found)
    assert (found["candidates"], found["failed"]) == (10, 1)
    lost = pl.read_parquet("r/rejected.parquet").filter(pl.col("dropped_by") == "engine")
    assert lost["reason"].to_list() == ["HTTP 400"]
    assert "maximum context length" in lost["detail"][0] and str(CONTEXT) in lost["detail"][0]


def test_answers_that_were_cut_off_are_no_data_and_a_higher_limit_asks_those_again_alone(server, augment):
    before = asked(server)
    first = json.loads(augment(*flags(server, limit=40, max_tokens=16, out="short", json=True)).out)
    cut = first["rejected"]["reply"]["truncated"]
    assert 5 < cut < 40 and asked(server) - before == 40
    accounted(first)
    for out in ("long", "again"):
        before = asked(server)
        found = json.loads(augment(*flags(server, limit=40, max_tokens=400, out=out, json=True)).out)
        assert found["requests_sent"] == asked(server) - before == cut, out
        assert found["replies_reused"] == 40 - cut
        accounted(found)
        cut = 0
    assert found["kept"] > first["kept"]


@pytest.mark.skipif("AUGMENT_CHBENCH_DIR" not in os.environ, reason="AUGMENT_CHBENCH_DIR is not set")
def test_the_generators_that_suit_chbench_account_for_every_row(server, augment):
    told = {"generators": "auto", "filters": "default", "n": "6x", "limit": 24, "max_tokens": 48}
    ran = augment(*flags(server, source="chbench", **told, json=True))
    found = json.loads(ran.out)
    accounted(found)
    assert found["rows_in"] == found["seeds"] + found["exam"] + found["source_rejected"] + found["unused"]
    assert found["candidates"] == 24 * 6 and found["failed"] == 0
    assert set(found["per_generator"]) == {"paraphrase", "persona", "answer", "evolve", "backtranslate"}


def test_a_server_that_is_killed_and_comes_back_is_asked_for_nothing_twice(server, place):
    """The run waits for it and ends whole; and one that is stopped meanwhile goes on from what it has."""
    command = [sys.executable, "-m", "augment", *flags(server, n="2x", concurrency=8)]
    runs = {}
    for name in ("waits", "stops"):
        home = {**os.environ, "AUGMENT_HOME": str(place / name), "PYTHONPATH": str(ROOT)}
        runs[name] = [*command, "--out", name], home
    total = 128 * 2
    going = {name: start(*each) for name, each in runs.items()}
    until(lambda: all(stored(place / name) >= 20 for name in runs))
    server.kill()
    known = {name: stored(place / name) for name in runs}
    assert all(20 <= each < total for each in known.values())
    going["stops"].send_signal(signal.SIGTERM)
    server.start()
    _, err = going["stops"].communicate(timeout=120)
    assert going["stops"].returncode == 130, err
    reused = {"waits": 0, "stops": stored(place / "stops")}
    server.ready()
    going["stops"] = start(*runs["stops"])
    for name, process in going.items():
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found = json.loads((place / name / "summary.json").read_text("utf-8"))
        accounted(found)
        assert (found["candidates"], found["failed"], found["replies_reused"]) == (total, 0, reused[name])
        assert found["requests_sent"] == total - reused[name]
        assert stored(place / name) == total
    assert asked(server) <= 2 * total - sum(known.values()), "what was known at the kill is not asked for again"


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stored(home: Path) -> int:
    """Replies in the store of a run that may be going on."""
    if not (home / "replies.sqlite").is_file():
        return 0
    with closing(sqlite3.connect(f"file:{home / 'replies.sqlite'}?mode=ro", uri=True)) as db:
        try:
            count: int = db.execute("select count(*) from replies").fetchone()[0]
        except sqlite3.OperationalError:  # not made yet
            return 0
    return count
