"""What trouble costs: `python -m tests.benchmarks.failures [--smallest] [--with-peers]`.

Good rows lost are prompts that the server would have answered and that are not in the dataset; wrong rows are
rows whose text is not the server's answer, or that stand for a refused prompt. Ideal is one call a prompt and
one more for each answer that asked to come back (500, or 429 from an overloaded replica); under a rate limit
it is one call a prompt. Goodput counts what a client can earn after the first second's worth of credit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from tests.benchmarks import peers, product
from tests.benchmarks.measure import Result, arguments, interleaved, median, workplace
from tests.benchmarks.parts_server import serve
from tests.benchmarks.work import Work, paraphrases, published, right_for_peers
from tests.server import Served

LATENCY = 0.05
VARIANTS = 5
CONCURRENCY = 64
LIMIT = 50
CASES: dict[str, dict[str, Any]] = {
    "0.2 % are 400": {"fail_400_share": 0.002},
    "2 % are 400": {"fail_400_share": 0.02},
    "10 % are 400": {"fail_400_share": 0.1},
    "10 % transient, Retry-After 1": {"transient_share": 0.1, "retry_after": "1"},
    "10 % transient, no Retry-After": {"transient_share": 0.1, "retry_after": ""},
    f"hidden {LIMIT}/s, bucket": {"rate_limit": LIMIT, "rate_kind": "bucket"},
    f"hidden {LIMIT}/s, window": {"rate_limit": LIMIT, "rate_kind": "window"},
}
WITH_PEERS = "2 % are 400"


def run_product(result: Result, case: str, work: Work, server: Served, folder: Path) -> dict[str, Any]:
    before = len(server.log())
    home = folder / f"home-{before}"
    found = product.run({**work.flags, "concurrency": CONCURRENCY, "out": str(home / "run")}, home)
    log = server.log()[before:]
    keys = work.by_server_key()
    bad = {keys[key] for key, _, _, status in log if status == 400}
    made = published(Path(found["path"]))
    lost = work.asked.keys() - bad - made.keys()
    wrong = set(work.wrong(made)) | (bad & made.keys())
    result.check(f"{case}: no good row lost", not lost, len(lost))
    result.check(f"{case}: no wrong row written", not wrong, len(wrong))
    rejected = pl.read_parquet(Path(found["path"]) / "rejected.parquet")
    listed = set(rejected.filter(pl.col("reason") == "HTTP 400")["reply_key"])
    result.check(f"{case}: every refused prompt is listed with its reason", listed == bad, len(listed ^ bad))
    return {**_counted(case, log, len(work.asked), bad), "lost": len(lost), "wrong": len(wrong)}


def run_peer(name: str, python: Path, work: Work, server: Served, folder: Path) -> dict[str, Any]:
    before = len(server.log())
    place = folder / f"{name}-{before}"
    prompts = peers.write_prompts(folder / "prompts.jsonl", [each.messages for each in work.asked.values()])
    rows: dict[int, str] = {}
    failed = None
    try:
        rows = peers.finish(peers.start(name, python, prompts, server.url, CONCURRENCY, place), place, 120)["rows"]
    except peers.PeerFailed as error:
        failed = str(error)
    log = server.log()[before:]
    right = right_for_peers(work)
    bad = {key for key, _, _, status in log if status == 400}
    wrong = sum(right[row] != text.strip() for row, text in rows.items())
    lost = len(right) - len(bad) - (len(rows) - wrong)
    return {**_counted(WITH_PEERS, log, len(right), bad), "lost": lost, "wrong": wrong, "failed": failed}


def _counted(case: str, log: list[tuple[str, float, float, int]], prompts: int, bad: set[str]) -> dict[str, Any]:
    """Calls against the ideal; the goodput where there is a limit."""
    limited = "hidden" in case
    again = 0 if limited else sum(status in (500, 429) for *_, status in log)
    found: dict[str, Any] = {
        "prompts": prompts,
        "refused": len(bad),
        "calls": len(log),
        "calls/ideal": len(log) / (prompts + again),
    }
    if limited:
        seconds = max(each[2] for each in log) - min(each[1] for each in log)
        found["goodput/limit"] = (prompts - LIMIT) / (seconds - LATENCY) / LIMIT
    return found


def measure_case(result: Result, args: argparse.Namespace, case: str, pythons: dict[str, Path]) -> None:
    def fresh(run: Callable[[Work, Served, Path], dict[str, Any]]) -> dict[str, Any]:
        """`run` against a server that has forgotten everything: who failed before, and the bucket."""
        with workplace() as folder, serve(latency=LATENCY, **CASES[case]) as server:
            return run(paraphrases(server.url, folder, max(1, args.prompts // VARIANTS), VARIANTS), server, folder)

    runs = {"augment": lambda: fresh(lambda *place: run_product(result, case, *place))}
    for name, python in pythons.items() if case == WITH_PEERS else ():
        runs[name] = lambda name=name, python=python: fresh(lambda *place: run_peer(name, python, *place))
    repeats = args.repeats if "hidden" in case else 1
    for name, each in interleaved(runs, repeats).items():
        row: dict[str, Any] = {"case": case, "who": name}
        for key in each[0]:
            values = [one[key] for one in each]
            row[key] = values[0] if key == "failed" else max(values) if key in ("lost", "wrong") else median(values)
        result.rows.append(row)
        print(row, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, peers=True)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument(
        "--cases", nargs="*", default=list(CASES), help="some of: " + "; ".join(CASES).replace("%", "%%")
    )
    args = parser.parse_args(argv)
    if args.smallest:
        args.prompts, args.repeats = 100, 1
        args.cases = ["10 % are 400", "10 % transient, no Retry-After", f"hidden {LIMIT}/s, bucket"]
    result = Result("failures")
    pythons, missing = peers.ready(args.cache) if args.with_peers else ({}, {})
    result.notes += [f"{name} {why}" for name, why in missing.items()]
    for case in args.cases:
        measure_case(result, args, case, pythons)
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
