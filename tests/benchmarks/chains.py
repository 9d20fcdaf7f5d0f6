"""What a chain of two steps costs beyond the server's own time: `python -m tests.benchmarks.chains [--smallest]`.

`ideal s` is what a perfect client needs that always fills its slots: all answers' time over the slots, and no less
than one row's two answers one after the other. `server s` runs from the first arrival to the last answer, `total s` is
the whole of `curate()`, from the recipe to the published files. `barrier s` is a perfect client that first asks all
first steps and then all second ones; with a tail of slow answers it waits for the slowest twice.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.benchmarks import product
from tests.benchmarks.measure import Result, arguments, median, workplace
from tests.benchmarks.orchestration import FACTOR, attainable, nominal
from tests.benchmarks.parts_server import serve
from tests.benchmarks.seeds import write_seeds
from tests.server import Served

TARGET = 1.15


def run_chain(
    result: Result, server: Served, folder: Path, rows: int, cell: tuple[float, int, float]
) -> dict[str, Any]:
    latency, concurrency, tail = cell
    before = len(server.log())
    home = folder / f"home-{before}"
    source = folder / "seeds.jsonl"
    if not source.exists():
        write_seeds(source, rows)
    flags = {"source": str(source), "n": "1x", "generators": "paraphrase+answer", "filters": "none"}
    flags |= {"max_attempts": "1x", "llm": "openai:test-model", "base_url": server.url, "concurrency": concurrency}
    found = product.run({**flags, "out": str(home / "run")}, home)
    log = server.log()[before:]
    result.check("both steps of every row were asked once", len(log) == 2 * rows == len({each[0] for each in log}))
    result.check("every row is published", found["summary"]["kept"] == rows, found["summary"]["kept"])
    took = nominal(log, latency, tail)
    ideal = max(sum(took) / concurrency, 2 * sum(took) / len(took))
    half = len(took) // 2
    barrier = sum(sum(part) / (concurrency * attainable(part, concurrency)) for part in (took[:half], took[half:]))
    seconds = max(each[2] for each in log) - min(each[1] for each in log)
    return {"ideal": ideal, "barrier": barrier, "server": seconds, "total": found["seconds"]}


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--concurrencies", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--tails", type=float, nargs="*", default=[0.0, 0.05])
    args = parser.parse_args(argv)
    if args.smallest:
        args.rows, args.latency, args.concurrencies, args.tails, args.repeats = 40, 0.01, [8], [0.0], 1
    result = Result("chains")
    for concurrency in args.concurrencies:
        for tail in args.tails:
            with workplace() as folder, serve(latency=args.latency, tail_share=tail, tail_factor=FACTOR) as server:
                cell = (args.latency, concurrency, tail)
                runs = [run_chain(result, server, folder, args.rows, cell) for _ in range(args.repeats)]
            row = {name: median(each[name] for each in runs) or 0.0 for name in runs[0]}
            result.rows.append(
                {"rows": args.rows, "ms": round(args.latency * 1000), "conc": concurrency, "tail": tail}
                | {f"{name} s": value for name, value in row.items()}
                | {"server / ideal": row["server"] / row["ideal"], "total / ideal": row["total"] / row["ideal"]}
                | {"target": TARGET}
            )
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
