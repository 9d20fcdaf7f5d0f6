"""How close to the server's own speed: `python -m tests.benchmarks.orchestration [--smallest] [--with-peers]`.

Efficiency is N × mean latency / (concurrency × T). T runs from the first request's arrival at the server to
the last reply in the store; `total s` is the whole of `curate()` (a peer's own `run` or `create`), `server s`
runs from the first arrival to the last answer. `bound` is the efficiency of a perfect client: with a finite
number of requests the last ones cannot fill the slots. A peer's efficiency takes its `server s` for T, which
flatters it: what it still does before its rows are on disk is free. So does its request: the product asks for
JSON by a schema and sends a seed, the peers send the two messages and take the text. A peer that does not
have every row, and each the server's own answer, is not measured.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks import peers, product
from tests.benchmarks.measure import Result, arguments, interleaved, median, workplace
from tests.benchmarks.parts_server import serve
from tests.benchmarks.work import Work, paraphrases, published, right_for_peers
from tests.server import Served

VARIANTS = 5
FACTOR = 10
TARGETS = {(0.2, 64, 0.0): 0.90, (0.2, 256, 0.0): 0.70, (0.2, 64, 0.1): 0.75}
Log = list[tuple[str, float, float, int]]


def attainable(durations: list[float], concurrency: int) -> float:
    """Efficiency of a client that starts the next request the moment a slot is free, without any cost."""
    slots = [0.0] * concurrency
    for each in durations:
        heapq.heapreplace(slots, slots[0] + each)
    return sum(durations) / (concurrency * max(slots))


def nominal(log: Log, latency: float, tail: float) -> list[float]:
    """Seconds the server meant each answer to take, in the order of arrival."""
    slow = latency * FACTOR
    return [
        slow if tail and ended - begun >= 0.9 * slow else latency
        for _, begun, ended, _ in sorted(log, key=lambda each: each[1])
    ]


def run_product(result: Result, work: Work, server: Served, folder: Path, cell: tuple[float, int, float]) -> dict:
    before = len(server.log())
    home = folder / f"home-{before}"
    found = product.run({**work.flags, "concurrency": cell[1], "out": str(home / "run")}, home)
    log = server.log()[before:]
    made = published(Path(found["path"]))
    count = len(work.asked)
    result.check("every request was made once", len(log) == count == len({key for key, *_ in log}), len(log))
    result.check("every reply is in the store", found["replies"] == count, found["replies"])
    result.check("every variant is published", made.keys() == work.asked.keys(), len(made))
    result.check("every variant is the right text", not work.wrong(made), len(work.wrong(made)))
    first, last = min(each[1] for each in log), max(each[2] for each in log)
    times = {"durable": found["last_kept"] - first, "server": last - first, "total": found["seconds"]}
    return {**_measured(log, times["durable"], cell), **times, "cpu": found["cpu"], "rss": found["rss"]}


def run_peer(
    name: str, python: Path, work: Work, server: Served, folder: Path, cell: tuple[float, int, float]
) -> dict[str, Any]:
    before = len(server.log())
    place = folder / f"{name}-{before}"
    prompts = peers.write_prompts(folder / "prompts.jsonl", [each.messages for each in work.asked.values()])
    try:
        found = peers.finish(peers.start(name, python, prompts, server.url, cell[1], place), place)
    except peers.PeerFailed as error:
        return {"failed": str(error)}
    log = server.log()[before:]
    right = right_for_peers(work)
    good = sum(right[row] == text.strip() for row, text in found["rows"].items())
    if good < len(right):
        return {"failed": f"{good} of {len(right)} rows are there and right"}
    server_time = max(each[2] for each in log) - min(each[1] for each in log)
    measured = _measured(log, server_time, cell)
    return {**measured, "server": server_time, "total": found["seconds"], "cpu": found["cpu"], "rss": found["rss"]}


def _measured(log: Log, seconds: float, cell: tuple[float, int, float]) -> dict[str, Any]:
    durations = nominal(log, cell[0], cell[2])
    efficiency = sum(durations) / (cell[1] * seconds)
    return {"efficiency": efficiency, "bound": attainable(durations, cell[1]), "rate": len(log) / seconds}


def measure_cell(result: Result, args: argparse.Namespace, cell: tuple[float, int, float], pythons: dict) -> None:
    latency, _, tail = cell
    with workplace() as folder, serve(latency=latency, tail_share=tail, tail_factor=FACTOR) as server:
        work = paraphrases(server.url, folder, max(1, args.prompts // VARIANTS), VARIANTS)
        runs = {"augment": lambda: run_product(result, work, server, folder, cell)}
        for name, python in pythons.items():
            runs[name] = lambda name=name, python=python: run_peer(name, python, work, server, folder, cell)
        found = interleaved(runs, args.repeats)
    rows = {name: _row(name, cell, each, len(work.asked)) for name, each in found.items()}
    measured = [row for name, row in rows.items() if name != "augment" and "total s" in row]
    for key in ("server s", "total s") if measured else ():
        rows["augment"][f"× best peer, {key}"] = min(row[key] for row in measured) / rows["augment"][key]
    result.rows += rows.values()
    print(rows, file=sys.stderr, flush=True)


def _row(who: str, cell: tuple[float, int, float], runs: list[dict[str, Any]], prompts: int) -> dict[str, Any]:
    """The medians of the runs that succeeded, as a line of the table."""
    good = [one for one in runs if "failed" not in one]
    row: dict[str, Any] = {"who": who, "ms": round(cell[0] * 1000), "conc": cell[1], "tail": cell[2]}
    if good:
        middle = {key: median(one.get(key) for one in good) or 0.0 for key in good[0]}
        row |= {
            "efficiency": middle["efficiency"],
            "bound": middle["bound"],
            "target": TARGETS.get(cell) if who == "augment" else None,
            "requests/s": middle["rate"],
            "server s": middle["server"],
            "total s": middle["total"],
            "CPU ms/request": 1000 * middle["cpu"] / prompts,
            "RSS MiB": middle["rss"],
        }
    if len(good) < len(runs):
        row["failed"] = next(one["failed"] for one in runs if "failed" in one)
    return row


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, peers=True)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--latencies", type=float, nargs="*", default=[0.05, 0.2])
    parser.add_argument("--concurrencies", type=int, nargs="*", default=[16, 64, 256])
    parser.add_argument("--tails", type=float, nargs="*", default=[0.0, 0.1])
    args = parser.parse_args(argv)
    if args.smallest:
        args.prompts, args.latencies, args.concurrencies, args.tails, args.repeats = 100, [0.01], [16], [0.1], 1
    result = Result("orchestration")
    pythons, missing = peers.ready(args.cache) if args.with_peers else ({}, {})
    result.notes += [f"{name} {why}" for name, why in missing.items()]
    for latency in args.latencies:
        for concurrency in args.concurrencies:
            for tail in args.tails:
                measure_cell(result, args, (latency, concurrency, tail), pythons)
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
