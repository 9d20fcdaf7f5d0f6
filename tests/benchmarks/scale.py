"""Does it stay linear, and in how much memory: `python -m tests.benchmarks.scale [--smallest]`.

Candidates by the instant `echo` engine through the default filters, each size in a process of its own. A row
is a candidate: generated, stored, read, scored, judged, written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl

from tests.benchmarks import product
from tests.benchmarks.measure import Result, arguments, interleaved, median, workplace
from tests.benchmarks.seeds import write_seeds

VARIANTS = 5


def run_size(result: Result, size: int, folder: Path, filters: str) -> dict[str, Any]:
    home = folder / f"home-{size}-{len(list(folder.iterdir()))}"
    seeds = folder / f"seeds-{size}.jsonl"
    if not seeds.exists():
        write_seeds(seeds, max(1, size // VARIANTS))
    flags = {"source": str(seeds), "n": f"{VARIANTS}x", "llm": "echo", "generators": "paraphrase", "max_attempts": "1x"}
    found = product.run({**flags, "filters": filters, "out": str(home / "run")}, home)
    counts = found["summary"]
    run = Path(found["path"])
    curated = pl.scan_parquet(run / "curated" / "train.parquet").select(pl.len()).collect().item()
    rejected = pl.scan_parquet(run / "rejected.parquet").select(pl.len()).collect().item()
    candidates = counts["candidates"]
    result.check(f"{size}: every candidate was made", candidates == size, candidates)
    accounted = curated + rejected == counts["seeds"] + candidates
    result.check(f"{size}: rows in = kept + rejected", accounted, (curated, rejected))
    return {
        "seconds": found["seconds"],
        "rows/s": candidates / found["seconds"],
        "cpu": found["cpu"],
        "rss": found["rss"],
        "kept": counts["kept"] / candidates,
    }


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--filters", default="default")
    args = parser.parse_args(argv)
    if args.smallest:
        args.sizes, args.repeats = [200], 1
    result = Result("scale")
    with workplace() as folder:
        found = interleaved(
            {str(size): lambda size=size: run_size(result, size, folder, args.filters) for size in args.sizes},
            args.repeats,
        )
    middle = {size: {key: median(one[key] for one in each) for key in each[0]} for size, each in found.items()}
    for size, each in middle.items():
        row = {"rows": int(size), "rows/s": each["rows/s"], "seconds": each["seconds"], "CPU s": each["cpu"]}
        result.rows.append({**row, "peak RSS MiB": each["rss"], "share kept": each["kept"]})
    big, mid = (middle.get(str(size)) for size in (100_000, 10_000))
    if big and mid:
        result.rows[-1] |= {
            "rate / that at 10k": big["rows/s"] / mid["rows/s"],
            "RSS / that at 10k (target 1.5)": big["rss"] / mid["rss"],
        }
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
