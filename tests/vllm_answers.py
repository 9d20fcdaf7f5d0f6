"""What the engine `vllm` does, seen from inside: run by the python of an environment with vLLM, as a module.

One process, for vLLM takes 25 s to start. Reads a job as JSON from stdin: `base`, `adapter` and `native` (adapters of
it), `odd` (a model that vLLM's CPU attention cannot run) and `out`, where what was seen is written as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from augment.engines import EngineOptions, open_engine
from augment.engines.prompts import prompt_ids
from augment.engines.vllm import Vllm
from augment.errors import AugmentError
from augment.records import Reply, Request
from augment.sources import open_source

SLOTS = 4
SCHEMA = {
    "type": "object",
    "properties": {"said": {"type": "string", "minLength": 1, "maxLength": 9}, "kind": {"enum": ["a", "b"]}},
    "required": ["said", "kind"],
    "additionalProperties": False,
}
UNSUPPORTED = {"type": "object", "properties": {"said": {"type": "number", "multipleOf": 3}}}


def chats(count: int, **settings) -> list[Request]:
    asked = open_source("sample").seeds["prompt"].to_list()[:count]
    settings = {"max_tokens": 24, **settings}
    return [Request(f"r{n}", "g", 0, (("user", text),), "t@1", seed=n, **settings) for n, text in enumerate(asked)]


def told(replies: Iterable[Reply]) -> list[dict]:
    names = ("key", "text", "finish", "tokens_in", "tokens_out", "error", "rung")
    return [{name: getattr(each, name) for name in names} for each in replies]


def mixed() -> list[Request]:
    """Of every kind, more than there are slots."""
    long = Request("long", "g", 0, (("user", "头疼" * 4000),), "t@1", seed=1)
    seen = Request("seen", "g", 0, (("user", "这是什么？"),), "t@1", seed=1, pictures=("00",))
    held = chats(6, schema=SCHEMA, max_tokens=200)
    return [*chats(10), long, *held, seen, *chats(3, schema=UNSUPPORTED), *chats(4, temperature=0.0)]


def answered(engine: Vllm, requests: list[Request]) -> dict:
    """Replies, how far ahead was drawn, and how many were yielded before they were kept."""
    drawn, kept, early, ahead, found = [0], set(), 0, 0, []

    def source() -> Iterator[Request]:
        nonlocal ahead
        for each in requests:
            drawn[0] += 1
            ahead = max(ahead, drawn[0] - len(found))
            yield each

    for reply in engine.generate(source(), lambda _, reply: kept.add(reply.key)):
        early += reply.key not in kept
        found.append(reply)
    return {"asked": [each.key for each in requests], "replies": told(found), "ahead": ahead, "early": early}


def paused(engine: Vllm) -> list[int]:
    """How many replies there were when each request was drawn, with a pause after every two."""
    seen, replies = [], 0

    def source() -> Iterator[Request | None]:
        for place, each in enumerate(chats(8)):
            seen.append(replies)
            yield each
            if place % 2:
                yield None

    for _ in engine.generate(source()):
        replies += 1
    return seen


def near(engine: Vllm) -> Request:
    """A prompt that leaves room for fewer than 60 tokens, and asks for more."""
    words = [Request("near", "g", 0, (("user", "头疼" * n),), "t@1", seed=5, max_tokens=1000) for n in range(3000)]
    counts = [len(prompt_ids(words[n], engine._loaded.tokenizer, told=False)) for n in (100, 200)]
    return words[100 + (4060 - counts[0]) * 100 // (counts[1] - counts[0])]


def main() -> None:
    job = json.load(sys.stdin)
    engine = open_engine(f"vllm:{job['base']}", EngineOptions(concurrency=SLOTS))
    seen: dict = {"who": [engine.name, engine.model, engine.revision]}
    assert list(engine.generate([])) == [] and engine._loaded is None, "nobody asked, and the weights were loaded"
    seen["mixed"] = answered(engine, mixed())
    seen["again"] = answered(engine, mixed()[::-1])
    slow = chats(1, max_tokens=300)
    seen["slow"] = answered(engine, [*slow, *chats(31)[1:]])
    full = [
        Request(f"f{n}", "g", 0, (("user", f"{n}" + "头疼" * 1500),), "t@1", seed=n, max_tokens=4) for n in range(6)
    ]
    seen["full"] = answered(engine, full)
    seen["near"] = answered(engine, [near(engine)])
    seen["paused"] = paused(engine)
    abandoned = engine.generate(iter(chats(20, max_tokens=100)))
    next(abandoned)
    abandoned.close()
    seen["after"] = answered(engine, chats(4, temperature=0.0))
    replies = []
    for reply in engine.generate(iter(chats(30))):
        replies.append(reply)
        engine.drain()
    seen["drained"] = told([*replies, *engine.generate(iter(chats(2)))])
    engine.release()

    for name, spec in {
        "adapter": f"{job['base']}+{job['adapter']}",
        "native": f"{job['base']}+{job['native']}",
    }.items():
        adapted = open_engine(f"vllm:{spec}", EngineOptions(concurrency=SLOTS))
        seen[name] = {"who": [adapted.model, adapted.revision]}
        if name == "adapter":
            seen[name] |= answered(adapted, chats(4, temperature=0.0))
            adapted.release()

    specs = ["/nowhere", f"{job['base']}+/nowhere", f"{job['base']}+{job['bare']}", f"{job['odd']}+{job['adapter']}"]
    errors = []
    for spec in [*specs, job["odd"]]:
        try:
            list(open_engine(f"vllm:{spec}", EngineOptions()).generate(chats(2)))
        except AugmentError as error:
            errors.append([type(error).__name__, str(error)])
    seen["errors"] = errors
    Path(job["out"]).write_text(json.dumps(seen), "utf-8")


if __name__ == "__main__":
    main()
