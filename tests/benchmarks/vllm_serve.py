"""What the engine `openai` loses against a real vLLM: `AUGMENT_VLLM_PYTHON=… python -m tests.benchmarks.vllm_serve`.

The same chats are answered by vLLM's OpenAI-compatible server, asked by our engine and by a bare aiohttp client that
keeps as many requests in flight and reads nothing but the number of tokens; in turn, with chats of its own for each
repeat and way, so that no prefix is known from before. Answers have lengths of their own, the same for both. The model
is tiny, so that what surrounds it weighs more than it ever will in use. Needs an environment with vLLM, whose python
AUGMENT_VLLM_PYTHON names.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import aiohttp
import orjson

from augment.engines import EngineOptions
from augment.engines.openai import OpenAI
from augment.records import Request
from tests.benchmarks.measure import Result, arguments, median, workplace
from tests.finetune.bases import save_base
from tests.vllm_server import environment, served

TARGET = 0.95
Way = Callable[[Sequence[Request]], list[int]]
"""Answers all of the requests; the tokens of each answer."""


def chats(count: int, turn: int) -> list[Request]:
    """Chats that differ from the first words on, each with a limit of its own for its answer: 20 to 120 tokens."""
    rng = random.Random(7)
    return [
        Request(
            f"r{n}",
            f"t{turn}",
            0,
            (("system", f"{turn}-{n}：你是一名医生。"), ("user", f"晚上{n}点了还睡不着，第二天总是头疼，该怎么办？")),
            "t@1",
            n,
            max_tokens=rng.randint(20, 120),
        )
        for n in range(count)
    ]


def through(engine: OpenAI) -> Way:
    """Our engine."""

    def answer(requests: Sequence[Request]) -> list[int]:
        found = {each.key: each for each in engine.generate(iter(requests)) if each.error is None}
        return [found[each.key].tokens_out for each in requests if each.key in found]

    return answer


def bare(url: str, concurrency: int) -> Way:
    """As many workers as may be in flight, each asking for the next body as soon as it is free."""

    async def work(session: aiohttp.ClientSession, bodies: Iterator[bytes], found: list[int]) -> None:
        for body in bodies:
            async with session.post(f"{url}/v1/chat/completions", data=body) as response:
                raw = await response.read()
                if response.status == 200:
                    found.append(orjson.loads(raw)["usage"]["completion_tokens"])

    async def all_of(bodies: list[bytes]) -> list[int]:
        found: list[int] = []
        headers = {"Content-Type": "application/json"}
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            waiting = iter(bodies)
            await asyncio.gather(*(work(session, waiting, found) for _ in range(concurrency)))
        return found

    def answer(requests: Sequence[Request]) -> list[int]:
        bodies = [
            orjson.dumps(
                {
                    "model": "base",
                    "messages": [{"role": role, "content": text} for role, text in each.messages],
                    "temperature": each.temperature,
                    "top_p": each.top_p,
                    "max_tokens": each.max_tokens,
                    "seed": each.seed,
                }
            )
            for each in requests
        ]
        return asyncio.run(all_of(bodies))

    return answer


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, repeats=5)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=64)
    args = parser.parse_args(argv)
    if args.smallest:
        args.rows, args.concurrency, args.repeats = 12, 4, 1
    if not (python := os.environ.get("AUGMENT_VLLM_PYTHON")):
        parser.error("AUGMENT_VLLM_PYTHON is not set: it names the python of an environment with vLLM")
    result = Result("vllm_serve")
    found: dict[str, list[tuple[float, float]]] = {"openai": [], "bare aiohttp": []}
    with workplace() as folder:
        base = save_base(folder / "base", head_dim=32)
        # In chunks, a prompt with a seed ends vLLM on CPU (0.32: CPU Generator does not use offset).
        flags = ("--max-num-seqs", str(args.concurrency), "--no-enable-chunked-prefill")
        with served(python, base, environment(folder), folder, *flags) as url:
            engine = OpenAI.open("", EngineOptions(base_url=f"{url}/v1", concurrency=args.concurrency))
            ways: list[tuple[str, Way]] = [("openai", through(engine)), ("bare aiohttp", bare(url, args.concurrency))]
            for turn in range(args.repeats + 1):
                for at, (name, answer) in enumerate(ways if turn % 2 else ways[::-1]):
                    asked = chats(args.rows, 2 * turn + at)
                    begun = time.perf_counter()
                    tokens = answer(asked)
                    seconds = time.perf_counter() - begun
                    result.check(f"{name} answers every request", len(tokens) == args.rows, len(tokens))
                    if turn:  # the first warms the server up
                        found[name].append((args.rows / seconds, sum(tokens) / seconds))
    speed = {name: median(each for each, _ in runs) for name, runs in found.items()}
    ratios = [ours / alone for (ours, _), (alone, _) in zip(found["openai"], found["bare aiohttp"], strict=True)]
    result.rows = [
        {"asked by": name, "rows": args.rows, "conc": args.concurrency, "rows/s": speed[name]}
        | {"tokens/s": median(each for _, each in runs)}
        | ({"of bare": median(ratios), "target": TARGET} if name == "openai" else {})
        for name, runs in found.items()
    ]
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
