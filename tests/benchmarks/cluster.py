"""What Ray workers gain and cost: `python -m tests.benchmarks.cluster [--smallest]`.

1. An engine that holds the processor for some milliseconds a request, with one worker and with two on this
   host's processors, which the driver, Ray and the workers share.
2. Many workers, each with one slot that takes 200 ms, as a server would: efficiency is requests × 0.2 s over
   workers × time.

Time runs from when every worker has its first request (they wait for each other) to when the driver has kept the
last reply; the start before that is given beside it. Every run must make the bytes that a run without workers makes.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import product
from tests.benchmarks.command import files
from tests.benchmarks.measure import ROOT, Result, arguments, interleaved, median, workplace
from tests.benchmarks.seeds import write_seeds
from tests.engines import CREW, LOG, declare

VARIANTS = 5


def run(result: Result, folder: Path, llm: str, requests: int, workers: int | None, concurrency: int) -> dict[str, Any]:
    """One run: seconds from the last worker's first request to the last reply kept, and until then."""
    home = folder / f"home-{len(list(folder.iterdir()))}"
    seeds = folder / f"seeds-{requests}.jsonl"
    if not seeds.exists():
        write_seeds(seeds, requests // VARIANTS)
    log = folder / "log"
    log.write_text("")
    os.environ[CREW] = str(workers or 1)
    flags = {"source": str(seeds), "n": f"{VARIANTS}x", "generators": "paraphrase", "filters": "none", "llm": llm}
    flags |= {"max_attempts": "1x", "holdout": 0, "concurrency": concurrency, "out": str(home / "run")}
    if workers is not None:
        flags["workers"] = workers
    started = time.monotonic()
    found = product.run(flags, home)
    begun = max(float(line.split()[1]) for line in log.read_text().splitlines())
    result.check(f"{llm}, {workers} workers: every reply is kept", found["replies"] == requests, found["replies"])
    return {
        "seconds": found["last_kept"] - begun,
        "start": begun - started,
        "cpu": found["cpu"],
        "rss": found["rss"],
        "files": files(home / "run"),
    }


def measure(
    result: Result, folder: Path, llm: str, requests: int, crews: list[int], concurrency: int, repeats: int
) -> None:
    """A line of the table for no worker and for each number of workers."""
    together = concurrency * max(crews)
    runs = {None: lambda: run(result, folder, llm, requests, None, together)}
    for workers in crews:
        runs[workers] = lambda workers=workers: run(result, folder, llm, requests, workers, concurrency)
    found = interleaved(runs, repeats)
    wanted = found[None][0]["files"]
    each_takes = float(llm.partition(":")[2]) / 1000
    one = None
    for workers, runs_of in found.items():
        result.check(f"{llm}, {workers} workers: the same bytes", all(each["files"] == wanted for each in runs_of))
        middle = {key: median(each[key] for each in runs_of) for key in ("seconds", "start", "cpu", "rss")}
        row = {"engine": llm, "workers": workers, "slots each": concurrency if workers else together}
        row |= {"requests": requests, "seconds": middle["seconds"], "requests/s": requests / middle["seconds"]}
        row |= {"start s": middle["start"], "driver CPU ms/request": 1000 * middle["cpu"] / requests}
        row["driver RSS MiB"] = middle["rss"]
        if llm.startswith("burning") and workers is not None:
            one = middle["seconds"] if workers == 1 else one
            row |= {"× one worker": one and one / middle["seconds"], "target": 1.7 if workers == 2 else None}
        elif llm.startswith("sleeping"):
            slots = concurrency * (workers or max(crews))
            row["efficiency"] = requests * each_takes / (slots * middle["seconds"])
            row["target"] = 0.9 if workers else None
        result.rows.append(row)
        print(row, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__)
    parser.add_argument("--burn", type=float, default=20.0, help="milliseconds of processor time a request")
    parser.add_argument("--burn-requests", type=int, default=2000)
    parser.add_argument("--crew", type=int, default=64, help="simulated workers with a slot each; 0: none")
    parser.add_argument("--sleep-requests", type=int, default=6400)
    args = parser.parse_args(argv)
    if args.smallest:
        args.burn_requests = args.sleep_requests = 40
        args.burn, args.crew, args.repeats = 2.0, 2, 1
    result = Result("cluster")
    with workplace() as folder:
        os.environ |= {LOG: str(folder / "log"), "RAY_USAGE_STATS_ENABLED": "0"}
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(declare(folder / "engines"))])
        if args.burn_requests:
            crews = [2] if args.smallest else [1, 2]
            measure(result, folder, f"burning:{args.burn:g}", args.burn_requests, crews, 8, args.repeats)
        if args.crew:
            measure(result, folder, "sleeping:200", args.sleep_requests, [args.crew], 1, args.repeats)
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
