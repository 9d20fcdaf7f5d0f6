"""How long a user waits: `python -m tests.benchmarks.startup [--smallest]`.

`augment --help`, and `augment text` on 10 rows with the embedded default, in a fresh process each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.measure import ROOT, Result, arguments, interleaved, median, workplace
from tests.benchmarks.seeds import write_seeds


def timed(result: Result, what: str, command: list[str], folder: Path, says: str) -> dict[str, float]:
    """Seconds and CPU seconds of one command, whose output must contain `says`."""
    before = os.times()
    begun = time.perf_counter()
    env = {**os.environ, "AUGMENT_HOME": str(folder / "home"), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-m", "augment.cli", *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )
    seconds = time.perf_counter() - begun
    after = os.times()
    ok = done.returncode == 0 and says in done.stdout
    result.check(f"{what} succeeds", ok, (done.stdout + done.stderr)[-300:] if not ok else None)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "cpu": cpu}


def main(argv: list[str] | None = None) -> Result:
    args = arguments(__doc__, repeats=5).parse_args(argv)
    repeats = 1 if args.smallest else args.repeats
    result = Result("startup")
    with workplace() as folder:
        seeds = str(write_seeds(folder / "seeds.jsonl", 10))
        runs = 0

        def text() -> dict[str, float]:
            nonlocal runs
            runs += 1
            command = ["text", "--source", seeds, "--out", str(folder / f"run{runs}")]
            return timed(result, "augment text", command, folder, str(folder / f"run{runs}"))

        found = interleaved(
            {"augment --help": lambda: timed(result, "--help", ["--help"], folder, "text"), "augment text": text},
            repeats,
        )
    for name, target in (("augment --help", 0.4), ("augment text", 2.0)):
        middle = {key: median(each[key] for each in found[name]) for key in ("seconds", "cpu")}
        result.rows.append({"command": name, "seconds": middle["seconds"], "target": target, "CPU s": middle["cpu"]})
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
