"""What the engine `vllm` costs beyond vLLM itself: `python -m tests.benchmarks.vllm [--smallest] [--served]`, by the
python of an environment with vLLM and what augment needs.

The same chats are answered by `LLM.chat`, which is given all of them at once, and by our engine, which draws them as
slots come free; in turn, with chats of its own for each repeat, so that no prefix is known from before. Answers have
lengths of their own, so the batch is refilled all the time. `--served` adds vLLM's OpenAI-compatible server, asked by
the engine `openai`. The model is tiny, so that what surrounds it weighs more than it ever will in use.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

from augment.engines import EngineOptions
from augment.engines.openai import OpenAI
from augment.engines.vllm import Vllm
from augment.records import Reply, Request
from augment.sources import open_source
from tests.benchmarks.measure import Result, arguments, median, workplace
from tests.benchmarks.seeds import write_seeds
from tests.finetune.bases import save_base
from tests.vllm_server import environment, served

Way = Callable[[Sequence[Request]], list[int]]
"""Answers requests; the tokens of each answer."""
TARGET = 0.95
SHAPE = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "head_dim": 64, "initializer_range": 0.2}


def questions(folder: Path, count: int) -> list[Request]:
    """Chats, each with a limit of its own for its answer: from 20 to 120 tokens."""
    source = open_source(str(write_seeds(folder / "seeds.jsonl", count)))
    rng = random.Random(7)
    asked = [(("system", "你是一名医生。"), ("user", text)) for text in source.seeds["prompt"]]
    return [Request(f"r{n}", "g", 0, each, "t@1", n, max_tokens=rng.randint(20, 120)) for n, each in enumerate(asked)]


def directly(model: Path, concurrency: int) -> Way:
    """vLLM's own class: the tokens of each answer."""
    from vllm import LLM, SamplingParams

    settings = {"dtype": "float32", "enforce_eager": True, "disable_log_stats": True}
    # In chunks, a prompt with a seed ends vLLM on CPU (0.32: CPU Generator does not use offset).
    llm = LLM(str(model), max_num_seqs=concurrency, enable_chunked_prefill=False, **settings)
    end = llm.get_tokenizer().convert_tokens_to_ids("<|im_end|>")

    def answer(requests: Sequence[Request]) -> list[int]:
        chats = [[{"role": role, "content": text} for role, text in each.messages] for each in requests]
        params = [
            SamplingParams(
                temperature=each.temperature,
                top_p=each.top_p,
                max_tokens=each.max_tokens,
                seed=each.seed,
                stop_token_ids=[end],
            )
            for each in requests
        ]
        return [len(each.outputs[0].token_ids) for each in llm.chat(chats, params, use_tqdm=False)]

    return answer


def through(engine: Vllm | OpenAI, result: Result) -> Way:
    """One of our engines: the tokens of each answer."""

    def answer(requests: Sequence[Request]) -> list[int]:
        found: dict[str, Reply] = {each.key: each for each in engine.generate(iter(requests))}
        good = [found[each.key] for each in requests if each.key in found and found[each.key].error is None]
        result.check(f"{engine.name} answers every request", len(good) == len(requests) == len(found), len(good))
        return [each.tokens_out for each in good]

    return answer


def race(ways: Mapping[str, Way], asked: list[Request], args: argparse.Namespace) -> list[dict[str, float | str]]:
    """Each way's speed and this process's processor time a row, in turn for each repeat; the first is not counted."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for turn in range(args.repeats + 1):
        chosen = asked[turn * args.rows : (turn + 1) * args.rows]
        for name in ways if turn % 2 else reversed(ways):
            begun, busy = time.perf_counter(), time.process_time()
            said = ways[name](chosen)
            seconds, busy = time.perf_counter() - begun, time.process_time() - busy
            if turn:
                found[name].append((len(chosen) / seconds, sum(said) / seconds, 1000 * busy / len(chosen)))
    columns = ("rows/s", "tokens/s", "cpu ms/row")
    return [
        {"engine": name, "rows": args.rows, "conc": args.concurrency}
        | {column: median(values) or 0.0 for column, values in zip(columns, zip(*runs, strict=True), strict=True)}
        for name, runs in found.items()
    ]


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, repeats=5)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--served", action="store_true", help="ask vLLM's server too")
    args = parser.parse_args(argv)
    if args.smallest:
        args.rows, args.concurrency, args.repeats = 12, 4, 1
    result = Result("vllm")
    with workplace() as folder:
        model = save_base(folder / "model", **SHAPE)
        asked = questions(folder, args.rows * (args.repeats + 1))
        options = EngineOptions(concurrency=args.concurrency)
        ours = Vllm.open(str(model), options)
        ways = {"vllm": through(ours, result), "LLM.chat": directly(model, args.concurrency)}
        result.rows = race(ways, asked, args)
        ours.release()
        if args.served:
            more = ["--max-num-seqs", str(args.concurrency), "--no-enable-chunked-prefill"]
            with served(sys.executable, model, environment(folder), folder, *more) as url:
                engine = OpenAI.open("", EngineOptions(base_url=f"{url}/v1", concurrency=args.concurrency))
                result.rows += race({"openai, served": through(engine, result)}, asked, args)
    speeds = {row["engine"]: row["rows/s"] for row in result.rows}
    for row in result.rows:
        row["of LLM.chat"] = row["rows/s"] / speeds["LLM.chat"]
        row["target"] = TARGET if row["engine"] == "vllm" else None
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
