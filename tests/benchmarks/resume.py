"""What a crash costs: `python -m tests.benchmarks.resume [--smallest] [--with-peers]`.

`augment text` is killed with -9 at random moments between its first request and its end, and started again.
A finished call is one whose answer the server had sent. It must not be paid for again if the client's store
held it, nor if it had left the server 0.1 s before the kill: younger ones were still in flight.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from tests.benchmarks import command, peers
from tests.benchmarks.measure import Result, arguments, workplace
from tests.benchmarks.parts_server import serve
from tests.benchmarks.reuse import second_runs
from tests.benchmarks.work import paraphrases, right_for_peers
from tests.server import Served

LATENCY = 0.05
CONCURRENCY = 16
VARIANTS = 5
IN_FLIGHT = 0.1


def wait_for(server: Served, count: str, least: int, seconds: float = 60.0) -> None:
    """Until the server has counted that many (`calls` or `finished`)."""
    end = time.monotonic() + seconds
    while server.stats()[count] < least:
        if time.monotonic() > end:
            raise TimeoutError(f"fewer than {least} {count} after {seconds:.0f} s")
        time.sleep(0.005)


def kill_and_rerun(
    result: Result, folder: Path, seeds: int, share: float, length: float, wanted: tuple[bytes, bytes] | None
) -> dict[str, Any]:
    """One kill at `share` of the run's `length` in seconds, and the run after it (no kill when `wanted` is None)."""
    with serve(latency=LATENCY) as server:
        work = paraphrases(server.url, folder.parent, seeds, VARIANTS, concurrency=CONCURRENCY)
        keys = work.by_server_key()
        home, out = folder / "home", folder / "run"
        process = command.start(work.flags, home, out)
        wait_for(server, "calls", 1)
        begun = time.monotonic()
        if wanted is None:
            code = process.wait()
            result.check("the uninterrupted run succeeds", code == 0, out.with_suffix(".log").read_text()[-500:])
            return {"seconds": time.monotonic() - begun, "work": work, "out": out}
        time.sleep(share * length)
        killed = time.monotonic()
        process.kill()
        process.wait()
        time.sleep(3 * LATENCY)
        first = server.log()
        kept = command.durable(home).keys()
        command.run(work.flags, home, out)
        again = {keys[key] for key, *_ in server.log()[len(first) :]}
    finished = {keys[key]: ended for key, _, ended, status in first if status == 200}
    repeated = finished.keys() & again
    ids = pl.read_parquet(out / "curated" / "train.parquet")["id"]
    found = {
        "killed at": share,
        "finished": len(finished),
        "kept": len(kept),
        "asked again": len(again),
        "repeated": len(repeated),
        "repeated, kept": len(kept & again),
        "repeated, > 0.1 s old": sum(finished[key] < killed - IN_FLIGHT for key in repeated),
        "missing": len(work.asked) + seeds - ids.n_unique(),
        "doubled": len(ids) - ids.n_unique(),
        "same bytes": command.files(out) == wanted,
    }
    for name in ("repeated, kept", "repeated, > 0.1 s old", "missing", "doubled"):
        result.check(f"killed at {share:.2f}: {name} is 0", found[name] == 0, found[name])
    result.check(f"killed at {share:.2f}: the same bytes", found["same bytes"])
    return found


def kill_own(result: Result, kills: int, seeds: int) -> None:
    rng = random.Random(11)
    with workplace() as folder:
        (folder / "whole").mkdir()
        whole = kill_and_rerun(result, folder / "whole", seeds, 0, 0, None)
        wanted = command.files(whole["out"])
        found = []
        for number in range(kills):
            place = folder / f"kill-{number}"
            place.mkdir()
            found.append(kill_and_rerun(result, place, seeds, rng.random(), whole["seconds"], wanted))
            print(found[-1], file=sys.stderr, flush=True)
    sums = {key: sum(each[key] for each in found) for key in found[0] if key not in ("killed at", "same bytes")}
    requests = len(whole["work"].asked)
    row = {"who": f"augment, {kills} kills", "requests a run": requests, **sums}
    result.rows.append({**row, "same bytes": f"{sum(each['same bytes'] for each in found)} of {kills}"})


def kill_peer(name: str, python: Path, seeds: int, **more: Any) -> dict[str, Any]:
    """A peer killed when half the answers are out, and started again the way its documentation resumes."""
    with workplace() as folder, serve(latency=LATENCY) as server:
        work = paraphrases(server.url, folder, seeds, VARIANTS)
        prompts = peers.write_prompts(folder / "prompts.jsonl", [each.messages for each in work.asked.values()])
        place = folder / name
        row: dict[str, Any] = {"who": name + "".join(f", {key} {value}" for key, value in more.items())}
        process = peers.start(name, python, prompts, server.url, 4 * CONCURRENCY, place, **more)
        try:
            wait_for(server, "finished", len(work.asked) // 2)
        finally:
            peers.kill(process)
        time.sleep(3 * LATENCY)
        first = server.log()
        rows: dict[int, str] = {}
        try:
            second = peers.start(name, python, prompts, server.url, 4 * CONCURRENCY, place, resume=True, **more)
            rows = peers.finish(second, place, 90)["rows"]
        except peers.PeerFailed as error:
            row["failed"] = str(error)
        again = {key for key, *_ in server.log()[len(first) :]}
    finished = {key for key, *_, status in first if status == 200}
    right = right_for_peers(work)
    good = sum(right[each] == text.strip() for each, text in rows.items())
    row |= {"requests a run": len(right), "finished": len(finished), "asked again": len(again)}
    return {**row, "repeated": len(finished & again), "missing": len(right) - good}


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, repeats=1, peers=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=200, help=f"of the killed runs, times {VARIANTS} requests")
    parser.add_argument("--rerun-seeds", type=int, default=1000, help="of the runs that are edited and extended")
    args = parser.parse_args(argv)
    if args.smallest:
        args.kills, args.seeds, args.rerun_seeds = 2, 40, 40
    result = Result("resume")
    second_runs(result, args.rerun_seeds)
    kill_own(result, args.kills, args.seeds)
    pythons, missing = peers.ready(args.cache) if args.with_peers else ({}, {})
    result.notes += [f"{name} {why}" for name, why in missing.items()]
    for name, python in pythons.items():
        result.rows.append(kill_peer(name, python, args.seeds))
        if name == "data-designer":
            result.rows.append(kill_peer(name, python, args.seeds, buffer=args.seeds // 2))
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
