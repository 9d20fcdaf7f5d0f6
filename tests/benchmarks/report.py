"""How large a report is, how long it takes to write and to open: `python -m tests.benchmarks.report [--smallest]`.

A run by the product itself: seeds through `echo` and the default filters. Its page is opened in Chromium from disk:
"paint" and "listed" (every row unpacked, the first ones shown) are the page's own clock, "usable" is when a driver
outside sees the rows, "plots" when the last one is drawn. A search is timed from the word to the count. Targets for a
run of 50,000 rows: usable in under 2 s, under 15 MB. Without $AUGMENT_CHROMIUM the page is written and not opened.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from tests.benchmarks import product
from tests.benchmarks.measure import ROOT, Result, arguments, median, workplace
from tests.benchmarks.seeds import write_seeds
from tests.browser import browser

VARIANTS = 5
SECONDS, MEGABYTES = 2.0, 15.0
WORD = "血压"
"""What is searched for."""


def make_run(folder: Path, rows: int) -> Path:
    """A run of at least so many rows: seeds, kept and dropped."""
    seeds = write_seeds(folder / "seeds.jsonl", -(-rows // (VARIANTS + 1)))
    flags = {"source": str(seeds), "n": f"{VARIANTS}x", "llm": "echo", "generators": "paraphrase,persona,answer"}
    found = product.run({**flags, "out": str(folder / "run")}, folder / "home")
    return Path(found["path"])


def write_page(run: Path, out: Path) -> tuple[float, dict[str, Any]]:
    """Seconds that the command takes, start included, and what it says it wrote."""
    command = [sys.executable, "-m", "augment", "report", str(run), "--out", str(out), "--json"]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"the report failed: {done.stderr[-2000:]}")
    return time.perf_counter() - begun, json.loads(done.stdout)


def open_page(path: Path) -> dict[str, float]:
    """Seconds until the first paint, the rows and the plots are there, and those that a search takes."""
    with browser() as opened:
        page = opened.new_page()
        begun = time.perf_counter()
        page.goto(f"file://{path}", wait_until="commit")
        page.wait_for_selector("html[data-rows]", state="attached", timeout=120_000)
        usable = time.perf_counter() - begun
        page.wait_for_selector("html[data-plots]", state="attached", timeout=120_000)
        plots = time.perf_counter() - begun
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
        listed = page.evaluate("performance.getEntriesByName('rows')[0].startTime")
        before = page.inner_text("#count")
        begun = time.perf_counter()
        page.fill("#search", WORD)
        while page.inner_text("#count") == before:
            time.sleep(0.005)
        search = time.perf_counter() - begun
        found = int(page.inner_text("#count").split()[0].replace(",", ""))
    clock = {"paint": paint / 1000, "listed": listed / 1000}
    return {**clock, "usable": usable, "plots": plots, "search": search, "found": found}


def holding(run: Path, word: str) -> int:
    """How many rows hold the word."""
    names = ("curated/train.parquet", "rejected.parquet")
    has = pl.any_horizontal(
        pl.col(name).str.contains(word, literal=True).fill_null(False) for name in ("prompt", "response")
    )
    return sum(pl.scan_parquet(run / name).filter(has).select(pl.len()).collect().item() for name in names)


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 50_000])
    args = parser.parse_args(argv)
    if args.smallest:
        args.rows, args.repeats = [200], 1
    result = Result("report")
    for rows in args.rows:
        with workplace() as folder:
            measure(result, folder, rows, args.repeats)
    result.code = result.finish(args)
    return result


def measure(result: Result, folder: Path, rows: int, repeats: int) -> None:
    run, page = make_run(folder, rows), folder / "report.html"
    written = [write_page(run, page) for _ in range(repeats)]
    told = written[-1][1]
    names = ("curated/train.parquet", "rejected.parquet")
    there = sum(pl.scan_parquet(run / name).select(pl.len()).collect().item() for name in names)
    megabytes = page.stat().st_size / 1e6
    result.check(f"{rows}: the run has as many rows", there >= rows, there)
    result.check(f"{rows}: every row is in the page", told["rows_shown"] == told["rows"] == there, told)
    result.check(f"{rows}: the page stays under {MEGABYTES:g} MB", megabytes < MEGABYTES, megabytes)
    row = {"rows": there, "MB (target 15)": megabytes, "write s": median(seconds for seconds, _ in written)}
    if "AUGMENT_CHROMIUM" in os.environ:
        opened = [open_page(page) for _ in range(repeats)]
        found, wanted = {each["found"] for each in opened}, holding(run, WORD)
        result.check(f"{rows}: a search finds the rows that hold the word", found == {wanted}, (sorted(found), wanted))
        middle = {name: median(each[name] for each in opened) for name in opened[0]}
        row |= {
            "paint s": middle["paint"],
            "listed s": middle["listed"],
            f"usable s (target {SECONDS:g})": middle["usable"],
        }
        row |= {"plots s": middle["plots"], "search s": middle["search"]}
    else:
        result.notes.append("set AUGMENT_CHROMIUM to a Chromium to measure how long the page takes to open")
    result.rows.append(row)


if __name__ == "__main__":
    sys.exit(main().code)
