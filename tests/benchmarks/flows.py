"""What does Prefect cost: `python -m tests.benchmarks.flows [--smallest]`.

The same candidates from the instant `echo` engine through the default filters, plain and as a flow against a server
on loopback, each in a process of its own. A flow's time is that between its states Running and Completed: all it
does beyond its start-up (importing Prefect, creating the flow run), its task runs and artifacts included.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import product
from tests.benchmarks.measure import Result, arguments, interleaved, median, workplace
from tests.benchmarks.seeds import write_seeds
from tests.prefect_server import Server, serve

VARIANTS = 5


def run_one(folder: Path, size: int, server: Server | None) -> dict[str, Any]:
    seeds = folder / f"seeds-{size}.jsonl"
    if not seeds.exists():
        write_seeds(seeds, max(1, size // VARIANTS))
    home = folder / f"home-{len(list(folder.iterdir()))}"
    flags = {"source": str(seeds), "n": f"{VARIANTS}x", "llm": "echo", "generators": "paraphrase", "max_attempts": "1x"}
    settings = {} if server is None else {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(folder / "prefect")}
    found = product.run({**flags, "name": home.name, "out": str(home / "run")}, home, settings=settings)
    run = Path(found["path"])
    whole = [(run / name).read_bytes() for name in ("curated/train.parquet", "rejected.parquet")]
    one = {"seconds": found["seconds"], "bytes": whole, "candidates": found["summary"]["candidates"]}
    if server is None:
        return one
    flow = server.only_run(f"{home.name} {VARIANTS}x")
    states = {each["name"]: datetime.fromisoformat(each["timestamp"]) for each in server.states(flow["id"])}
    seconds = (states["Completed"] - states["Running"]).total_seconds()
    return {**one, "seconds": seconds, "called": found["seconds"], "tasks": len(server.task_runs(flow["id"]))}


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, repeats=5)
    parser.add_argument("--size", type=int, default=10_000)
    args = parser.parse_args(argv)
    if args.smallest:
        args.size, args.repeats = 200, 1
    result = Result("flows")
    with workplace() as folder, serve(folder) as server:
        found = interleaved(
            {
                "plain": lambda: run_one(folder, args.size, None),
                "flow": lambda: run_one(folder, args.size, server),
            },
            args.repeats,
        )
    plain, flow = (median(one["seconds"] for one in found[name]) or 0.0 for name in ("plain", "flow"))
    paired = [b["seconds"] / a["seconds"] for a, b in zip(found["plain"], found["flow"], strict=True)]
    tasks = max(one["tasks"] for one in found["flow"])
    called = median(one["called"] for one in found["flow"])
    result.rows = [
        {
            "rows": args.size,
            "plain s": plain,
            "flow s": flow,
            "overhead (target .05)": (median(paired) or 0.0) - 1,
            "whole call s": called,
            "task runs": tasks,
        }
    ]
    everything = [one for each in found.values() for one in each]
    result.check("every run made every candidate", all(one["candidates"] == args.size for one in everything))
    result.check("the same bytes with and without", all(one["bytes"] == everything[0]["bytes"] for one in everything))
    result.check("at most 300 task runs", tasks <= 300, tasks)
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
