"""One run of the product in a process of its own, measured: `python -m tests.benchmarks.product SPEC.json`.

It is what `augment text` does after reading its flags: recipe, engine, plan, workers if any, `curate`.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import ROOT, peak_rss


def run(
    flags: dict[str, Any], home: Path, timeout: float = 1800, settings: dict[str, str] | None = None
) -> dict[str, Any]:
    """Curate with these flags and reply store: seconds, cpu, rss, path, summary and when the last reply was kept.

    Where `settings` for the environment name a Prefect API, it runs as a flow.
    """
    home.mkdir(parents=True, exist_ok=True)
    spec = home / "spec.json"
    spec.write_text(json.dumps(flags, default=str), "utf-8")
    command = [sys.executable, "-m", "tests.benchmarks.product", str(spec)]
    env = {**os.environ, "AUGMENT_HOME": str(home), "OPENAI_API_KEY": "none", **(settings or {})}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"the product failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    flags = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    from augment.pipeline import run_here
    from augment.places import home
    from augment.plan import open_plan
    from augment.recipe import read_recipe
    from augment.summary import Tally

    recipe = read_recipe(flags)
    plan = open_plan(recipe)
    curate = run_here
    if os.environ.get("PREFECT_API_URL"):
        from flows.verbs import run_by_hand as curate
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    done = curate(plan, Tally(), threading.Event())
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    offset = time.time() - time.monotonic()
    kept = sqlite3.connect(home() / "replies.sqlite").execute("select max(created), count(*) from replies").fetchone()
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "rss": peak_rss(),
                "path": str(done.path.resolve()),
                "summary": done.summary.to_dict(),
                "last_kept": kept[0] - offset if kept[0] else None,
                "replies": kept[1],
            }
        )
    )


if __name__ == "__main__":
    main()
